/** Slices of time: how long pieces of work share the turns of the event loop. */
import { inSlices, makeSliced, TimeSlice } from '../../lib/files/time-slice'

function burn(milliseconds: number): void {
  const end = performance.now() + milliseconds
  while (performance.now() < end);
}

afterEach(() => jest.restoreAllMocks())

test('slices that follow each other in one turn share its time', async () => {
  let now = 1000
  jest.spyOn(performance, 'now').mockImplementation(() => now)
  const first = new TimeSlice()
  now += 10
  // Nothing turned the loop in between, so the second slice continues the first.
  expect(new TimeSlice().over).toBe(true)
  await first.next()
  expect(first.over).toBe(false)
  expect(new TimeSlice().over).toBe(false)
})

test('two concurrent tasks block the event loop no longer than one', async () => {
  let turns = 0
  let counting = setImmediate(function turn() {
    turns++
    counting = setImmediate(turn)
  })
  const work = () => inSlices(40, () => burn(0.5))
  await Promise.all([work(), work()])
  clearImmediate(counting)
  // 40 ms of work in turns of some 3 ms; were the two clocks apart, a turn would hold both.
  expect(turns).toBeGreaterThanOrEqual(8)
})

test('arrays are filled in pieces, each element once', async () => {
  const made = await makeSliced(new Float32Array(10_000), (i) => i + 1)
  expect(made.every((value, i) => value === i + 1)).toBe(true)
})
