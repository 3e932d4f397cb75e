// SPDX-License-Identifier: Apache-2.0
// A rank's passes as a row of boxes. Only what lies in the visible range is looked at.

const kIdleColour = [241, 243, 244];
const kNarrowestBox = 2;  // pixels, on average; narrower passes are drawn as a mixture
const kGapBetweenBoxes = 0.8;

/** row: {top, height} in CSS pixels, of `ratio` device pixels each; colours: of palette(). */
function drawPasses(context, passes, row, axis, colours, ratio) {
  context.fillStyle = cssColour(kIdleColour);
  context.fillRect(axis.left, row.top, axis.width, row.height);
  const [first, last] = passes.within(axis.from, axis.to);
  let seconds = 0;
  for (let i = first; i < last; ++i) seconds += passes.duration[i];
  if (seconds * axis.pixelsPerSecond < kNarrowestBox * (last - first)) {
    drawMixture(context, passes, first, last, row, axis, colours, ratio);
  } else {
    drawBoxes(context, passes, first, last, row, axis, colours);
  }
}

function drawBoxes(context, passes, first, last, row, axis, colours) {
  const fontSize = Math.min(11, row.height - 1);
  const digitWidth = 0.58 * fontSize;
  context.font = `${fontSize}px system-ui, "DejaVu Sans", Helvetica, Arial, sans-serif`;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  for (let i = first; i < last; ++i) {
    // Far ends outside are cut off: a number stays in the visible part of its box.
    const left = Math.max(axis.x(passes.start[i]), axis.left - 4);
    const right = Math.min(axis.x(passes.end(i)), axis.left + axis.width + 4);
    const colour = colours[passes.code[i]];
    const gap = right - left > 3 ? kGapBetweenBoxes : 0;
    context.fillStyle = colour.fill;
    context.fillRect(left, row.top, right - left - gap, row.height);
    const label = String(passes.microBatch[i]);
    if (fontSize < 8 || right - left < digitWidth * label.length + 4) continue;
    context.fillStyle = colour.ink;
    context.fillText(label, (left + right - gap) / 2, row.top + row.height / 2 + 0.5);
  }
}

/** Every pixel gets the mean of what runs there: colours of passes by their time, idle the rest. */
function drawMixture(context, passes, first, last, row, axis, colours, ratio) {
  const width = Math.max(Math.round(axis.width * ratio), 1);
  const secondsPerPixel = (axis.to - axis.from) / width;
  const sums = new Float32Array(4 * width);  // red, green, blue, share of the pixel that is busy
  for (let i = first; i < last; ++i) {
    const {rgb} = colours[passes.code[i]];
    const from = Math.max((passes.start[i] - axis.from) / secondsPerPixel, 0);
    const to = Math.min((passes.end(i) - axis.from) / secondsPerPixel, width);
    for (let pixel = Math.floor(from); pixel < to; ++pixel) {
      const share = Math.min(to, pixel + 1) - Math.max(from, pixel);
      for (let channel = 0; channel < 3; ++channel) sums[4 * pixel + channel] += share * rgb[channel];
      sums[4 * pixel + 3] += share;
    }
  }
  const image = new ImageData(width, 1);
  for (let pixel = 0; pixel < width; ++pixel) {
    const idle = Math.max(1 - sums[4 * pixel + 3], 0);
    for (let channel = 0; channel < 3; ++channel) {
      image.data[4 * pixel + channel] = sums[4 * pixel + channel] + idle * kIdleColour[channel];
    }
    image.data[4 * pixel + 3] = 255;
  }
  stretch(context, image, axis, row);
}

/** Draws one line of pixels over a whole row; putImageData alone cannot scale. */
function stretch(context, image, axis, row) {
  const line = document.createElement('canvas');
  line.width = image.width;
  line.height = 1;
  line.getContext('2d').putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(line, 0, 0, image.width, 1, axis.left, row.top, axis.width, row.height);
}
