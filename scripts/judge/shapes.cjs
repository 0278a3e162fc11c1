/**
 * Classifies shapes by geometry, without templates: holes, convexity (area over that of the convex hull), the bays between hull and outline, and the harmonics
 * of the outline's distance from the centre, whose order is the number of corners and whose phase is their orientation.
 */
const { boxOf, depths, holesOf } = require('./regions.cjs')

const directions = 180

/** Convex hull (Andrew's monotone chain) of points [x, y]; counterclockwise in a y-down frame. */
function convexHull(points) {
  const sorted = [...points].sort((p, q) => p[0] - q[0] || p[1] - q[1])
  const cross = (o, p, q) => (p[0] - o[0]) * (q[1] - o[1]) - (p[1] - o[1]) * (q[0] - o[0])
  const half = (list) => {
    const chain = []
    for (const point of list) {
      while (chain.length >= 2 && cross(chain.at(-2), chain.at(-1), point) <= 0) chain.pop()
      chain.push(point)
    }
    return chain.slice(0, -1)
  }
  return [...half(sorted), ...half(sorted.reverse())]
}

function polygonArea(polygon) {
  return (
    Math.abs(polygon.reduce((sum, [x, y], i) => sum + x * polygon[(i + 1) % polygon.length][1] - y * polygon[(i + 1) % polygon.length][0], 0)) / 2
  )
}

/** Left and right edge of every row, as corners of pixels. */
function rowEnds({ mask, width, box: { x0, y0, x1, y1 } }) {
  const points = []
  for (let y = y0; y < y1; y++) {
    let [first, last] = [-1, -1]
    for (let x = x0; x < x1; x++) {
      if (!mask[y * width + x]) continue
      if (first < 0) first = x
      last = x + 1
    }
    if (first >= 0) points.push([first, y], [first, y + 1], [last, y], [last, y + 1])
  }
  return points
}

/** Whether a point is inside a convex polygon. */
function insideHull(hull, x, y) {
  let sign = 0
  for (let i = 0; i < hull.length; i++) {
    const [[ax, ay], [bx, by]] = [hull[i], hull[(i + 1) % hull.length]]
    const side = Math.sign((bx - ax) * (y - ay) - (by - ay) * (x - ax))
    if (side !== 0 && sign !== 0 && side !== sign) return false
    if (side !== 0) sign = side
  }
  return true
}

/** Areas of the bays (connected parts of the hull outside the region) in shares of the hull, largest first, with the centre of each. */
function baysOf({ mask, width, box: { x0, y0, x1, y1 } }, hull, hullArea) {
  const [w, h] = [x1 - x0, y1 - y0]
  const open = new Uint8Array(w * h)
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) open[y * w + x] = !mask[(y + y0) * width + x + x0] && insideHull(hull, x + x0 + 0.5, y + y0 + 0.5) ? 1 : 0
  const bays = []
  for (let start = 0; start < open.length; start++) {
    if (!open[start]) continue
    const stack = [start]
    open[start] = 0
    let [area, sx, sy] = [0, 0, 0]
    while (stack.length > 0) {
      const i = stack.pop()
      const [x, y] = [i % w, Math.floor(i / w)]
      area++
      sx += x
      sy += y
      for (const [u, v] of [
        [x - 1, y],
        [x + 1, y],
        [x, y - 1],
        [x, y + 1],
      ]) {
        if (u < 0 || v < 0 || u >= w || v >= h || !open[v * w + u]) continue
        open[v * w + u] = 0
        stack.push(v * w + u)
      }
    }
    bays.push({ share: area / hullArea, x: sx / area / w, y: sy / area / h })
  }
  return bays.sort((a, b) => b.share - a.share)
}

/** Complex harmonics 1..6 of the outline's distance from (cx, cy), over its mean: [{ cos, sin, size }]. Angles go clockwise from the right, as y goes down. */
function harmonics({ mask, width, height }, cx, cy) {
  const radius = Float64Array.from({ length: directions }, (_, k) => {
    const [dx, dy] = [Math.cos((2 * Math.PI * k) / directions), Math.sin((2 * Math.PI * k) / directions)]
    let furthest = 0
    for (let r = 0; r < width; r += 0.5) {
      const [x, y] = [Math.floor(cx + r * dx), Math.floor(cy + r * dy)]
      if (x < 0 || y < 0 || x >= width || y >= height) break
      if (mask[y * width + x]) furthest = r
    }
    return furthest
  })
  const mean = radius.reduce((sum, r) => sum + r, 0) / directions
  return Array.from({ length: 6 }, (_, order) => {
    let [cos, sin] = [0, 0]
    for (let k = 0; k < directions; k++) {
      cos += (radius[k] * Math.cos((2 * Math.PI * k * (order + 1)) / directions) * 2) / directions / mean
      sin += (radius[k] * Math.sin((2 * Math.PI * k * (order + 1)) / directions) * 2) / directions / mean
    }
    return { cos, sin, size: Math.hypot(cos, sin) }
  })
}

/** Pixels around a filled mask, a little away from its outline: every few of a band. */
function surroundings(mask, width, height, { x0, y0, x1, y1 }) {
  const reach = Math.round(width * 0.035)
  const found = []
  const near = (x, y, distance) => {
    for (let v = Math.max(0, y - distance); v <= Math.min(height - 1, y + distance); v += distance)
      for (let u = Math.max(0, x - distance); u <= Math.min(width - 1, x + distance); u += distance) if (mask[v * width + u]) return true
    return false
  }
  for (let y = Math.max(0, y0 - reach); y < Math.min(height, y1 + reach); y += 3)
    for (let x = Math.max(0, x0 - reach); x < Math.min(width, x1 + reach); x += 3)
      if (!mask[y * width + x] && near(x, y, reach) && !near(x, y, reach >> 1)) found.push(y * width + x)
  return found
}

/** Whether a hole shows the background; a hole filled by another object does not count. The middle of the hole decides. */
function isOpen(hole, around, planes, { width, height }) {
  const depth = depths(hole, width, height)
  const deepest = [...hole].sort((i, j) => depth[j] - depth[i]).slice(0, Math.max(1, hole.length >> 3))
  const apart = (i, j) => Math.hypot(...planes.map((plane) => plane[i] - plane[j]))
  const alike = deepest.filter((i) => around.some((j) => apart(i, j) < 0.06))
  return alike.length > deepest.length / 2
}

/** The centre of a mask, in pixels, and the number of its pixels. */
function centreOf({ mask, width }) {
  let [sx, sy, area] = [0, 0, 0]
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue
    sx += i % width
    sy += Math.floor(i / width)
    area++
  }
  return { cx: sx / area + 0.5, cy: sy / area + 0.5, area }
}

function fill(look, holes) {
  const mask = look.mask.slice()
  for (const hole of holes) for (const i of hole) mask[i] = 1
  return { ...look, mask }
}

/** Whether it is about as high as wide and fills its box like a circle (79 percent). */
function isRound(hole, width) {
  const { x0, y0, x1, y1 } = boxOf(hole, width)
  const [w, h] = [x1 - x0, y1 - y0]
  return Math.max(w, h) < 1.5 * Math.min(w, h) && hole.length > 0.62 * w * h
}

/** Share of the area of central holes that show the background. */
function openHoles(look, holes, filled, { cx, cy, area }, planes) {
  const { width, height } = look
  const central = (hole) => {
    const x = hole.reduce((sum, i) => sum + (i % width), 0) / hole.length
    const y = hole.reduce((sum, i) => sum + Math.floor(i / width), 0) / hole.length
    return Math.hypot(x + 0.5 - cx, y + 0.5 - cy) < 0.12 * Math.sqrt(area)
  }
  const candidates = holes.filter((hole) => hole.length > 0.02 * area && central(hole) && isRound(hole, width))
  if (candidates.length === 0) return []
  const around = surroundings(filled.mask, width, height, look.box)
  return candidates.filter((hole) => isOpen(hole, around, planes, look)).map((hole) => hole.length / area)
}

/** The mask with everything that lies inside its convex hull: other regions, and what is between them and it. */
function withContents(look, hull, others) {
  const { width } = look
  const mask = look.mask.slice()
  let found = false
  for (const other of others) {
    const pixels = []
    for (let i = 0; i < other.mask.length; i++) if (other.mask[i]) pixels.push(i)
    const contained = pixels.filter((i) => insideHull(hull, (i % width) + 0.5, Math.floor(i / width) + 0.5))
    if (pixels.length > 0.8 * look.area || contained.length < 0.95 * pixels.length) continue
    for (const i of contained) mask[i] = 1
    found = true
  }
  return found ? close({ ...look, mask }) : look
}

/** Closes gaps as wide as an outline: grown by a few pixels, then shrunk by as many. */
function close(look) {
  const { width, height } = look
  const reach = Math.round(width * 0.02)
  const total = width * height
  const outside = (mask) => Array.from({ length: total }, (_, i) => i).filter((i) => !mask[i])
  const apart = depths(outside(look.mask), width, height)
  const grown = Uint8Array.from(look.mask, (value, i) => (value || apart[i] <= reach ? 1 : 0))
  const inner = depths(
    Array.from({ length: total }, (_, i) => i).filter((i) => grown[i]),
    width,
    height,
  )
  const mask = Uint8Array.from(grown, (value, i) => (look.mask[i] || (value && inner[i] > reach) ? 1 : 0))
  return { ...look, mask, area: mask.reduce((sum, value) => sum + value, 0) }
}

/** The measures of a segmentation of a region; `others` are segmentations of the other regions. */
function measure(look, others, planes) {
  let holes = holesOf(look)
  let filled = fill(look, holes)
  let centre = centreOf(filled)
  const open = openHoles(look, holes, filled, centre, planes)
  let hull = convexHull(rowEnds(filled))
  if (open.length === 0) {
    const whole = withContents(filled, hull, others)
    if (whole !== filled) {
      holes = holesOf(whole)
      filled = fill(whole, holes)
      centre = centreOf(filled)
      hull = convexHull(rowEnds(filled))
    }
  }
  const hullArea = polygonArea(hull)
  return {
    area: centre.area / (look.width * look.height),
    x: centre.cx / look.width,
    y: centre.cy / look.height,
    solidity: centre.area / hullArea,
    holes: open,
    bays: baysOf(filled, hull, hullArea),
    harmonics: harmonics(filled, centre.cx, centre.cy),
  }
}

/** The name of the shape that fits the measures. */
function nameShape({ solidity, holes, bays, harmonics: [, , third, fourth, fifth] }) {
  if (holes.length === 1 && holes[0] > 0.02 && solidity > 0.85) return 'ring'
  const deep = bays.filter(({ share }) => share > 0.02)
  if (solidity < 0.86 && deep.length > 0) {
    const total = bays.reduce((sum, { share }) => sum + share, 0)
    if (deep[0].share > 0.7 * total) return 'moon'
    if (fifth.size > fourth.size) return 'star'
    return 'cross'
  }
  // Corners up and down point the third harmonic: sin(3 * 270 degrees) is 1 for a triangle on its base, -1 for a heart on its tip.
  if (third.size > 0.06 && third.size > Math.abs(fourth.cos)) return third.sin > 0 ? 'triangle' : 'heart'
  if (fourth.cos > 0.045) return 'diamond'
  if (fourth.cos < -0.045) return 'square'
  return 'circle'
}

module.exports = { measure, nameShape }
