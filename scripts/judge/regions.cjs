/** Finds regions of one colour that differ from the background to their left and right. Coordinates are fractions of the image's sides, y goes down. */
const { colourNames, nameColour, toOklab } = require('./colours.cjs')

/** Regions are grown on an image of about this width: small images are magnified, so that outlines are smooth. */
const workingWidth = 256
/** Lightness counts less than hue and chroma: a surface is lit from one side. */
const lightnessWeight = 0.5
/** The same if the hue is reliable, because outlines are much darker than their surface. */
const shadeWeight = 0.25
/** Oklab distance to the background from which a pixel belongs to an object. */
const standsOut = 0.07
/** Oklab distance to a region's colour up to which a pixel belongs to it. */
const belongs = 0.085
/** Thickness of outlines and mixed pixels at an area's rim, in image widths. */
const rim = 0.012
/** Smallest and largest share of the image that an object takes. */
const smallest = 0.003
const largest = 0.7

function distance(planes, i, [L, a, b], weight = 1) {
  return Math.hypot((planes[0][i] - L) * weight, planes[1][i] - a, planes[2][i] - b)
}

/** A plane magnified `scale` times, bilinearly between pixel centres. */
function magnify(plane, width, height, scale) {
  if (scale === 1) return plane
  const [w, h] = [width * scale, height * scale]
  const out = new Float32Array(w * h)
  for (let y = 0; y < h; y++) {
    const v = Math.min(Math.max((y + 0.5) / scale - 0.5, 0), height - 1)
    const [top, down] = [Math.floor(v), v - Math.floor(v)]
    const bottom = Math.min(top + 1, height - 1)
    for (let x = 0; x < w; x++) {
      const u = Math.min(Math.max((x + 0.5) / scale - 0.5, 0), width - 1)
      const [left, across] = [Math.floor(u), u - Math.floor(u)]
      const right = Math.min(left + 1, width - 1)
      const upper = plane[top * width + left] * (1 - across) + plane[top * width + right] * across
      const lower = plane[bottom * width + left] * (1 - across) + plane[bottom * width + right] * across
      out[y * w + x] = upper * (1 - down) + lower * down
    }
  }
  return out
}

function median(values) {
  const sorted = Float32Array.from(values).sort()
  return sorted[sorted.length >> 1]
}

/** The background of every row: the colours at its left and right border. */
function borders(planes, width, height) {
  const depth = Math.max(1, Math.round(width / 40))
  const side = (start) => {
    const rows = planes.map((plane) => {
      const raw = Array.from({ length: height }, (_, y) => median(plane.subarray(y * width + start, y * width + start + depth)))
      const reach = Math.round(height / 40)
      return raw.map((_, y) => median(raw.slice(Math.max(0, y - reach), y + reach + 1)))
    })
    return (y) => [rows[0][y], rows[1][y], rows[2][y]]
  }
  return [side(0), side(width - depth)]
}

/** Connected pixels from `seed` on where `inside`, marked in `seen`; [indices]. */
function flood(seed, width, height, inside, seen) {
  const found = [seed]
  seen[seed] = 1
  for (let at = 0; at < found.length; at++) {
    const i = found[at]
    const x = i % width
    for (const j of [x > 0 ? i - 1 : -1, x < width - 1 ? i + 1 : -1, i - width, i + width]) {
      if (j < 0 || j >= width * height || seen[j] || !inside(j)) continue
      seen[j] = 1
      found.push(j)
    }
  }
  return found
}

/** A prepared image: planes in the working size, colour names of pixels, distance to the background. */
function prepare(image) {
  const scale = Math.max(1, Math.round(workingWidth / image.width))
  const planes = toOklab(image).map((plane) => magnify(plane, image.width, image.height, scale))
  const [width, height] = [image.width * scale, image.height * scale]
  const [left, right] = borders(planes, width, height)
  const contrast = new Float32Array(width * height)
  for (let y = 0; y < height; y++) {
    const [a, b] = [left(y), right(y)]
    for (let i = y * width; i < (y + 1) * width; i++) contrast[i] = Math.min(distance(planes, i, a), distance(planes, i, b))
  }
  const names = Int8Array.from(contrast, (value, i) => (value > standsOut ? nameColour(planes[0][i], planes[1][i], planes[2][i]) : -1))
  return { planes, width, height, contrast, names }
}

/** Distance of a pixel from a surface of `colour`. */
function fromSurface(planes, colour) {
  return (i) => distance(planes, i, colour, lightnessWeight)
}

/**
 * The same including its darker outline: lightness counts little, chroma half, hue fully. Undefined for greys, which have no hue.
 */
function fromShades([L, a, b], [L0, a0, b0]) {
  const chroma = Math.hypot(a0, b0)
  if (chroma < 0.06) return undefined
  const [ua, ub] = [a0 / chroma, b0 / chroma]
  return (i) => Math.hypot(shadeWeight * (L[i] - L0), 0.5 * (a[i] * ua + b[i] * ub - chroma), b[i] * ua - a[i] * ub)
}

/** Everything connected to a surface that is nearer to its colour, by `apart`, than to the background, except the surfaces of other colours. */
function grow({ width, height, contrast }, surface, surfaces, apart) {
  const own = surfaces[surface[0]]
  const inside = (i) => {
    if (surfaces[i] !== 0 && surfaces[i] !== own) return false
    const d = apart(i)
    return d < belongs && d * 0.7 < contrast[i]
  }
  const mask = new Uint8Array(width * height)
  for (const seed of surface) if (!mask[seed] && inside(seed)) flood(seed, width, height, inside, mask)
  return largestPart(mask, width, height)
}

/** Distance of every given pixel to the nearest pixel that is not one of them, in steps to one of the four neighbours; 0 elsewhere. */
function depths(pixels, width, height) {
  const depth = new Uint16Array(width * height)
  const waiting = 0xffff
  for (const i of pixels) depth[i] = waiting
  const neighbours = (i) => [i % width > 0 ? i - 1 : -1, i % width < width - 1 ? i + 1 : -1, i - width, i + width]
  const outside = (j) => j >= 0 && j < depth.length && depth[j] === 0
  let front = pixels.filter((i) => neighbours(i).some(outside))
  for (const i of front) depth[i] = 1
  for (let level = 2; front.length > 0; level++) {
    const next = []
    for (const i of front) {
      for (const j of neighbours(i)) {
        if (j < 0 || j >= depth.length || depth[j] !== waiting) continue
        depth[j] = level
        next.push(j)
      }
    }
    front = next
  }
  return depth
}

/** Keeps the largest connected part of a mask. */
function largestPart(mask, width, height) {
  const seen = new Uint8Array(mask.length)
  let best = []
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i] || seen[i]) continue
    const part = flood(i, width, height, (j) => mask[j] === 1, seen)
    if (part.length > best.length) best = part
  }
  return best
}

function boxOf(pixels, width) {
  let [x0, y0, x1, y1] = [Infinity, Infinity, 0, 0]
  for (const i of pixels) {
    const [x, y] = [i % width, Math.floor(i / width)]
    if (x < x0) x0 = x
    if (x >= x1) x1 = x + 1
    if (y < y0) y0 = y
    if (y >= y1) y1 = y + 1
  }
  return { x0, y0, x1, y1 }
}

/** Eroded areas of one colour name (thin outlines disappear): lists of pixels, and for every pixel the number of its list, from 1. */
function findSurfaces({ width, height, names }) {
  const total = width * height
  const seen = new Uint8Array(total)
  const [list, numbers] = [[], new Uint16Array(total)]
  for (let i = 0; i < total; i++) {
    if (names[i] < 0 || seen[i]) continue
    const pixels = flood(i, width, height, (j) => names[j] === names[i], seen)
    if (pixels.length < (smallest / 2) * total) continue
    const depth = depths(pixels, width, height)
    const surface = pixels.filter((j) => depth[j] > width * rim)
    if (surface.length < (smallest / 10) * total) continue
    list.push(surface)
    for (const j of surface) numbers[j] = list.length
  }
  return { list, numbers }
}

/** One segmentation of a region: its mask in the working size, its position and size in pixels. */
function lookAt(pixels, { width, height }) {
  const mask = new Uint8Array(width * height)
  for (const i of pixels) mask[i] = 1
  return { mask, box: boxOf(pixels, width), area: pixels.length, width, height }
}

/**
 * All regions of an image: { colour (name), looks, planes (of the image) }. The first look (segmentation) has only the surface, the second, if any, also the
 * outline. Largest first; overlapping regions are listed once.
 */
function findRegions(image) {
  const scene = prepare(image)
  const { width, height, planes } = scene
  const total = width * height
  const surfaces = findSurfaces(scene)
  const regions = []
  for (const surface of surfaces.list) {
    const colour = planes.map((plane) => median(surface.map((i) => plane[i])))
    const name = nameColour(...colour)
    if (name < 0) continue
    const looks = [fromSurface(planes, colour), fromShades(planes, colour)]
      .filter(Boolean)
      .map((apart) => grow(scene, surface, surfaces.numbers, apart))
      .filter((pixels) => pixels.length > smallest * total && pixels.length < largest * total)
      .map((pixels) => lookAt(pixels, scene))
    if (looks.length > 0) regions.push({ colour: colourNames[name], looks, planes })
  }
  regions.sort((a, b) => b.looks[0].area - a.looks[0].area)
  return regions.filter(({ looks: [look] }, i) => !regions.slice(0, i).some((other) => overlap(look, other.looks[0]) > 0.5 * look.area))
}

function overlap({ mask }, other) {
  let count = 0
  for (let i = 0; i < mask.length; i++) count += mask[i] & other.mask[i]
  return count
}

/** The holes of a region: sets of pixels inside its outline that do not belong to it. */
function holesOf({ mask, width, height, box: { x0, y0, x1, y1 } }) {
  const seen = new Uint8Array(mask.length)
  const inside = (i) => {
    const [x, y] = [i % width, Math.floor(i / width)]
    return !mask[i] && x >= x0 - 1 && x <= x1 && y >= y0 - 1 && y <= y1
  }
  const holes = []
  for (let y = Math.max(0, y0 - 1); y <= Math.min(height - 1, y1); y++) {
    for (let x = Math.max(0, x0 - 1); x <= Math.min(width - 1, x1); x++) {
      const i = y * width + x
      if (seen[i] || !inside(i)) continue
      const pixels = flood(i, width, height, inside, seen)
      const open = pixels.some((j) => {
        const [u, v] = [j % width, Math.floor(j / width)]
        return u === x0 - 1 || u === x1 || v === y0 - 1 || v === y1 || u === 0 || v === 0 || u === width - 1 || v === height - 1
      })
      if (!open) holes.push(pixels)
    }
  }
  return holes
}

module.exports = { boxOf, depths, findRegions, holesOf }
