// SPDX-License-Identifier: Apache-2.0
// A rank's memory over time as a filled step curve, its limit as a dashed line.

const kMemoryFill = '#c5ccd6';
const kMemoryLine = '#4a5566';
const kLimitLine = '#a3203a';

/** `most` is the memory at the top of the row. */
function drawMemory(context, curve, row, axis, most, limit, ratio) {
  const y = (value) => row.top + row.height * (1 - value / most);
  const bottom = row.top + row.height;
  const columns = Math.max(Math.round(axis.width * ratio), 1);
  const peaks = curve.peaks(axis.from, axis.to, columns);
  const line = new Path2D();
  line.moveTo(axis.left, y(peaks[0]));
  for (let column = 1; column < columns; ++column) {
    if (peaks[column] === peaks[column - 1]) continue;
    const x = axis.left + (axis.width * column) / columns;
    line.lineTo(x, y(peaks[column - 1]));
    line.lineTo(x, y(peaks[column]));
  }
  line.lineTo(axis.left + axis.width, y(peaks[columns - 1]));
  const area = new Path2D(line);
  area.lineTo(axis.left + axis.width, bottom);
  area.lineTo(axis.left, bottom);
  context.fillStyle = kMemoryFill;
  context.fill(area);
  context.strokeStyle = kMemoryLine;
  context.lineWidth = 1;
  context.stroke(line);
  if (limit !== undefined) drawLimit(context, axis, y(limit));
}

function drawLimit(context, axis, y) {
  context.save();
  context.strokeStyle = kLimitLine;
  context.lineWidth = 1.25;
  context.setLineDash([5, 4]);
  context.beginPath();
  context.moveTo(axis.left, y);
  context.lineTo(axis.left + axis.width, y);
  context.stroke();
  context.restore();
}
