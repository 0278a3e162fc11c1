/** Values that no option expects. Each call of `make` gives a fresh one, as some change when they are looked at. */
export interface Hostile {
  name: string
  make: () => unknown
}

/** What proxies and getters of ours throw: an error of the caller's own may come back as it is. */
export const ownError = new Error('thrown by a value of the test')
const fail = () => {
  throw ownError
}
const traps = new Proxy({}, { get: () => fail }) as ProxyHandler<object>

function detached(): Float32Array {
  const array = new Float32Array(256)
  structuredClone(array.buffer, { transfer: [array.buffer] })
  return array
}

function revoked(): unknown {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

/** Another value at every look. */
function changing(): unknown {
  const values = [1, 'text', null, [], Symbol('s'), 64, {}, NaN]
  let looks = 0
  return new Proxy({}, { get: (_, key) => (typeof key === 'symbol' ? undefined : values[looks++ % values.length]), ownKeys: () => [] })
}

const plain: [string, unknown][] = [
  ['null', null],
  ['true', true],
  ['0', 0],
  ['-1', -1],
  ['1.5', 1.5],
  ['NaN', NaN],
  ['Infinity', Infinity],
  ['2^53', 2 ** 53],
  ['-2^63 as a bigint', -(2n ** 63n)],
  ['an empty text', ''],
  ['a text', 'text'],
  ['NUL in a text', 'a\0b'],
  ['NUL in a file: URL', 'file:///tmp/a%00b'],
  ['a URL of another machine', 'file://host/a'],
  ['a URL of the web', 'https://127.0.0.1:9/x'],
  ['half a character', '\ud800'],
  ['a hub name of nothing', 'hf:'],
  ['a long text', 'x'.repeat(1 << 20)],
  ['__proto__', '__proto__'],
  ['a symbol', Symbol('s')],
  ['a function', () => undefined],
]

const made: [string, () => unknown][] = [
  ['an object', () => ({})],
  ['an object without prototype', () => Object.create(null) as object],
  ['an unknown field', () => ({ unknown: 1 })],
  ['a cycle', () => Object.assign([], { 0: {} }).map((one: object) => Object.assign(one, { self: one }))[0]],
  ['an empty array', () => []],
  // eslint-disable-next-line no-sparse-arrays
  ['a sparse array', () => [, 1, ,]],
  ['a sparse array without end', () => new Array(2 ** 32 - 1)],
  ['nested arrays', () => [[[[]]]]],
  ['an empty Float32Array', () => new Float32Array(0)],
  ['numbers that are none', () => Float32Array.of(1, NaN, Infinity, 1)],
  ['a detached array', detached],
  ['shared memory', () => new Float32Array(new SharedArrayBuffer(64))],
  ['bytes', () => Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0)],
  ['a DataView', () => new DataView(new ArrayBuffer(8))],
  ['a big array of bigints', () => new BigInt64Array(4)],
  ['a proxy that throws', () => new Proxy({}, traps)],
  ['a proxy of a function that throws', () => new Proxy(() => undefined, traps)],
  ['a revoked proxy', revoked],
  ['another value at every look', changing],
  ['a getter that throws', () => Object.defineProperty({}, 'data', { get: fail, enumerable: true })],
  ['no primitive', () => ({ toString: fail, valueOf: fail, toJSON: fail, [Symbol.toPrimitive]: fail })],
  ['a false name', () => ({ constructor: { name: Symbol('s') } })],
  ['a false URL', () => ({ [Symbol.toStringTag]: 'URL', protocol: 'file:', href: 1 })],
  ['a false array', () => ({ [Symbol.toStringTag]: 'Float32Array', length: 4, buffer: null })],
  ['a false signal', () => ({ aborted: false, addEventListener: fail, removeEventListener: fail })],
  ['a date', () => new Date(NaN)],
  ['a map', () => new Map([['width', 64]])],
  ['a number in a box', () => new Number(64)],
  ['a promise', () => Promise.resolve(1)],
]

export const hostileValues: readonly Hostile[] = [
  ...plain.map(([name, value]) => ({ name, make: () => value })),
  ...made.map(([name, make]) => ({ name, make })),
]
