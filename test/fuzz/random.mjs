/** Seeded damage: to bytes, and to the structure of JSON. */

/** A small generator of numbers in [0, 1) (mulberry32), and choices made with it. */
export function randomOf(seed) {
  let state = seed | 0
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const below = (n) => Math.floor(next() * n)
  return { next, below, pick: (list) => list[below(list.length)], chance: (share) => next() < share }
}

const words = [0n, 1n, 2n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0x10000n, 0x7fffffffn, 0x80000000n, 0xffffffffn, 0x7fffffffffffffffn, 0xffffffffffffffffn]

/** A damaged copy: flipped bits, extreme words of 2, 4 and 8 bytes in either order, cuts, repeats, swaps. `[from, to)` is where the damage begins. */
export function damageBytes(bytes, random, from = 0, to = bytes.length) {
  let out = Buffer.from(bytes)
  for (let rounds = 1 + random.below(4); rounds > 0 && out.length > 8; rounds--) {
    const at = Math.min(out.length - 1, from + random.below(Math.max(1, Math.min(to, out.length) - from)))
    const kind = random.below(7)
    if (kind === 0) out[at] ^= 1 << random.below(8)
    else if (kind === 1) out[at] = random.below(256)
    else if (kind === 2) out = out.subarray(0, at)
    else if (kind === 3) out = Buffer.concat([out.subarray(0, at), out.subarray(Math.min(out.length, at + 1 + random.below(24)))])
    else if (kind === 4) out = Buffer.concat([out.subarray(0, at), out.subarray(at, at + 1 + random.below(64)), out.subarray(at)])
    else {
      const size = random.pick([2, 4, 8])
      const word = Buffer.alloc(8)
      if (random.chance(0.7)) word.writeBigUInt64LE(random.pick(words))
      else word.writeBigUInt64LE(BigInt(random.below(0x10000)))
      const place = Math.max(0, Math.min(at, out.length - size))
      const part = word.subarray(0, size)
      ;(random.chance(0.5) ? part : part.reverse()).copy(out, place)
    }
  }
  return Buffer.from(out)
}

const strangeValues = () => [
  null,
  true,
  0,
  -1,
  0.5,
  1e308,
  -1e308,
  2 ** 31,
  2 ** 53,
  4294967296,
  '',
  'x',
  '../../etc/passwd',
  '\u0000',
  'é'.repeat(300),
  [],
  {},
  [[[[[[]]]]]],
  { __proto__: null, constructor: 1 },
  Array.from({ length: 300 }, (_, i) => i),
]

/** A copy of a JSON value with some of its parts replaced, removed, repeated, renamed or nested. */
export function damageJson(value, random, share = 0.06) {
  const strange = () => random.pick(strangeValues())
  const walk = (item, depth) => {
    if (depth > 0 && random.chance(share)) return strange()
    if (Array.isArray(item)) {
      const copy = item.map((each) => walk(each, depth + 1))
      if (random.chance(share)) copy.splice(random.below(copy.length + 1), random.below(2), strange())
      return copy
    }
    if (item === null || typeof item !== 'object') {
      if (typeof item === 'number' && random.chance(share * 2)) return random.pick([item + 1, item - 1, item * 1024, -item, item + 0.5])
      return item
    }
    const entries = Object.entries(item).map(([key, each]) => [key, walk(each, depth + 1)])
    if (entries.length > 0 && random.chance(share)) entries.splice(random.below(entries.length), 1)
    if (random.chance(share)) entries.push([random.pick(['', 'x', '__proto__', 'constructor', 'toString', 'é'.repeat(200)]), strange()])
    if (entries.length > 1 && random.chance(share)) entries[0][1] = entries.at(-1)[1]
    return Object.fromEntries(entries)
  }
  return walk(value, 0)
}

/** The text of a damaged JSON value; now and then damaged as a text, too. */
export function damageJsonText(value, random) {
  const text = Buffer.from(JSON.stringify(damageJson(value, random)) ?? 'null')
  return random.chance(0.15) ? damageBytes(text, random) : text
}
