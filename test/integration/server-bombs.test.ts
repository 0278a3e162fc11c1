/**
 * Decompression bombs in uploads, in a form and in JSON, for all APIs: each is refused with what is wrong, before memory or time is spent on it, and the server goes on.
 * The server runs in a process of its own, so that its memory and that of its engine can be measured.
 */
import { execFileSync, fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { makeBombs, type Bomb, type ImageFile } from '../helpers/bombs'
import { ask, formOf, type Ask, type Reply } from '../helpers/server'

const side = 1024
const mebibyte = 2 ** 20
/** Of the server and its engine together: a request of 16 MB as text and as bytes, and images of 1024x1024. 8000x8000 pixels take at least 183 MiB. */
const allowed = 128 * mebibyte

let child: ChildProcess
let server: { port: number }
let bombs: Bomb[]
let sound: ImageFile[]
beforeAll(async () => {
  child = fork(path.join('test', 'helpers', 'load-server.cjs'), [JSON.stringify({ limits: { maxPixels: side * side } })])
  ;[[server], { bombs, sound }] = await Promise.all([once(child, 'message') as Promise<[{ port: number }]>, makeBombs(side)])
})
afterAll(async () => {
  const ended = once(child, 'exit')
  child.send('close')
  await ended
})

/** Ways of an image into the server. */
const routes: Record<string, (file: ImageFile) => [path: string, request: Ask]> = {
  'edits, in a form': ({ bytes, type }) => ['/v1/images/edits', formOf({ prompt: 'x', steps: '2', size: '64x64', image: { bytes, type } })],
  'the mask of edits': ({ bytes, type }) => {
    const [image] = [sound.at(-1)!]
    return ['/v1/images/edits', formOf({ prompt: 'x', steps: '2', size: '64x64', image, mask: { bytes, type } })]
  },
  'variations, in a form': ({ bytes, type }) => ['/v1/images/variations', formOf({ steps: '2', size: '64x64', image: { bytes, type } })],
  'a job, in a form': ({ bytes, type }) => {
    return ['/latent/v1/jobs', formOf({ request: '{"steps":2,"width":64,"height":64}', image: { bytes, type } })]
  },
  'a job, in JSON': ({ bytes }) => ['/latent/v1/jobs', { body: { steps: 2, width: 64, height: 64, image: bytes.toString('base64') } }],
  'png-info': ({ bytes }) => ['/sdapi/v1/png-info', { body: { image: bytes.toString('base64') } }],
  'extra-single-image': ({ bytes }) => ['/sdapi/v1/extra-single-image', { body: { image: bytes.toString('base64'), upscaling_resize: 0.1 } }],
  img2img: ({ bytes }) => ['/sdapi/v1/img2img', { body: { steps: 2, width: 64, height: 64, init_images: [bytes.toString('base64')] } }],
}

/** The server and its engines. */
function processes(): number[] {
  const children = execFileSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' }).matchAll(/(\d+) +(\d+)/g)
  return [child.pid!, ...[...children].filter(([, , parent]) => Number(parent) === child.pid).map(([, pid]) => Number(pid))]
}
const measures = process.platform === 'linux'
/** Memory of all of them, now or the peak since `forget()`. */
const memory = (field: 'VmRSS' | 'VmHWM') =>
  processes().reduce(
    (sum, pid) => sum + 1024 * Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0),
    0,
  )
const forget = () => processes().forEach((pid) => writeFileSync(`/proc/${pid}/clear_refs`, '5'))

/** The error of an accepted job, as the answer of a call that waits for its end. */
async function failureOf({ json: { id } }: Reply): Promise<Pick<Reply, 'status' | 'text'>> {
  for (;;) {
    const { json } = await ask(server, `/latent/v1/jobs/${id}`)
    if (json.status === 'failed') return { status: json.error.code === 'ERR_IMAGE_FORMAT' ? 422 : 500, text: json.error.message }
    if (json.status === 'succeeded') return { status: 200, text: '' }
    await setTimeout(20)
  }
}

test('bombs are refused, and take no memory; the server goes on', async () => {
  const good = async () => {
    const image = sound.at(-1)!
    return (await ask(server, ...routes['edits, in a form']!(image))).status
  }
  expect(await good()).toBe(200) // the engine runs, and its memory counts
  await ask(server, ...routes['png-info']!(sound[0]!)) // and so does that of the decoders
  const wrong: unknown[] = []
  for (const bomb of bombs) {
    for (const [route, make] of Object.entries(routes)) {
      const isLater = route.startsWith('a job') && bomb.needsDecoding // which is work of the engine
      const before = measures ? memory('VmRSS') : 0
      if (measures) forget()
      const first = await ask(server, ...make(bomb))
      const { status, text } = isLater && first.status === 202 ? await failureOf(first) : first
      const grown = measures ? memory('VmHWM') - before : 0
      const isRefused = [400, 422].includes(status) && bomb.says.test(text)
      if (!isRefused || grown > allowed) wrong.push([bomb.name, route, status, text.slice(0, 200), Math.round(grown / mebibyte)])
    }
  }
  expect(wrong).toEqual([])
  expect(await good()).toBe(200)
})

test('images of which only a part is read are no bombs', async () => {
  for (const file of sound) {
    const before = measures ? memory('VmRSS') : 0
    if (measures) forget()
    const { status, json } = await ask(server, ...routes['extra-single-image']!(file))
    expect([file.name, status, typeof json.image]).toEqual([file.name, 200, 'string'])
    if (measures) expect(memory('VmHWM') - before).toBeLessThan(allowed)
  }
})
