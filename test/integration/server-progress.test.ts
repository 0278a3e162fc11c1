/** Progress of a request of AUTOMATIC1111's API by its id, as the web UI asks for it: `/internal/progress`. */
import { RawImage } from '../../lib/index'
import { holdEngine } from '../helpers/held-engine'
import { ask, startServer, type Server } from '../helpers/server'

let server: Server & { lines: string[] }
beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server.close())

const progress = async (id_task: unknown, more: object = {}) => (await ask(server, '/internal/progress', { body: { id_task, ...more } })).json
const draw = (id: string) => ask(server, '/sdapi/v1/txt2img', { body: { prompt: 'a red circle', steps: 8, n_iter: 2, force_task_id: id } })
const nothing = { progress: null, eta: null, live_preview: null, id_live_preview: -1 }
const until = async (condition: () => Promise<unknown>) => {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5))
}

test('waiting, running and finished requests', async () => {
  const held = holdEngine()
  const first = draw('task(first)')
  let seen: Record<string, unknown> = {}
  let again: Record<string, unknown> = {}
  await until(async () => {
    // The held engine ends with a last preview, which is not sent twice.
    seen = await progress('task(first)')
    again = await progress('task(first)', { id_live_preview: seen.id_live_preview })
    return Number(seen.progress) > 0 && seen.live_preview !== null && again.live_preview === null
  })
  expect(again).toMatchObject({ active: true, id_live_preview: seen.id_live_preview })
  const [second, third] = [draw('task(second)'), draw('task(third)')]
  await until(async () => (await progress('task(second)')).queued && (await progress('task(third)')).queued)

  expect(seen).toMatchObject({ active: true, queued: false, completed: false, textinfo: null })
  expect(seen.progress).toBeLessThanOrEqual(0.25) // half of the first of two rounds, where the engine is held
  expect(seen.eta).toBeGreaterThan(0)
  const [, preview] = /^data:image\/png;base64,(.+)$/.exec(seen.live_preview as string)!
  expect((await RawImage.read(Buffer.from(preview!, 'base64'))).width).toBeGreaterThan(0)
  expect(await progress('task(first)', { live_preview: false })).toMatchObject({ active: true, live_preview: null, id_live_preview: -1 })

  const waits = { active: false, queued: true, completed: false, ...nothing }
  const places = [await progress('task(second)'), await progress('task(third)')].map(({ textinfo, ...rest }) => [textinfo, rest])
  expect(places.sort()).toEqual([
    ['In queue: 1/2', waits],
    ['In queue: 2/2', waits],
  ])
  for (const id of ['task(other)', undefined])
    expect(await progress(id)).toEqual({ active: false, queued: false, completed: false, ...nothing, textinfo: 'Waiting...' })

  held[Symbol.dispose]()
  for (const { status, json } of await Promise.all([first, second, third])) expect([status, json.images.length]).toEqual([200, 2])
  for (const id of ['first', 'second', 'third'])
    expect(await progress(`task(${id})`)).toEqual({ active: false, queued: false, completed: true, ...nothing, textinfo: 'Waiting...' })
})

test('what is no request for progress is an error of the web UI; a token is needed here too', async () => {
  for (const body of [{ id_task: 5 }, { id_task: 'x', id_live_preview: 'y' }, []]) {
    const { status, json } = await ask(server, '/internal/progress', { body })
    expect([status, typeof json.detail]).toEqual([422, 'string'])
  }
  const one = await startServer({ token: 'long-enough' })
  try {
    expect((await ask(one, '/internal/progress', { body: {} })).status).toBe(401)
    expect((await ask(one, '/internal/ping')).status).toBe(401)
  } finally {
    await one.close()
  }
})
