// SPDX-License-Identifier: Apache-2.0
// One colour per pass, as in the SVG pictures (parallel/schedule/render_svg.cpp): apart in hue and
// in lightness, so that they differ for colour-blind eyes and in grey print too.

const kPassLetters = ['F', 'B', 'W'];
const kPassNames = ['forward', 'backward, input', 'backward, weight'];
const kPassColours = [[47, 104, 172], [27, 133, 106], [222, 138, 40]];
const kLightestShade = 0.58;  // of the way to white

/** [red, green, blue]; chunk 0 keeps the full colour. */
function passColour(kind, chunk, numChunks) {
  const shade = numChunks === 1 ? 0 : (kLightestShade * chunk) / (numChunks - 1);
  return kPassColours[kind].map((channel) => Math.round(channel + (255 - channel) * shade));
}

function cssColour([red, green, blue]) {
  return `rgb(${red},${green},${blue})`;
}

/** Black or white, whichever reads better on the colour. */
function inkOn([red, green, blue]) {
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? '#1b1b1b' : '#fff';
}

/** For each 3 * stage + pass its colour, in the forms that drawing needs. */
function palette(stageChunks, numChunks) {
  return stageChunks.flatMap((chunk) => [0, 1, 2].map((kind) => {
    const rgb = passColour(kind, chunk, numChunks);
    return {rgb, fill: cssColour(rgb), ink: inkOn(rgb)};
  }));
}
