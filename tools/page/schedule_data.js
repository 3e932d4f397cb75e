// SPDX-License-Identifier: Apache-2.0
// One schedule as the page keeps it: typed arrays by rank, in execution order; no object per pass.

const kForward = 0;
const kBackwardInput = 1;
const kBackwardWeight = 2;

/** Index of the last entry of an ascending array that is at most `value`; -1 where none is. */
function lastAtMost(ascending, value) {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ascending[middle] <= value) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low - 1;
}

/** The passes of one rank. Passes of a rank do not overlap. */
class RankPasses {
  /** From {"pass": [3 * stage + pass], "micro_batch": [...], "start": [...], "duration": [...]}. */
  constructor(json) {
    this.count = json.pass.length;
    this.code = Int32Array.from(json.pass);
    this.microBatch = Int32Array.from(json.micro_batch);
    this.start = Float64Array.from(json.start);
    this.duration = Float64Array.from(json.duration);
  }

  kind(i) {
    return this.code[i] % 3;
  }

  stage(i) {
    return Math.floor(this.code[i] / 3);
  }

  end(i) {
    return this.start[i] + this.duration[i];
  }

  /** Index of the pass that runs at `time`, or -1. */
  at(time) {
    const i = lastAtMost(this.start, time);
    return i >= 0 && time < this.end(i) ? i : -1;
  }

  /** [first, last) of the passes that touch [from, to]. */
  within(from, to) {
    let first = Math.max(lastAtMost(this.start, from), 0);
    if (first < this.count && this.end(first) < from) ++first;
    return [first, lastAtMost(this.start, to) + 1];
  }

  busy() {
    return this.duration.reduce((sum, duration) => sum + duration, 0);
  }

  /** Share of the time between its first start and its last end in which the rank waits. */
  idleShare() {
    if (this.count === 0) return 0;
    const span = this.end(this.count - 1) - this.start[0];
    return span > 0 ? Math.max(1 - this.busy() / span, 0) : 0;
  }
}

/** What a rank holds over time: a step curve, zero before its first step. */
class MemoryCurve {
  /**
   * keeps[stage] = [from F to the end of B, from F to the end of W, from B to the end of W]; what a
   * pass releases is there until it ends.
   */
  constructor(passes, keeps, scale) {
    const times = [];
    const levels = [];
    let level = 0;
    const step = (time, change) => {
      if (change === 0) return;
      level += change;
      times.push(time);
      levels.push(level * scale);
    };
    for (let i = 0; i < passes.count; ++i) {
      const [untilInput, untilWeight, gradient] = keeps[passes.stage(i)];
      const kind = passes.kind(i);
      if (kind === kForward) step(passes.start[i], untilInput + untilWeight);
      if (kind === kBackwardInput) {
        step(passes.start[i], gradient);
        step(passes.end(i), -untilInput);
      }
      if (kind === kBackwardWeight) step(passes.end(i), -untilWeight - gradient);
    }
    // Starts and durations are rounded: an end may lie a little after the next start.
    for (let i = 1; i < times.length; ++i) times[i] = Math.max(times[i], times[i - 1]);
    this.times = Float64Array.from(times);
    this.levels = Float64Array.from(levels);
    this.peak = levels.reduce((most, value) => Math.max(most, value), 0);
  }

  at(time) {
    const i = lastAtMost(this.times, time);
    return i < 0 ? 0 : this.levels[i];
  }

  /** The most in each of `count` equal parts of [from, to]. */
  peaks(from, to, count) {
    const peaks = new Float64Array(count);
    let i = lastAtMost(this.times, from);
    let level = i < 0 ? 0 : this.levels[i];
    for (let part = 0; part < count; ++part) {
      const end = from + ((to - from) * (part + 1)) / count;
      peaks[part] = level;
      while (i + 1 < this.times.length && this.times[i + 1] < end) {
        level = this.levels[++i];
        peaks[part] = Math.max(peaks[part], level);
      }
    }
    return peaks;
  }
}

class ScheduleData {
  constructor(json) {
    this.title = json.title;
    this.notes = json.notes;
    this.figures = json.figures;
    this.stageChunks = json.stage_chunks;  // [stage]: which of its rank's stages it is
    this.memoryUnit = json.memory.unit;
    this.memoryLimits = json.memory.limits;  // [rank], or none
    this.ranks = json.ranks.map((rank) => new RankPasses(rank));
    this.memory = this.ranks.map((rank) => new MemoryCurve(rank, json.memory.keeps, json.memory.scale));
    this.end = Math.max(0, ...this.ranks.map((rank) => (rank.count > 0 ? rank.end(rank.count - 1) : 0)));
  }

  highestMemory() {
    return Math.max(...this.memory.map((curve) => curve.peak), ...this.memoryLimits);
  }
}
