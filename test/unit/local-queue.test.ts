/** Which waiting runs of a server are made together. The host is one whose jobs end when the test says so. */
import { EventEmitter } from 'node:events'
import type { DiffusionHost, GenerateResult, HostGenerateOptions } from 'node-latent-diffusion'
import { LocalQueue } from '../../packages/server/src/local-queue'
import { readSettings } from '../../packages/server/src/settings'

function queueWith(maxBatch: number) {
  const ends = new Map<string, { end(): void; signal: AbortSignal }>()
  const host = Object.assign(new EventEmitter(), {
    generate({ prompt, signal }: HostGenerateOptions) {
      const result = new Promise<GenerateResult>((resolve, reject) => {
        signal!.addEventListener('abort', () => reject(signal!.reason as Error))
        ends.set(prompt!, {
          signal: signal!,
          end: () => resolve({ images: [], seed: 1n, options: {}, timings: {}, warnings: [] } as unknown as GenerateResult),
        })
      })
      return Object.assign(result, {
        [Symbol.asyncIterator]: () => ({ next: () => result.then(() => ({ done: true, value: undefined })) }),
      })
    },
  })
  const queue = new LocalQueue(host as unknown as DiffusionHost, readSettings().limits, maxBatch)
  const submit = (prompt: string, options: HostGenerateOptions = {}, more = {}) =>
    queue.submit({ api: 'latent', model: 'm', client: '', options: { prompt, steps: 4, ...options }, ...more })
  const running = () => queue.running.map(({ options }) => options.prompt)
  const end = async (...prompts: string[]) => {
    for (const prompt of prompts) ends.get(prompt)!.end()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { queue, submit, running, end, ends }
}

test('those that differ only in prompt, seed and count, up to the limit of images; the first is always among them', async () => {
  const { submit, running, end } = queueWith(4)
  submit('first')
  submit('a', { seed: 1 })
  submit('other size', { width: 128 })
  submit('b', { negativePrompt: 'x', count: 2 })
  submit('other model', {}, { model: 'n' })
  submit('too many', { count: 2 })
  submit('c')
  submit('image', { image: new Uint8Array(1) })
  expect(running()).toEqual(['first'])
  await end('first')
  expect(running()).toEqual(['a', 'b', 'c'])
  await end('a', 'b')
  expect(running()).toEqual(['c']) // the next begin when all have ended
  await end('c')
  expect(running()).toEqual(['other size'])
  await end('other size')
  expect(running()).toEqual(['other model'])
  await end('other model')
  expect(running()).toEqual(['too many'])
  await end('too many')
  expect(running()).toEqual(['image'])
})

test('variations of one strength, whatever their seeds', async () => {
  const { submit, running, end } = queueWith(4)
  submit('first')
  submit('a', { variationSeed: 1, variationStrength: 0.5 })
  submit('b', { variationSeed: 2n, variationStrength: 0.5 })
  submit('c', { variationSeed: 2n, variationStrength: 0.4 })
  await end('first')
  expect(running()).toEqual(['a', 'b'])
})

test('runs of lower priority do not pass waiting ones of higher priority', async () => {
  const { submit, running, end } = queueWith(4)
  const batch = { priority: 'batch' as const }
  submit('first')
  submit('a')
  submit('b', {}, batch)
  submit('other size', { width: 128 })
  submit('c')
  await end('first')
  expect(running()).toEqual(['a', 'c'])
  await end('a', 'c')
  expect(running()).toEqual(['other size'])
  submit('d')
  await end('other size')
  expect(running()).toEqual(['d', 'b']) // nobody else waits
})

test('a count that will be refused joins nothing', async () => {
  const { submit, running, end } = queueWith(4)
  submit('first')
  for (const [i, count] of [-3, NaN, 1.5].entries()) submit(`wrong ${i}`, { count })
  submit('a')
  submit('b', { count: 3 })
  submit('c', { count: 2 })
  await end('first')
  for (const i of [0, 1, 2]) {
    expect(running()).toEqual([`wrong ${i}`])
    await end(`wrong ${i}`)
  }
  expect(running()).toEqual(['a', 'b'])
})

test('without maxBatch one after another', async () => {
  const { submit, running, end } = queueWith(1)
  for (const prompt of ['a', 'b', 'c']) submit(prompt)
  await end('a')
  expect(running()).toEqual(['b'])
})

test('one that is cancelled leaves the others running', async () => {
  const { queue, submit, running, end, ends } = queueWith(4)
  submit('first')
  const [a] = ['a', 'b'].map((prompt) => submit(prompt))
  await end('first')
  expect(running()).toEqual(['a', 'b'])
  const gone = new Error('gone')
  a!.cancel(gone)
  await expect(a!.promise).rejects.toBe(gone)
  expect([ends.get('a')!.signal.aborted, ends.get('b')!.signal.aborted]).toEqual([true, false])
  await end()
  expect(running()).toEqual(['b'])
  const closed = queue.close(10_000)
  await end('b')
  await closed
  expect(running()).toEqual([])
})
