/** Jobs of this page: sends them, follows their events, and stores their images. */
import { computed, signal } from '@preact/signals'
import {
  api,
  ServerError,
  type ApiError,
  type Job,
  type JobEvent,
  type JobImage,
  type JobOptions,
  type JobProgress,
  type JobStatus,
} from '../api/client.js'
import { follow } from '../api/events.js'
import { joined, requestMask, type Mask } from '../mask/raster.js'
import type { Attached } from '../tools/copy-as.js'
import { withPngText } from '../tools/png.js'
import { addPicture, has, shown } from './gallery.js'
import { isNarrow } from './looks.js'
import { isTexts, kept } from './kept.js'
import { messageOf, say, sayError } from './say.js'
import { optionsOf, randomSeed, remember, seedLocked, seedOf, set, settings, takesDepth, takesMask, trouble } from './settings.js'
import type { Settings } from './settings-type.js'
import { start } from './start-picture.js'

export interface PageJob {
  key: string
  id?: string
  settings: Settings
  request: JobOptions
  /** `saving`: the server is done, and the images are being downloaded. */
  status: 'sending' | 'saving' | JobStatus
  position?: number
  progress?: JobProgress
  preview?: { url: string; width: number; height: number }
  error?: ApiError
  warnings: string[]
  attached: Attached
  /** The image to blend along a soft edge. */
  repaints?: { original: Blob; mask: Mask }
}

export const jobs = signal<readonly PageJob[]>([])
const isOver = ({ status }: PageJob) => status === 'failed' || status === 'cancelled'
const place = ({ status, position }: PageJob) => (status === 'saving' ? -2 : status === 'running' ? -1 : (position ?? Infinity))
/** Unfinished jobs: the running one, then the waiting ones in order. */
export const active = computed(() =>
  jobs.value.filter((job) => !isOver(job)).sort((a, b) => (place(a) < place(b) ? -1 : place(a) > place(b) ? 1 : 0)),
)
export const running = computed(() => active.value.find(({ status }) => status === 'running') ?? active.value[0])
export const failed = computed(() => jobs.value.find(({ status }) => status === 'failed'))
/** The engine's warnings about the last image. */
export const warnings = signal<string[]>([])

/** Ids of jobs that continue while the page is reloaded. */
const unfinished = kept<string[]>('jobs', [], isTexts)

function change(key: string, changed: Partial<PageJob>): void {
  jobs.value = jobs.peek().map((job) => (job.key === key ? { ...job, ...changed } : job))
}

const find = (key: string) => jobs.peek().find((job) => job.key === key)

export function dismiss(key: string): void {
  jobs.value = jobs.peek().filter((job) => job.key !== key)
}

const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')

export async function generate(): Promise<void> {
  if (trouble.peek()) return say(trouble.peek()!, true)
  if (!seedLocked.peek()) set({ seed: String(randomSeed()) })
  const own = settings.peek()
  const picture = start.peek()
  const mask = takesMask.peek() ? picture?.mask : undefined
  const image = takesDepth.peek() ? undefined : picture?.file
  const depthMap = takesDepth.peek() ? picture?.file : undefined
  const request = optionsOf(own, image !== undefined)
  remember(own.prompt)
  const job: PageJob = {
    key: newKey(),
    settings: request.hires ? own : { ...own, hiresScale: 1 },
    request,
    status: 'sending',
    warnings: [],
    attached: { image: image !== undefined, mask: mask !== undefined, depthMap: depthMap !== undefined },
  }
  if (picture && mask && mask.feather > 0) job.repaints = { original: picture.file, mask }
  // Earlier errors are cleared when a new job begins.
  jobs.value = [...jobs.peek().filter(({ status }) => status !== 'failed'), job]
  shown.value = undefined
  bringIntoView()
  try {
    const preview = { every: Math.max(1, Math.round(own.steps / 25)) }
    const sent = await api.submit({ ...request, preview }, job.key, { image, mask: mask && (await requestMask(mask)), depthMap })
    unfinished.value = [...unfinished.peek(), sent.id]
    change(job.key, { id: sent.id, status: sent.status, position: sent.position })
    const now = find(job.key)
    if (!now || now.status === 'cancelled') {
      unfinished.value = unfinished.peek().filter((id) => id !== sent.id)
      return void (await api.remove(sent.id))
    }
    await watch(job.key, sent.id)
  } catch (error) {
    fail(job.key, error)
  }
}

/** On narrow screens the image lies below the fields. */
function bringIntoView(): void {
  if (!isNarrow.peek()) return
  const behavior = matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth'
  document.getElementById('stage')?.scrollIntoView({ behavior, block: 'start' })
}

function fail(key: string, error: unknown): void {
  const { code = 'ERR_UNKNOWN', retriable = false } = error instanceof ServerError ? error : {}
  change(key, { status: 'failed', preview: undefined, error: { code, retriable, message: messageOf(error) } })
  say(messageOf(error), true)
}

async function watch(key: string, id: string): Promise<void> {
  const control = new AbortController()
  const saving: Promise<unknown>[] = []
  await follow<JobEvent>(api.eventsOf(id), {
    signal: control.signal,
    onEvent: (event) => {
      if (event.type === 'image') saving.push(save(key, id, event.index, event))
      return take(key, event)
    },
  })
  unfinished.value = unfinished.peek().filter((other) => other !== id)
  await Promise.all(saving)
  const job = find(key)
  // Only now, so that the last preview stays visible until the image is ready.
  if (job?.status === 'saving' || job?.status === 'cancelled') dismiss(key)
}

/** @returns true if the job has ended */
function take(key: string, event: JobEvent): boolean {
  switch (event.type) {
    case 'queued':
      change(key, { status: 'queued', position: event.position })
      return false
    case 'started':
      change(key, { status: 'running', position: undefined })
      return false
    case 'progress':
      change(key, { status: 'running', progress: event })
      return false
    case 'preview':
      // Only data: URLs.
      if (event.url.startsWith('data:image/')) change(key, { preview: { url: event.url, width: event.width, height: event.height } })
      return false
    case 'image':
      return false
    case 'done':
      warnings.value = event.job.result?.warnings.map(({ message }) => message) ?? []
      change(key, { status: 'saving' })
      return true
    case 'error':
      if (event.status === 'cancelled') change(key, { status: 'cancelled' })
      else {
        change(key, { status: 'failed', preview: undefined, error: event.error })
        say(event.error.message, true)
      }
      return true
  }
}

async function save(key: string, id: string, index: number, image: JobImage): Promise<void> {
  const origin = `${id}/${index}`
  const job = find(key)
  if (!job || has(origin)) return
  try {
    let file = await api.picture(image.url)
    let infotext = image.metadata.parameters ?? ''
    if (job.repaints) {
      infotext = infotext.replace(/(?=, Version: [^,\n]*$)|$/, `, Mask blur: ${job.repaints.mask.feather}`)
      const whole = await joined(job.repaints.original, file, job.repaints.mask)
      file = new Blob([withPngText(new Uint8Array(await whole.arrayBuffer()), 'parameters', infotext)], { type: 'image/png' })
    }
    const { width, height, seed } = image
    const size = job.settings.hiresScale > 1 ? {} : { width, height } // hires: the size of the first pass
    const settings = { ...job.settings, ...size, seed, variationSeed: image.variationSeed ?? '', count: 1 }
    const alone = { seed: seedOf(seed), count: 1, ...(image.variationSeed === undefined ? {} : { variationSeed: seedOf(image.variationSeed) }) }
    const request = { ...job.request, ...alone }
    const added = await addPicture({ file, width, height, settings, infotext, created: Date.now(), request, attached: job.attached, origin })
    // If the user is viewing another image or the next job, the view does not change.
    if (shown.peek() === undefined && !active.peek().some((other) => other.key !== key)) shown.value = added.id
    say(`Image ready, seed ${seed}`)
  } catch (error) {
    sayError(error)
  }
}

export async function cancel(key: string): Promise<void> {
  const job = find(key)
  if (!job || isOver(job) || job.status === 'saving') return
  change(key, { status: 'cancelled' })
  try {
    if (job.id) await api.remove(job.id)
    say('Cancelled')
  } catch (error) {
    if (!(error instanceof ServerError && error.status === 404)) sayError(error)
  }
  dismiss(key)
}

/** Moves a waiting job one place up or down; the server reports the new positions. */
export async function move(key: string, by: -1 | 1): Promise<void> {
  const job = find(key)
  const waiting = active.peek().filter(({ status }) => status === 'queued')
  const other = waiting[waiting.findIndex((one) => one.key === key) + by]
  if (!job?.id || !other?.id || other.position === undefined) return
  try {
    // Positions include the running job, places in the queue do not.
    const runs = active.peek().some(({ status }) => status === 'running') ? 1 : 0
    await api.move(job.id, Math.max(0, other.position - runs))
  } catch (error) {
    sayError(error)
  }
}

/** Jobs of this page that continued while it was closed. */
export async function resume(): Promise<void> {
  await Promise.all(
    unfinished.peek().map(async (id) => {
      let job: Job
      try {
        job = await api.job(id)
      } catch (error) {
        if (error instanceof ServerError && error.status === 404) unfinished.value = unfinished.peek().filter((other) => other !== id)
        return
      }
      const key = newKey()
      jobs.value = [
        ...jobs.peek(),
        {
          key,
          id,
          settings: { ...settings.peek(), ...settingsOf(job) },
          request: requestOf(job),
          status: job.status,
          position: job.position,
          warnings: [],
          attached: { image: 'image' in job.request, mask: 'mask' in job.request, depthMap: 'depthMap' in job.request },
        },
      ]
      await watch(key, id).catch((error: unknown) => fail(key, error))
    }),
  )
}

/** As the page sends it, without files and previews. */
function requestOf({ request }: Job): JobOptions {
  return Object.fromEntries(Object.entries(request).filter(([key]) => !['image', 'mask', 'depthMap', 'preview'].includes(key)))
}

function settingsOf({ request }: Job): Partial<Settings> {
  const { scale = 1, strength, upscaler } = (request.hires ?? {}) as NonNullable<JobOptions['hires']>
  const hires = { hiresScale: scale, hiresStrength: strength, hiresUpscaler: upscaler }
  const all: Record<string, unknown> = { variationSeed: '', variationStrength: 0, ...request, ...hires }
  const own = Object.entries(settings.peek()).map(([key, usual]) => [key, all[key], typeof usual] as const)
  const read = own.flatMap(([key, value, type]) =>
    typeof value === type ? [[key, value]] : type === 'string' && typeof value === 'number' ? [[key, String(value)]] : [],
  )
  return Object.fromEntries(read) as Partial<Settings>
}
