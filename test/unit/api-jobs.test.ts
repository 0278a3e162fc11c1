import { progressReporter, runJob } from '../../lib/native/job'
import type { NativeCallbacks, NativeJob } from '../../lib/native/contract'
import type { Progress } from '../../lib/types'

/** A job that is settled by hand, as the engine would. */
function fakeJob<T>() {
  let settle!: { resolve: (value: T) => void; reject: (error: unknown) => void }
  const promise = new Promise<T>((resolve, reject) => (settle = { resolve, reject }))
  const job: NativeJob<T> & { cancelled: number } = {
    promise,
    cancelled: 0,
    cancel() {
      this.cancelled++
      settle.reject(Object.assign(new Error('aborted'), { code: 'ERR_ABORTED', details: '{}' }))
    },
  }
  return { job, ...settle }
}

const tick = () => new Promise((resolve) => setImmediate(resolve))

describe('runJob', () => {
  test('returns the result and cancels nothing', async () => {
    const { job, resolve } = fakeJob<number>()
    const running = runJob(() => job)
    resolve(7)
    expect(await running).toBe(7)
    expect(job.cancelled).toBe(0)
  })

  test('an abort cancels the job and rejects with the reason', async () => {
    const { job } = fakeJob<number>()
    const controller = new AbortController()
    const running = runJob(() => job, { signal: controller.signal })
    const reason = { any: 'thing' }
    controller.abort(reason)
    await expect(running).rejects.toBe(reason)
    expect(job.cancelled).toBe(1)
  })

  test('an already aborted signal prevents the start of the job', async () => {
    const start = jest.fn(() => fakeJob<number>().job)
    const reason = new Error('no')
    await expect(runJob(start, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    expect(start).not.toHaveBeenCalled()
  })

  test('a throwing callback cancels once, is called once and rejects with its error', async () => {
    const { job } = fakeJob<number>()
    const oops = new Error('oops')
    const onProgress = jest.fn(() => {
      throw oops
    })
    let callbacks: NativeCallbacks = {}
    const running = runJob(
      (given) => {
        callbacks = given
        return job
      },
      { onProgress },
    )
    const rejected = expect(running).rejects.toBe(oops)
    callbacks.onProgress!('sample', 1, 2)
    callbacks.onProgress!('sample', 2, 2)
    await rejected
    expect(onProgress).toHaveBeenCalledTimes(1)
    expect(job.cancelled).toBe(1)
  })

  test('a callback whose promise rejects counts as throwing', async () => {
    const { job } = fakeJob<number>()
    const oops = new Error('oops')
    let callbacks: NativeCallbacks = {}
    const running = runJob((given) => ((callbacks = given), job), { onProgress: () => Promise.reject(oops) })
    const rejected = expect(running).rejects.toBe(oops)
    callbacks.onProgress!('load', 1, 2)
    await rejected
  })

  test('a late result is discarded', async () => {
    let resolve!: (value: string) => void
    const job = { promise: new Promise<string>((r) => (resolve = r)), cancel: () => undefined }
    const oops = new Error('oops')
    const discard = jest.fn()
    let callbacks: NativeCallbacks = {}
    const hooks = {
      onProgress: () => {
        throw oops
      },
    }
    const running = runJob((given) => ((callbacks = given), job), hooks, discard)
    const rejected = expect(running).rejects.toBe(oops)
    callbacks.onProgress!('load', 2, 2)
    resolve('pipeline')
    await rejected
    expect(discard).toHaveBeenCalledWith('pipeline')
  })

  test('listeners are removed from the signal', async () => {
    const { job, resolve } = fakeJob<number>()
    const controller = new AbortController()
    const running = runJob(() => job, { signal: controller.signal })
    resolve(1)
    await running
    controller.abort()
    await tick()
    expect(job.cancelled).toBe(0)
  })
})

test('progress has times and an estimate per phase', () => {
  const events: Progress[] = []
  const now = jest.spyOn(performance, 'now')
  try {
    now.mockReturnValue(1000)
    const report = progressReporter((event) => events.push(event))
    for (const [at, phase, step, steps] of [
      [1100, 'load', 0, 0],
      [1200, 'sample', 1, 4],
      [1300, 'sample', 2, 4],
      [1500, 'sample', 4, 4],
    ] as const) {
      now.mockReturnValue(at)
      report(phase, step, steps)
    }
  } finally {
    now.mockRestore()
  }
  expect(events).toEqual([
    { phase: 'load', step: 0, steps: 0, elapsedMs: 100, etaMs: null },
    { phase: 'sample', step: 1, steps: 4, elapsedMs: 200, etaMs: 300 },
    { phase: 'sample', step: 2, steps: 4, elapsedMs: 300, etaMs: 200 },
    { phase: 'sample', step: 4, steps: 4, elapsedMs: 500, etaMs: 0 },
  ])
})
