// SPDX-License-Identifier: Apache-2.0
// Numbers as the page writes them.

/** At most `decimals` decimals, no trailing zeros. */
function shortNumber(value, decimals) {
  const text = value.toFixed(decimals);
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

/** Decimals that tell values `step` apart. */
function decimalsFor(step) {
  return Math.min(Math.max(-Math.floor(Math.log10(step) + 1e-9), 0), 12);
}

/** {name, seconds}: what the timelines count in; seconds, if the page names nothing else. */
function timeUnitFor(named, end) {
  if (named !== '') return {name: named, seconds: 1};
  if (end >= 1) return {name: 's', seconds: 1};
  return end >= 1e-3 ? {name: 'ms', seconds: 1e-3} : {name: '\u00b5s', seconds: 1e-6};
}

/** A duration or a time with six digits: enough to tell passes apart, few enough to read. */
function timeText(seconds, unit) {
  const value = seconds / unit.seconds;
  const digits = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value))) + 1;
  return shortNumber(value, Math.min(Math.max(6 - digits, 0), 6));
}

function percentText(share) {
  return `${(100 * share).toFixed(1)}\u2009%`;
}

/** Units with two decimals, bytes in KiB, MiB or GiB. */
function memoryText(value, unit) {
  if (unit !== 'bytes') return `${value.toFixed(2)} ${unit}`;
  const step = ['GiB', 'MiB', 'KiB'].findIndex((_, i) => value >= 2 ** (30 - 10 * i));
  return step < 0 ? `${value} B` : `${(value / 2 ** (30 - 10 * step)).toFixed(2)} ${['GiB', 'MiB', 'KiB'][step]}`;
}
