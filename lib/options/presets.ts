/** Sampling settings of few-step models, by name: what their authors' examples use. */
import type { PresetName, SamplingOptions } from '../types.js'
import { invalidRange, isFloat32Array, show } from './validate.js'

/** The options that a preset sets. */
export interface Preset extends Pick<SamplingOptions, 'sampler' | 'schedule' | 'timesteps' | 'steps' | 'guidanceScale' | 'eta' | 'extra'> {
  /** The required prediction type, which no file states. */
  prediction?: 'sample'
}

const lightning = (steps: number): Preset => ({ sampler: 'euler', schedule: 'trailing', steps, guidanceScale: 1 })

/** Each preset of {@link SamplingOptions.preset} with the options that it sets. */
export const presets: Readonly<Record<PresetName, Preset>> = {
  turbo: { sampler: 'euler_a', schedule: 'trailing', steps: 1, guidanceScale: 1 },
  'lightning-1': { ...lightning(1), prediction: 'sample' },
  'lightning-2': lightning(2),
  'lightning-4': lightning(4),
  'lightning-8': lightning(8),
  'hyper-sd': { sampler: 'ddim', schedule: 'trailing', steps: 4, guidanceScale: 1, eta: 0, extra: { set_alpha_to_one: true } },
  'hyper-sd-unified': { sampler: 'tcd', steps: 1, guidanceScale: 1, eta: 1 },
  'hyper-sdxl-1': { sampler: 'lcm', timesteps: [800], guidanceScale: 1 },
  lcm: { sampler: 'lcm', steps: 4, guidanceScale: 1 },
  tcd: { sampler: 'tcd', steps: 4, guidanceScale: 1, eta: 0.3 },
  dmd2: { sampler: 'lcm', timesteps: [999, 749, 499, 249], guidanceScale: 1 },
  'dmd2-1': { sampler: 'lcm', timesteps: [399], guidanceScale: 1 },
  pcm: { sampler: 'ddim', schedule: 'trailing', steps: 4, guidanceScale: 1, eta: 0, extra: { set_alpha_to_one: false } },
  sdxs: { sampler: 'euler', timesteps: [999], guidanceScale: 1 },
}

for (const preset of Object.values(presets)) for (const part of [preset.timesteps, preset.extra, preset]) Object.freeze(part)
Object.freeze(presets)

export const presetNames = Object.keys(presets) as PresetName[]

/**
 * The caller's options, completed by the preset's. `prediction`: of the model, undefined without a model. `guidanceEmbedding`: the network takes the guidance
 * scale as an input, so the model's default scale is kept.
 */
export function withPreset(
  name: PresetName,
  given: Record<string, unknown>,
  prediction: string | undefined,
  guidanceEmbedding = false,
): Record<string, unknown> {
  const { prediction: needed, ...preset } = presets[name]
  if (needed && prediction !== undefined && prediction !== needed)
    throw invalidRange(`preset: '${name}' is for networks that predict the clean latents; load the model with spec: { prediction: '${needed}' }`)
  const own: Record<string, unknown> = { ...preset }
  if (guidanceEmbedding) delete own.guidanceScale
  // The caller's schedule takes the place of the preset's; only a list of the caller's says its own number of steps.
  if (given.timesteps !== undefined || isFloat32Array(given.schedule)) for (const key of ['timesteps', 'schedule', 'steps']) delete own[key]
  else if (given.schedule !== undefined) {
    delete own.timesteps
    own.steps = preset.steps ?? preset.timesteps?.length
  }
  if (given.sampler !== undefined && given.sampler !== preset.sampler) for (const key of ['extra', 'eta']) delete own[key]
  if (preset.timesteps && own.timesteps && given.steps !== undefined && given.steps !== preset.timesteps.length)
    throw invalidRange(
      `steps: the preset '${name}' has the timesteps ${preset.timesteps.join(', ')}, not ${show(given.steps)} steps; pass timesteps to use others`,
    )
  const extra = own.extra || given.extra ? { extra: { ...(own.extra as object | undefined), ...(given.extra as object | undefined) } } : {}
  return { ...own, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)), ...extra }
}
