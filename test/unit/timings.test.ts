/** The parts of calls that run together. */
import { ownTimings } from '../../lib/api/timings'

test('what calls share is divided, the rest is their own', () => {
  const timings = { loadMs: 6, encodeMs: 10, sampleMs: 30, decodeMs: 20, sharedBy: 3 }
  expect(ownTimings(timings)).toEqual({ loadMs: 2, encodeMs: 10, sampleMs: 10, decodeMs: 20 })
  const older = { loadMs: 6, encodeMs: 10, sampleMs: 30, decodeMs: 20 }
  expect(ownTimings(older)).toEqual(older)
})
