/** How long a server waits for an object store that does not answer, and which answers it asks for once. */
import { readPatiently } from '../../packages/server/src/patience'
import { QueueError } from '../../packages/worker/src/errors'

const open = () => false
const refused = (status: number) => new QueueError('ERR_STORE', `refused with ${status}`, { retriable: true, status })

test('a store that never answers ends at the deadline, as 503', async () => {
  const signals: AbortSignal[] = []
  const read = (signal: AbortSignal) => {
    signals.push(signal)
    return new Promise<never>(() => {})
  }
  await expect(readPatiently(read, open, 50)).rejects.toMatchObject({ statusCode: 503, code: 'ERR_STORE', retryAfter: 5 })
  expect(signals.map(({ aborted }) => aborted)).toEqual([true]) // the read is ended, not only abandoned
})

test('an answer that stays the same is not asked for again', async () => {
  for (const error of [...[301, 400, 401, 403, 404].map(refused), new QueueError('ERR_OBJECT_MISSING', 'gone')]) {
    const read = jest.fn(() => Promise.reject(error))
    await expect(readPatiently(read, open)).rejects.toBe(error)
    expect(read).toHaveBeenCalledTimes(1)
  }
})

test('a store that is away for a moment is asked again, unless the server closes or the time is over', async () => {
  const answers = [refused(503), new QueueError('ERR_STORE', 'no answer', { retriable: true })]
  const read = jest.fn(async () => {
    const error = answers.shift()
    if (error) throw error
    return 'image'
  })
  expect(await readPatiently(read, open)).toBe('image')
  expect(read).toHaveBeenCalledTimes(3)
  const never = jest.fn(() => Promise.reject(refused(503)))
  await expect(readPatiently(never, () => true)).rejects.toThrow('refused with 503')
  await expect(readPatiently(never, open, 100)).rejects.toThrow('refused with 503')
  expect(never).toHaveBeenCalledTimes(2)
})
