/**
 * An independent judge of pictures of simple scenes: says what stands where, in which colour and shape, from pixels alone, and whether that is what a caption asked for.
 * It knows nothing of how the scenes of the training are drawn.
 */
const { findRegions } = require('./regions.cjs')
const { measure, nameShape } = require('./shapes.cjs')

/** Everything that stands out of the background, largest first: { colour, shape, x, y, box, area } in fractions of the picture. */
function describe(image) {
  return findRegions(image).map((region) => {
    const measures = measure(region)
    const { x0, y0, x1, y1 } = region.box
    return {
      colour: region.colour,
      shape: nameShape(measures),
      x: measures.x,
      y: measures.y,
      area: measures.area,
      box: { x0: x0 / region.width, y0: y0 / region.height, x1: x1 / region.width, y1: y1 / region.height },
      measures,
    }
  })
}

const between = (value, low, high) => value > low && value < high

/** Does `relation` hold for a to b? */
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
      return between(a.x, b.box.x0, b.box.x1) && between(a.y, b.box.y0, b.box.y1) && a.area < b.area && contains(b.box, a.box)
    default:
      throw new Error(`unknown relation '${relation}'`)
  }
}

function contains(outer, inner) {
  return inner.x0 > outer.x0 && inner.y0 > outer.y0 && inner.x1 < outer.x1 && inner.y1 < outer.y1
}

/** Is an object where `position` ('top left', 'right' ...) says? */
function stands(position, { x, y }) {
  const words = position.split(' ')
  const rules = { left: x < 0.42, right: x > 0.58, top: y < 0.42, bottom: y > 0.58 }
  return words.every((word) => rules[word])
}

/** What of an expectation ({ objects: [{ color, shape, position? }], relation? }) is in the picture. */
function judge(image, { objects, relation }) {
  const seen = describe(image)
  const matches = objects.map(({ color, shape }) => seen.filter((thing) => thing.colour === color && thing.shape === shape))
  const colours = objects.map(({ color }) => seen.some((thing) => thing.colour === color))
  const found = matches.map((list) => list.length > 0)
  const result = { seen, colours, found, objects: found.every(Boolean) }
  const [first, second] = matches
  if (objects[0].position) result.position = first.some((thing) => stands(objects[0].position, thing))
  if (relation) result.relation = first.some((a) => second.some((b) => a !== b && holds(relation, a, b)))
  return result
}

module.exports = { describe, holds, stands, judge }
