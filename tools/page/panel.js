// SPDX-License-Identifier: Apache-2.0
// The chart of one schedule: a row of passes per rank, the time axis, a row of memory per rank. What
// follows the mouse is drawn on a second canvas above, so that moving it does not redraw the rest.

const kLeft = 62;    // pixels, for the names of the ranks
const kRight = 92;   // for the figures at the end of a row
const kHead = 20;    // above the rows of passes and of memory, for what the figures are
const kAxis = 30;
const kFont = '11px system-ui, "DejaVu Sans", Helvetica, Arial, sans-serif';
const kQuiet = '#5d6670';

/** {passes, memory, gap}: heights of a row, in pixels. */
function rowHeights(numRanks) {
  if (numRanks <= 8) return {passes: 27, memory: 34, gap: 5};
  if (numRanks <= 16) return {passes: 21, memory: 24, gap: 4};
  if (numRanks <= 32) return {passes: 15, memory: 16, gap: 3};
  return {passes: 11, memory: 11, gap: 2};
}

class Panel {
  /**
   * The second argument is the same for all panels of the page, so that they compare: the range of
   * time, its unit, the memory at the top of a row, the number of shades.
   */
  constructor(schedule, {view, unit, mostMemory, numChunks}) {
    this.schedule = schedule;
    this.view = view;
    this.unit = unit;
    this.mostMemory = mostMemory > 0 ? mostMemory : 1;
    this.heights = rowHeights(schedule.ranks.length);
    this.colours = palette(schedule.stageChunks, numChunks);
    this.chart = document.createElement('div');
    this.chart.className = 'chart';
    this.base = this.chart.appendChild(document.createElement('canvas'));
    this.over = this.chart.appendChild(document.createElement('canvas'));
    this.over.className = 'over';
    this.over.tabIndex = 0;
    this.over.setAttribute('role', 'img');
    this.over.setAttribute('aria-label', `Timeline and memory of ${schedule.title}`);
  }

  passRow(rank) {
    const {passes, gap} = this.heights;
    return {top: kHead + rank * (passes + gap), height: passes};
  }

  memoryRow(rank) {
    const {memory, gap} = this.heights;
    const top = this.passRow(this.schedule.ranks.length).top + kAxis + kHead;
    return {top: top + rank * (memory + gap), height: memory};
  }

  get height() {
    return this.memoryRow(this.schedule.ranks.length).top;
  }

  axis() {
    return new Axis(this.view, kLeft, Math.max(this.chart.clientWidth - kLeft - kRight, 50));
  }

  /** {rank, time, memory: the row is one of memory} under a point of the chart; null beside rows. */
  at(x, y) {
    const axis = this.axis();
    if (x < axis.left || x > axis.left + axis.width) return null;
    for (const memory of [false, true]) {
      const {top, height} = memory ? this.memoryRow(0) : this.passRow(0);
      const rank = Math.floor((y - top) / (height + this.heights.gap));
      if (rank >= 0 && rank < this.schedule.ranks.length) return {rank, time: axis.time(x), memory};
    }
    return null;
  }

  draw() {
    const {context, ratio} = prepare(this.base, this.chart.clientWidth, this.height);
    const axis = this.axis();
    drawHeads(context, this, axis);
    const clip = new Path2D();
    clip.rect(axis.left, 0, axis.width, this.height);
    context.save();
    context.clip(clip);
    this.schedule.ranks.forEach((passes, rank) => {
      drawPasses(context, passes, this.passRow(rank), axis, this.colours, ratio);
      drawMemory(context, this.schedule.memory[rank], this.memoryRow(rank), axis, this.mostMemory,
                 this.schedule.memoryLimits[rank], ratio);
    });
    context.restore();
    drawAxis(context, this, axis);
  }

  /** A line at `time`, or none for null, and a frame around every pass of a micro-batch, or -1. */
  drawOver(time, microBatch) {
    const {context} = prepare(this.over, this.chart.clientWidth, this.height);
    if (time === null) return;
    const axis = this.axis();
    const clip = new Path2D();
    clip.rect(axis.left - 1, 0, axis.width + 2, this.height);
    context.clip(clip);
    context.fillStyle = '#16191d80';
    context.fillRect(axis.x(time) - 0.5, this.passRow(0).top - 4, 1, this.height);
    if (microBatch >= 0) frameMicroBatch(context, this, axis, microBatch);
  }
}

/** Sizes a canvas for the screen and clears it; its units are CSS pixels. */
function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = `${height}px`;
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  return {context, ratio};
}

function frameMicroBatch(context, panel, axis, microBatch) {
  context.strokeStyle = '#16191d';
  context.lineWidth = 1.5;
  panel.schedule.ranks.forEach((passes, rank) => {
    const {top, height} = panel.passRow(rank);
    const [first, last] = passes.within(axis.from, axis.to);
    for (let i = first; i < last; ++i) {
      if (passes.microBatch[i] !== microBatch) continue;
      const left = axis.x(passes.start[i]);
      context.strokeRect(left, top, Math.max(axis.x(passes.end(i)) - left - kGapBetweenBoxes, 1), height);
    }
  });
}

/** Names of the ranks on the left, figures of the whole rows on the right. */
function drawHeads(context, panel, axis) {
  const {schedule} = panel;
  const right = axis.left + axis.width + kRight - 2;
  context.font = kFont;
  context.textBaseline = 'middle';
  context.fillStyle = kQuiet;
  context.textAlign = 'right';
  context.fillText('idle', right, panel.passRow(0).top - 10);
  context.fillText('peak', right, panel.memoryRow(0).top - 10);
  context.textAlign = 'left';
  context.fillText(`time in ${panel.unit.name}`, axis.left, panel.passRow(0).top - 10);
  context.fillText(`memory, rows up to ${memoryText(panel.mostMemory, schedule.memoryUnit)}` +
                   (schedule.memoryLimits.length > 0 ? ', dashed: limit' : ''),
                   axis.left, panel.memoryRow(0).top - 10);
  context.textAlign = 'right';
  context.fillStyle = '#16191d';
  const middle = ({top, height}) => top + height / 2 + 0.5;
  schedule.ranks.forEach((passes, rank) => {
    const passesAt = middle(panel.passRow(rank));
    const memoryAt = middle(panel.memoryRow(rank));
    context.fillText(`rank ${rank}`, axis.left - 9, passesAt);
    context.fillText(`rank ${rank}`, axis.left - 9, memoryAt);
    context.fillText(percentText(passes.idleShare()), right, passesAt);
    context.fillText(memoryText(schedule.memory[rank].peak, schedule.memoryUnit), right, memoryAt);
  });
}

function drawAxis(context, panel, axis) {
  const rowsEnd = panel.passRow(panel.schedule.ranks.length).top;
  const step = axis.tickStep(90);
  const decimals = decimalsFor(step / panel.unit.seconds);
  context.font = kFont;
  context.fillStyle = kQuiet;
  context.textBaseline = 'middle';
  context.textAlign = 'center';
  for (let i = Math.ceil(axis.from / step - 1e-9); i * step <= axis.to + 1e-9 * step; ++i) {
    const x = axis.x(i * step);
    context.fillRect(x - 0.5, rowsEnd, 1, 5);
    context.fillText(shortNumber((i * step) / panel.unit.seconds, decimals), x, rowsEnd + 13);
  }
}
