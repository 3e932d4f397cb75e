// SPDX-License-Identifier: Apache-2.0
// Puts the page together and answers the mouse and the keyboard.

const kZoomPerKey = 1.5;
const kZoomPerWheelPixel = 1.0015;
const kPanPerKey = 0.15;  // of the visible range

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function definitions(className, pairs) {
  const list = element('dl', className);
  for (const [name, value] of pairs) {
    const pair = className ? list.appendChild(element('div')) : list;
    pair.append(element('dt', '', name), element('dd', '', value));
  }
  return list;
}

function figuresOf(schedule, unit) {
  const {span, makespan, bubble, bubble_makespan, lower_bound} = schedule.figures;
  const peak = Math.max(0, ...schedule.memory.map((curve) => curve.peak));
  const figures = [
    ['span', timeText(span, unit)],
    ['makespan', timeText(makespan, unit)],
    ['bubble', percentText(bubble)],
    ['bubble by makespan', percentText(bubble_makespan)],
    ['peak', memoryText(peak, schedule.memoryUnit)],
  ];
  if (lower_bound !== null) {
    figures.push(['lower bound of the span', timeText(lower_bound, unit)]);
    figures.push(['above it', percentText(lower_bound > 0 ? span / lower_bound - 1 : 0)]);
  }
  return definitions('figures', figures);
}

function legend(numChunks) {
  return kPassNames.map((name, kind) => {
    const entry = element('span');
    for (let chunk = 0; chunk < numChunks; ++chunk) {
      const colour = passColour(kind, chunk, numChunks);
      const box = element('i', '', numChunks > 1 ? String(chunk) : '');
      box.style.background = cssColour(colour);
      box.style.color = inkOn(colour);
      entry.append(box);
    }
    entry.append(element('b', '', kPassLetters[kind]), name);
    return entry;
  });
}

function tableOf({columns, rows, notes}) {
  const table = element('table');
  const head = table.appendChild(element('thead')).appendChild(element('tr'));
  head.append(...columns.map((name) => element('th', '', name)));
  const body = table.appendChild(element('tbody'));
  for (const row of rows) {
    const line = body.appendChild(element('tr'));
    line.append(...row.map((cell, i) => element(i === 0 ? 'th' : 'td', '', cell)));
  }
  return [table, ...notes.map((note) => element('p', 'note', note))];
}

/** What the tooltip says of a point: a headline, then names and values. */
function describePoint(panel, {rank, time, memory}) {
  const {schedule, unit} = panel;
  const passes = schedule.ranks[rank];
  const limit = schedule.memoryLimits[rank];
  const held = memoryText(schedule.memory[rank].at(time), schedule.memoryUnit) +
      (limit === undefined ? '' : ` of ${memoryText(limit, schedule.memoryUnit)}`);
  const i = passes.at(time);
  if (memory) {
    return [`rank ${rank}: ${held}`, [['time', timeText(time, unit)], ['memory', held]]];
  }
  if (i < 0) return [`rank ${rank} is idle`, [['time', timeText(time, unit)], ['memory', held]]];
  const kind = passes.kind(i);
  return [
    `${kPassLetters[kind]} (${kPassNames[kind]}) of micro-batch ${passes.microBatch[i]}`,
    [
      ['rank', rank],
      ['stage', passes.stage(i)],
      ['chunk', schedule.stageChunks[passes.stage(i)]],
      ['start', timeText(passes.start[i], unit)],
      ['duration', timeText(passes.duration[i], unit)],
      ['memory', held],
    ],
  ];
}

class TimelinePage {
  constructor(json) {
    this.schedules = json.schedules.map((schedule) => new ScheduleData(schedule));
    const end = Math.max(0, ...this.schedules.map((schedule) => schedule.end));
    const mostMemory = Math.max(0, ...this.schedules.map((schedule) => schedule.highestMemory()));
    this.unit = timeUnitFor(json.time_unit, end);
    this.view = new TimeView(end, () => this.redrawSoon());
    const numChunks = 1 + Math.max(0, ...this.schedules.flatMap((schedule) => schedule.stageChunks));
    const shared = {view: this.view, unit: this.unit, mostMemory, numChunks};
    this.panels = this.schedules.map((schedule) => new Panel(schedule, shared));
    this.tooltip = document.getElementById('tooltip');
    this.hovered = null;    // {panel, clientX, clientY}
    this.dragged = null;    // {panel, clientX}: where the pointer was last
    this.scheduled = false;  // a redraw
    this.fill(json.title, numChunks);
    if (json.table) document.getElementById('table').append(...tableOf(json.table));
    this.panels.forEach((panel) => this.listen(panel));
    document.addEventListener('keydown', (event) => this.onKey(event));
    window.addEventListener('pointermove', (event) => this.onDrag(event));
    window.addEventListener('pointerup', () => this.drag(null));
    window.addEventListener('resize', () => this.redrawSoon());
    this.redraw();
  }

  fill(title, numChunks) {
    document.title = title;
    document.getElementById('title').textContent = title;
    document.getElementById('legend').append(
        ...legend(numChunks),
        `number: micro-batch${numChunks > 1 ? ', shade: chunk' : ''}`);
    for (const panel of this.panels) {
      const section = element('section');
      section.append(element('h2', '', panel.schedule.title), figuresOf(panel.schedule, this.unit));
      section.append(...panel.schedule.notes.map((note) => element('p', 'note', note)), panel.chart);
      document.getElementById('panels').append(section);
    }
  }

  listen(panel) {
    const canvas = panel.over;
    canvas.addEventListener('pointermove', (event) => {
      this.hovered = {panel, clientX: event.clientX, clientY: event.clientY};
      this.redrawOver();
    });
    canvas.addEventListener('pointerleave', () => {
      this.hovered = null;
      this.redrawOver();
    });
    canvas.addEventListener('pointerdown', (event) => {
      if (event.button === 0) this.drag({panel, clientX: event.clientX});
    });
    canvas.addEventListener('dblclick', () => this.view.reset());
    canvas.addEventListener('wheel', (event) => this.onWheel(panel, event), {passive: false});
  }

  /** Beside the rows the wheel scrolls the page, as everywhere. */
  onWheel(panel, event) {
    const axis = panel.axis();
    const x = event.clientX - panel.over.getBoundingClientRect().left;
    if (event.ctrlKey || x < axis.left || x > axis.left + axis.width) return;
    event.preventDefault();
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : 30;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      const delta = event.deltaX === 0 ? event.deltaY : event.deltaX;
      this.view.pan((delta * pixels) / axis.pixelsPerSecond);
    } else {
      this.view.zoom(kZoomPerWheelPixel ** (-event.deltaY * pixels), axis.time(x));
    }
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const {from, to} = this.view;
    const actions = {
      '+': () => this.view.zoom(kZoomPerKey, (from + to) / 2),
      '=': () => this.view.zoom(kZoomPerKey, (from + to) / 2),
      '-': () => this.view.zoom(1 / kZoomPerKey, (from + to) / 2),
      'ArrowLeft': () => this.view.pan(-kPanPerKey * (to - from)),
      'ArrowRight': () => this.view.pan(kPanPerKey * (to - from)),
      '0': () => this.view.reset(),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }

  drag(dragged) {
    this.dragged = dragged;
    document.body.classList.toggle('dragging', dragged !== null);
  }

  onDrag(event) {
    if (this.dragged === null) return;
    const {panel, clientX} = this.dragged;
    this.dragged.clientX = event.clientX;
    this.view.pan((clientX - event.clientX) / panel.axis().pixelsPerSecond);
  }

  /** At the next frame, once, however many events ask for it. */
  redrawSoon() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => this.redraw());
  }

  redraw() {
    this.scheduled = false;
    this.panels.forEach((panel) => panel.draw());
    this.redrawOver();
  }

  redrawOver() {
    const point = this.hoveredPoint();
    for (const panel of this.panels) {
      if (point === null) {
        panel.drawOver(null, -1);
        continue;
      }
      const here = panel === this.hovered.panel;
      const passes = panel.schedule.ranks[point.rank];
      const i = here && !point.memory ? passes.at(point.time) : -1;
      panel.drawOver(point.time, i < 0 ? -1 : passes.microBatch[i]);
    }
    this.showTooltip(point);
  }

  hoveredPoint() {
    if (this.hovered === null) return null;
    const {panel, clientX, clientY} = this.hovered;
    const box = panel.over.getBoundingClientRect();
    return panel.at(clientX - box.left, clientY - box.top);
  }

  showTooltip(point) {
    this.tooltip.hidden = point === null;
    if (point === null) return;
    const [headline, pairs] = describePoint(this.hovered.panel, point);
    this.tooltip.replaceChildren(element('strong', '', headline), definitions('', pairs));
    const {offsetWidth, offsetHeight} = this.tooltip;
    const {clientX, clientY} = this.hovered;
    const left = clientX + 16 + offsetWidth < window.innerWidth ? clientX + 16 : clientX - 16 - offsetWidth;
    const top = Math.min(clientY + 16, window.innerHeight - offsetHeight - 8);
    this.tooltip.style.transform = `translate(${Math.max(left, 8)}px, ${Math.max(top, 8)}px)`;
  }
}

const timelinePage = new TimelinePage(JSON.parse(document.getElementById('schedules').textContent));
