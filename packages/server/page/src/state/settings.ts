/** The fields of the form, and the server's information about them while they change. */
import { batch, computed, effect, signal } from '@preact/signals'
import { api, type EstimateResult, type JobOptions, type TokenizeResult } from '../api/client.js'
import { isTexts, kept } from './kept.js'
import { details, server, status } from './server.js'
import type { Settings } from './settings-type.js'
import { start } from './start-picture.js'

const usual: Settings = {
  model: '',
  prompt: '',
  negativePrompt: '',
  width: 512,
  height: 512,
  steps: 20,
  guidanceScale: 7,
  imageGuidanceScale: 1.5,
  sampler: '',
  schedule: '',
  count: 1,
  seed: String(randomSeed()),
  variationSeed: '',
  variationStrength: 0,
  hiresScale: 1,
  hiresStrength: 0.7,
  hiresUpscaler: 'latent',
  strength: 0.75,
  clipSkip: 0,
  classId: '0',
}

function isSettings(value: unknown): value is Settings {
  return (
    typeof value === 'object' &&
    value !== null &&
    // Fields of a later version are missing.
    Object.entries(usual).every(([key, own]) => [typeof own, 'undefined'].includes(typeof (value as Record<string, unknown>)[key])) &&
    /^\d{1,20}$/.test((value as Settings).seed) &&
    /^\d{0,20}$/.test((value as Settings).variationSeed ?? '')
  )
}

export const settings = kept<Settings>('settings', usual, isSettings)
settings.value = { ...usual, ...settings.value }
export const seedLocked = kept<boolean>('seed-locked', false, (value): value is boolean => typeof value === 'boolean')
export const prompts = kept<string[]>('prompts', [], isTexts)

export function set(changed: Partial<Settings>): void {
  settings.value = { ...settings.value, ...changed }
}

export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!
}

/** Whether there is a second pass at a larger size. */
const isHires = computed(() => settings.value.hiresScale > 1 && takesHires.value && !start.value)

/** The size of the result. */
const finalSize = computed(() => {
  const { width, height, hiresScale } = settings.value
  const multiple = details.value?.sizeMultiple ?? 1
  const larger = (pixels: number) => (isHires.value ? Math.floor((pixels * hiresScale) / multiple) * multiple : pixels)
  return { width: larger(width), height: larger(height) }
})

/** Why this model or server would reject the size. */
const sizeTrouble = computed<string | undefined>(() => {
  const { width, height, count } = settings.value
  const multiple = details.value?.sizeMultiple ?? 1
  const { maxPixels = Infinity } = server.value?.limits ?? {}
  if (!(width > 0 && height > 0) || width % multiple !== 0 || height % multiple !== 0) return `Width and height must be multiples of ${multiple}`
  return finalSize.value.width * finalSize.value.height * count > maxPixels
    ? `This server allows ${maxPixels} pixels for all images of a job together`
    : undefined
})

/** Describes a field that the model or the server's limits do not allow; undefined if all are valid. */
export const trouble = computed<string | undefined>(() => {
  const { steps, seed, variationSeed, variationStrength } = settings.value
  const model = details.value
  const { maxSteps = 1000 } = server.value?.limits ?? {}
  if (!model) return 'The model is still being read'
  if (sizeTrouble.value) return sizeTrouble.value
  if (!(steps >= 1 && steps <= maxSteps)) return `Steps must be 1 to ${maxSteps}`
  if (isHires.value && 2 * steps > maxSteps) return `This server allows ${maxSteps} steps for both passes together`
  if (!/^\d{1,20}$/.test(seed) || BigInt(seed) >= 1n << 64n) return 'The seed must be a number below 2^64'
  if (variationStrength > 0 && variationSeed !== '' && BigInt(variationSeed) >= 1n << 64n) return 'The variation seed must be a number below 2^64'
  if (!isSized.value && !start.value) return 'This model needs an image: add one below'
  if (takesDepth.value && !start.value) return 'This model needs a depth map: add one below'
  if (model.kind === 'inpaint' && !start.value?.mask) return 'This model repaints a part of an image: paint a mask'
  if (!drawable.includes(model.kind)) return `Models of the kind '${model.kind}' take inputs that this page does not offer; the API does`
  return undefined
})

const drawable = ['text', 'class', 'unconditional', 'inpaint', 'superres', 'rdm', 'edit', 'depth']

/** Kinds that work on an input image at its size. */
const ofPictures = ['inpaint', 'superres', 'edit']

/** Whether the model reads prompts. */
export const readsText = computed(() => details.value?.condition.tokens !== undefined && details.value.kind !== 'layout')

/** Whether the form has a size; otherwise the start image determines it. */
export const isSized = computed(() => !ofPictures.includes(details.value?.kind ?? ''))

/** Whether the model can draw again at a larger size. */
export const takesHires = computed(() => ['text', 'class', 'unconditional', 'rdm'].includes(details.value?.kind ?? ''))

/** Whether part of the start image can be selected for repainting. */
export const takesMask = computed(() => !['superres', 'edit', 'depth'].includes(details.value?.kind ?? ''))

/** Whether the given image is a depth map rather than a start image. */
export const takesDepth = computed(() => details.value?.kind === 'depth')

/** JSON has no numbers that are larger. */
export const seedOf = (digits: string) => (Number(digits) <= Number.MAX_SAFE_INTEGER ? Number(digits) : digits)

/** The request for the form. Images are sent separately. `withImage`: one of them is a start image. */
export function optionsOf(from: Settings, withImage: boolean): JobOptions {
  const { prompt, negativePrompt, classId, strength, clipSkip, schedule, seed, variationSeed, variationStrength, imageGuidanceScale, ...others } =
    from
  const { hiresScale, hiresStrength, hiresUpscaler, ...rest } = others
  const kind = details.value?.kind
  return {
    ...(isSized.value ? rest : { ...rest, width: undefined, height: undefined }),
    ...(readsText.value ? { prompt } : {}),
    ...(readsText.value && kind !== 'rdm' && negativePrompt !== '' ? { negativePrompt } : {}),
    ...(kind === 'edit' ? { imageGuidanceScale } : {}),
    ...(kind === 'class' ? { classId: /^\d+$/.test(classId) ? Number(classId) : classId } : {}),
    ...(withImage && isSized.value ? { strength } : {}),
    ...(clipSkip > 0 ? { clipSkip } : {}),
    ...(schedule === '' ? {} : { schedule }),
    seed: seedOf(seed),
    ...(hiresScale > 1 && takesHires.value && !withImage
      ? { hires: { scale: hiresScale, strength: hiresStrength, upscaler: hiresUpscaler as NonNullable<JobOptions['hires']>['upscaler'] } }
      : {}),
    ...(variationStrength > 0 ? { variationStrength, ...(variationSeed === '' ? {} : { variationSeed: seedOf(variationSeed) }) } : {}),
  }
}

/** Sets the fields to the model's defaults when the model changes. */
effect(() => {
  const model = details.value
  if (!model || settings.peek().model === model.name) return
  const { width, height, steps, sampler, guidanceScale, imageGuidanceScale = usual.imageGuidanceScale, clipSkip, schedule } = model.defaults
  set({ model: model.name, width, height, steps, sampler, guidanceScale, imageGuidanceScale, clipSkip: clipSkip ?? 0, schedule: schedule ?? '' })
})

export function remember(prompt: string): void {
  if (prompt.trim() !== '') prompts.value = [prompt, ...prompts.peek().filter((other) => other !== prompt)].slice(0, 50)
}

/** Repeats a request some time after the last change and drops outdated answers. `what` reads signals and returns undefined if there is no request. */
function asked<T>(delay: number, what: () => ((signal: AbortSignal) => Promise<T>) | undefined) {
  const answer = signal<T | undefined>(undefined)
  effect(() => {
    const question = what()
    if (!question) return void (answer.value = undefined)
    const control = new AbortController()
    const timer = setTimeout(() => {
      question(control.signal).then(
        (value) => !control.signal.aborted && (answer.value = value),
        () => !control.signal.aborted && (answer.value = undefined),
      )
    }, delay)
    return () => {
      clearTimeout(timer)
      control.abort()
    }
  })
  return answer
}

/** Counting loads the model, so it begins with the first typed letter, or if the model is loaded already. */
export const typed = signal(false)
const counts = computed(() => readsText.value && (typed.value || (status.value?.loaded.includes(settings.value.model) ?? false)))

function tokensOf(field: 'prompt' | 'negativePrompt') {
  const text = computed(() => settings.value[field])
  const model = computed(() => settings.value.model)
  return asked<TokenizeResult>(250, () => {
    const [name, prompt] = [model.value, text.value]
    return counts.value && prompt !== '' ? (stop) => api.tokenize(name, prompt, stop) : undefined
  })
}
export const promptTokens = tokensOf('prompt')
export const negativeTokens = tokensOf('negativePrompt')

/** The size of the result for models that keep their image's size. */
const sizeOfStart = computed(() => (start.value ? { width: start.value.width, height: start.value.height } : {}))

const estimated = computed(() => {
  const { model, count, guidanceScale, imageGuidanceScale } = settings.value
  const { width, height } = finalSize.value
  const own = details.value?.kind === 'edit' ? { imageGuidanceScale, ...sizeOfStart.value } : {}
  return JSON.stringify({ model, width, height, count, guidanceScale, ...own })
})
export const estimate = asked<EstimateResult>(200, () => {
  const request = JSON.parse(estimated.value) as Pick<Settings, 'model' | 'width' | 'height' | 'count' | 'guidanceScale'>
  return details.value?.name === request.model && sizeTrouble.value === undefined ? (stop) => api.estimate(request, stop) : undefined
})

/** Applies the settings of an image, as far as this model supports them. */
export function apply(found: Partial<Settings>): void {
  const model = details.peek()
  const { sizeMultiple = 8, samplers = [], schedules = [] } = model ?? {}
  const rounded = (pixels: number) => Math.max(sizeMultiple, Math.round(pixels / sizeMultiple) * sizeMultiple)
  // Images of earlier versions name neither.
  const none = { variationSeed: '', variationStrength: 0, hiresScale: 1 }
  const next = { ...settings.peek(), ...none, ...found, model: settings.peek().model }
  next.width = rounded(next.width)
  next.height = rounded(next.height)
  if (!samplers.includes(next.sampler)) next.sampler = model?.defaults.sampler ?? next.sampler
  if (!schedules.includes(next.schedule)) next.schedule = ''
  batch(() => {
    settings.value = next
    if (found.seed !== undefined) seedLocked.value = true
  })
}
