/**
 * Names of colours: pixels in Oklab (Björn Ottosson, "A perceptual color space for image processing", 2020), and the ten basic colour terms as regions of
 * lightness, chroma and hue.
 */

const linear = Float32Array.from({ length: 256 }, (_, byte) => {
  const x = byte / 255
  return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4
})

/** Planes L, a, b of an image [height, width, channels] of bytes. */
function toOklab({ data, width, height, channels }) {
  const planes = [0, 1, 2].map(() => new Float32Array(width * height))
  const step = channels >= 3 ? 1 : 0
  for (let i = 0; i < width * height; i++) {
    const at = i * channels
    const [r, g, b] = [linear[data[at]], linear[data[at + step]], linear[data[at + 2 * step]]]
    const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)
    const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
    const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
    planes[0][i] = 0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s
    planes[1][i] = 1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s
    planes[2][i] = 0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s
  }
  return planes
}

const colourNames = ['red', 'orange', 'yellow', 'green', 'blue', 'purple', 'pink', 'brown', 'white', 'black']

/** Index into `colourNames`, or -1 for colours without a basic name (greys, cyan). */
function nameColour(L, a, b) {
  const chroma = Math.hypot(a, b)
  if (chroma < 0.045) return L > 0.78 ? 8 : L < 0.4 ? 9 : -1
  const hue = (Math.atan2(b, a) * 180) / Math.PI + (b < 0 ? 360 : 0)
  if (hue < 20 || hue >= 335) return L > 0.68 ? 6 : hue < 20 && chroma > 0.1 ? 0 : -1
  if (hue < 45) return chroma < 0.12 && L < 0.62 ? 7 : 0
  if (hue < 80) return L < 0.61 ? (chroma < 0.13 ? 7 : 1) : chroma > 0.09 ? 1 : -1
  if (hue < 112) return L > 0.6 && chroma > 0.08 ? 2 : -1
  if (hue < 175) return 3
  if (hue >= 235 && hue < 287) return 4
  if (hue >= 287 && hue < 335) return 5
  return -1
}

module.exports = { toOklab, colourNames, nameColour }
