/** Seeded damage to files: flipped bits, extreme bytes and words, cuts, repeats, swaps. */

/** A small generator of numbers in [0, 1) (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** A damaged copy. */
export function mutate(bytes: Uint8Array, random: () => number): Buffer {
  let out = Buffer.from(bytes)
  const below = (n: number) => Math.floor(random() * n)
  for (let rounds = 1 + below(3); rounds > 0 && out.length > 8; rounds--) {
    const at = below(out.length)
    switch (below(7)) {
      case 0:
        out[at]! ^= 1 << below(8)
        break
      case 1:
        out[at] = [0, 1, 0x7f, 0x80, 0xff, 0x22, 0x7b, 0x5d][below(8)]!
        break
      case 2:
        out.writeUInt32BE([0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x10000][below(6)]!, Math.min(at, out.length - 4))
        break
      case 3:
        out = out.subarray(0, at)
        break
      case 4:
        out = Buffer.concat([out.subarray(0, at), out.subarray(Math.min(out.length, at + 1 + below(16)))])
        break
      case 5:
        out = Buffer.concat([out.subarray(0, at), out.subarray(at, at + 32), out.subarray(at)])
        break
      default:
        out[at] = below(256)
    }
  }
  return Buffer.from(out)
}
