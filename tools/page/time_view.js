// SPDX-License-Identifier: Apache-2.0
// The range of time that the page shows. All panels share one, so that they stay above each other.
'use strict';

const kNarrowest = 1e-6;  // of the whole range; beyond that doubles run out of digits to draw with

class TimeView {
  /** Shows [0, end]; `changed` is called after every change. */
  constructor(end, changed) {
    this.end = end > 0 ? end : 1;
    this.changed = changed;
    this.from = 0;
    this.to = this.end;
  }

  reset() {
    this.show(0, this.end);
  }

  /** Divides the range by `factor` and leaves the time `fixed` where it is on the screen. */
  zoom(factor, fixed) {
    const width = Math.min(Math.max((this.to - this.from) / factor, this.end * kNarrowest), this.end);
    const share = (fixed - this.from) / (this.to - this.from);
    this.show(fixed - share * width, fixed + (1 - share) * width);
  }

  /** Moves the range by `seconds`, as far as there is something to show. */
  pan(seconds) {
    this.show(this.from + seconds, this.to + seconds);
  }

  show(from, to) {
    const width = Math.min(to - from, this.end);
    this.from = Math.min(Math.max(from, 0), this.end - width);
    this.to = this.from + width;
    this.changed();
  }
}

/** Times to pixels for a plot that begins at `left` and is `width` wide. */
class Axis {
  constructor(view, left, width) {
    this.from = view.from;
    this.to = view.to;
    this.left = left;
    this.width = width;
    this.pixelsPerSecond = width / (view.to - view.from);
  }

  x(time) {
    return this.left + (time - this.from) * this.pixelsPerSecond;
  }

  time(x) {
    return this.from + (x - this.left) / this.pixelsPerSecond;
  }

  /** A step of 1, 2 or 5 times a power of ten, at least `pixels` wide. */
  tickStep(pixels) {
    const least = pixels / this.pixelsPerSecond;
    const power = 10 ** Math.floor(Math.log10(least));
    return power * [1, 2, 5, 10].find((factor) => factor * power >= least * (1 - 1e-9));
  }
}
