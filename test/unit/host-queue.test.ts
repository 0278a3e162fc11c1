/** The queue of a host by itself, with an engine that says what the test has it say. */
import type { EngineListener } from '../../lib/host/port'
import { EngineQueue, type Task } from '../../lib/host/queue'
import { protocolVersion, type EngineMessage, type HostMessage } from '../../lib/rpc/protocol'
import { encodeError } from '../../lib/rpc/wire-error'

function queueWith(settings: { maxModels?: number; maxBatch?: number; idleMs?: number } = {}) {
  const sent: HostMessage[] = []
  const holds: boolean[] = []
  let listener!: EngineListener
  const queue = new EngineQueue({
    start: (given) => {
      listener = given
      setImmediate(() => listener.onMessage({ type: 'hello', protocol: protocolVersion, pid: 1 }))
      return { send: (message) => void sent.push(message), hold: (keep) => void holds.push(keep), kill: () => {} }
    },
    onCrash: 'restart',
    maxModels: settings.maxModels ?? 1,
    maxBatch: settings.maxBatch ?? 1,
    idleMs: settings.idleMs ?? 0,
    changed: () => {},
    crashed: () => {},
    loaded: () => {},
  })
  const ends: Record<string, unknown> = {}
  const task = (model: string, type: 'load' | 'tokenize' | 'unload'): Task => ({
    model,
    aside: type === 'tokenize',
    passive: type === 'unload',
    message: (id) => ({ type, id, model: type === 'unload' ? model : { name: model }, prompt: '' }) as unknown as HostMessage,
    resolve: () => void (ends[`${type} ${model}`] = 'done'),
    reject: (error) => void (ends[`${type} ${model}`] = error),
  })
  const say = (message: EngineMessage) => listener.onMessage(message)
  const idOf = (type: HostMessage['type']) => (sent.findLast((each) => each.type === type) as { id: number }).id
  return { queue, sent, holds, ends, task, say, idOf, listener: () => listener }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))
const stopped = encodeError(new DOMException('stopped', 'AbortError'))

/** A task beside a load that is cancelled: the engine then loads the model for that task. */
async function crossed(settings?: Parameters<typeof queueWith>[0]) {
  const host = queueWith(settings)
  const load = host.task('one', 'load')
  host.queue.add(load)
  await turn()
  host.queue.add(host.task('one', 'tokenize'))
  host.queue.cancel(load)
  host.say({ type: 'error', id: host.idOf('load'), error: stopped, models: [] })
  return host
}

test('a model loaded for a task outside the queue, after a cancelled job, is tracked and can be evicted', async () => {
  const { queue, sent, task, say, idOf, ends } = await crossed()
  expect(queue.isLoaded('one')).toBe(true)
  queue.add(task('two', 'load'))
  expect(sent.map(({ type }) => type)).toEqual(['load', 'tokenize', 'cancel', 'unload', 'load'])
  say({ type: 'result', id: idOf('tokenize'), value: undefined, models: ['one'] })
  expect(ends['tokenize one']).toBe('done')
  expect([queue.isLoaded('one'), queue.isLoaded('two')]).toEqual([false, true])
})

test('a model that failed to load is not tracked', async () => {
  const { queue, say, idOf } = await crossed()
  say({ type: 'error', id: idOf('tokenize'), error: stopped, models: [] })
  expect(queue.isLoaded('one')).toBe(false)
})

test('an engine with a task outside the queue becomes idle after it, and if the engine ends the task fails', async () => {
  const { queue, holds, say, idOf, ends, listener } = await crossed({ idleMs: 5 })
  await new Promise((resolve) => setTimeout(resolve, 30))
  expect([queue.state, holds.at(-1)]).toEqual(['ready', true])
  say({ type: 'result', id: idOf('tokenize'), value: undefined, models: ['one'] })
  expect(holds.at(-1)).toBe(false)
  await new Promise((resolve) => setTimeout(resolve, 30))
  expect(queue.state).toBe('idle') // it was told to end
  listener().onExit({ exitCode: 0 })

  const other = await crossed()
  other.listener().onExit({ signal: 'SIGKILL' })
  expect(other.ends['tokenize one']).toMatchObject({ code: 'ERR_ENGINE_EXITED' })
  expect(ends['tokenize one']).toBe('done')
})

test('a task outside the queue is cancelled in the engine', async () => {
  const { queue, sent, task, idOf } = queueWith()
  queue.add(task('one', 'load'))
  await turn()
  const tokens = task('one', 'tokenize')
  queue.add(tokens)
  queue.cancel(tokens)
  expect(sent.at(-1)).toEqual({ type: 'cancel', id: idOf('tokenize') })
})

describe('tasks that join', () => {
  /** The engine is ready and has what waited for it. */
  const started = async () => {
    await turn()
    await turn()
  }
  const joining = (host: ReturnType<typeof queueWith>, name: string, joins: string | undefined, images = 1): Task => ({
    ...host.task(name, 'load'),
    model: 'one',
    joins,
    images,
  })
  const groups = ({ sent }: ReturnType<typeof queueWith>) =>
    sent.map((message) =>
      message.type === 'together' ? message.requests.map(({ model }) => model.name) : (message as { model: { name: string } }).model.name,
    )
  const named = (host: ReturnType<typeof queueWith>, name: string, joins: string | undefined, images?: number) => {
    const task = joining(host, name, joins, images)
    host.queue.add(task)
    return task
  }
  const answer = ({ sent, say }: ReturnType<typeof queueWith>) => {
    const last = sent.at(-1)!
    const ids = last.type === 'together' ? last.requests.map(({ id }) => id) : [(last as { id: number }).id]
    for (const id of ids) say({ type: 'result', id, value: undefined, models: ['one'] })
  }

  test('neighbours with the same text are sent together, up to the limit of images', async () => {
    const host = queueWith({ maxBatch: 4 })
    named(host, 'a', 'x')
    named(host, 'b', 'x', 2)
    named(host, 'c', 'x', 2)
    named(host, 'd', 'y')
    named(host, 'e', undefined)
    named(host, 'f', undefined)
    await started()
    for (let i = 0; i < 5; i++) answer(host)
    // One task of several images may be made in common calls as well.
    expect(groups(host)).toEqual([['a', 'b'], ['c'], 'd', 'e', 'f'])
    expect(host.queue.running).toBe(false)
  })

  test('one with more images than the limit is sent by itself', async () => {
    const host = queueWith({ maxBatch: 2 })
    named(host, 'a', 'x', 16)
    named(host, 'b', 'x', 2)
    named(host, 'c', 'x')
    await started()
    for (let i = 0; i < 3; i++) answer(host)
    expect(groups(host)).toEqual(['a', ['b'], 'c'])
  })

  test('none without maxBatch', async () => {
    const host = queueWith()
    named(host, 'a', 'x', 2)
    named(host, 'b', 'x')
    await started()
    answer(host)
    expect(groups(host)).toEqual(['a', 'b'])
  })

  test('one of them is cancelled: the others go on, and the engine is told', async () => {
    const host = queueWith({ maxBatch: 4 })
    const [a, , c] = [named(host, 'a', 'x'), named(host, 'b', 'x'), named(host, 'c', 'x')]
    host.queue.cancel(c)
    await started()
    expect(groups(host)).toEqual([['a', 'b']])
    const { requests } = host.sent[0] as Extract<HostMessage, { type: 'together' }>
    host.queue.cancel(a)
    expect(host.sent.at(-1)).toEqual({ type: 'cancel', id: requests[0]!.id })
    host.say({ type: 'result', id: requests[1]!.id, value: undefined, models: ['one'] })
    expect(host.ends['load b']).toBe('done')
    expect(host.queue.running).toBe(true) // until the cancelled one has ended
    host.say({ type: 'error', id: requests[0]!.id, error: stopped, models: ['one'] })
    expect(host.queue.running).toBe(false)
  })

  test('an engine that ends takes all of them with it, and the next goes on', async () => {
    const host = queueWith({ maxBatch: 2 })
    for (const name of ['a', 'b', 'c']) named(host, name, 'x')
    await started()
    host.listener().onExit({ signal: 'SIGKILL' })
    expect([host.ends['load a'], host.ends['load b']]).toEqual([
      expect.objectContaining({ code: 'ERR_ENGINE_EXITED' }),
      expect.objectContaining({ code: 'ERR_ENGINE_EXITED' }),
    ])
    await started()
    expect(groups(host)).toEqual([['a', 'b'], 'c'])
  })
})
