/**
 * An independent judge of images of simple scenes: detects objects with position, colour and shape from pixels only, and compares them with a caption. It does
 * not use the renderer of the training scenes.
 */
const { findRegions } = require('./regions.cjs')
const { measure, nameShape } = require('./shapes.cjs')

/**
 * All objects in front of the background, largest first: { colour, shape, shapes, x, y, box, area } in fractions of the image. `shapes` are the names by all
 * segmentations (without and with the outline), of which `shape` is the first.
 */
function describe(image) {
  const regions = findRegions(image)
  return regions.map(({ colour, looks, planes }) => {
    const others = regions.filter((other) => other.looks !== looks).map((other) => other.looks[0])
    const measures = looks.map((look) => measure(look, others, planes))
    const [{ x, y, area }] = measures
    const boxes = looks.map(({ box: { x0, y0, x1, y1 }, width, height }) => ({ x0: x0 / width, y0: y0 / height, x1: x1 / width, y1: y1 / height }))
    const names = measures.map(nameShape)
    return {
      colour,
      shape: names[0],
      shapes: [...new Set(names)],
      x,
      y,
      area,
      box: boxes[0],
      // The union of all segmentations, because one of them may have found a surrounding object only in parts.
      extent: { box: boxes.reduce(united), area: Math.max(...measures.map((each) => each.area)) },
    }
  })
}

function united(a, b) {
  return { x0: Math.min(a.x0, b.x0), y0: Math.min(a.y0, b.y0), x1: Math.max(a.x1, b.x1), y1: Math.max(a.y1, b.y1) }
}

const between = (value, low, high) => value > low && value < high

/** Whether `relation` holds between a and b. */
function holds(relation, a, b) {
  const [dx, dy] = [b.x - a.x, b.y - a.y]
  switch (relation) {
    case 'left':
      return dx > Math.abs(dy) && a.box.x1 < b.box.x0 + 0.02
    case 'right':
      return holds('left', b, a)
    case 'above':
      return dy > Math.abs(dx) && a.box.y1 < b.box.y0 + 0.02
    case 'below':
      return holds('above', b, a)
    case 'on':
      return dy > Math.abs(dx) && between(a.x, b.box.x0, b.box.x1) && between(b.box.y0 - a.box.y1, -0.1, 0.1)
    case 'inside':
      return a.area < b.extent.area && contains(b.extent.box, a.box)
    default:
      throw new Error(`unknown relation '${relation}'`)
  }
}

function contains(outer, inner) {
  return inner.x0 > outer.x0 && inner.y0 > outer.y0 && inner.x1 < outer.x1 && inner.y1 < outer.y1
}

/** Whether an object is at `position` ('top left', 'right' ...). */
function stands(position, { x, y }) {
  const words = position.split(' ')
  const rules = { left: x < 0.42, right: x > 0.58, top: y < 0.42, bottom: y > 0.58 }
  return words.every((word) => rules[word])
}

/** Objects of a colour and shape. If there are two of about the same size, the object counts as not found. */
function matching(seen, { color, shape }) {
  const things = seen.filter((thing) => thing.colour === color && thing.shapes.includes(shape))
  return things.length > 1 && things[1].area > 0.4 * things[0].area ? [] : things
}

/** Compares the image with an expectation ({ objects: [{ color, shape, position? }], relation? }). */
function judge(image, { objects, relation }) {
  const seen = describe(image)
  const matches = objects.map((object) => matching(seen, object))
  const colours = objects.map(({ color }) => seen.some((thing) => thing.colour === color))
  const found = matches.map((list) => list.length > 0)
  const result = { seen, colours, found, objects: found.every(Boolean) }
  const [first, second] = matches
  if (objects[0].position) result.position = first.some((thing) => stands(objects[0].position, thing))
  if (relation) result.relation = first.some((a) => second.some((b) => a !== b && holds(relation, a, b)))
  return result
}

module.exports = { describe, holds, stands, judge }
