/** The web UI's names of samplers, schedules and upscalers, for the "parameters" text. */

/** Names that the web UI lacks are unchanged. */
const samplerWords: Record<string, string> = {
  ddim: 'DDIM',
  ddpm: 'DDPM',
  plms: 'PLMS',
  euler: 'Euler',
  euler_a: 'Euler a',
  heun: 'Heun',
  lms: 'LMS',
  dpm2: 'DPM2',
  dpm2_a: 'DPM2 a',
  dpmpp_2s_a: 'DPM++ 2S a',
  dpmpp_sde: 'DPM++ SDE',
  dpmpp_2m: 'DPM++ 2M',
  dpmpp_2m_sde: 'DPM++ 2M SDE',
  dpmpp_3m_sde: 'DPM++ 3M SDE',
  dpm_adaptive: 'DPM adaptive',
  dpm_fast: 'DPM fast',
  unipc: 'UniPC',
  deis: 'DEIS',
  lcm: 'LCM',
  tcd: 'TCD',
}

/** Our `normal` (even timesteps between the ends of the table, as k-diffusion's get_sigmas) is the web UI's Uniform. */
const scheduleWords: Record<string, string> = {
  normal: 'Uniform',
  karras: 'Karras',
  exponential: 'Exponential',
  polyexponential: 'Polyexponential',
  sgm_uniform: 'SGM Uniform',
  simple: 'Simple',
  ddim_uniform: 'DDIM',
  beta: 'Beta',
  ays: 'Align Your Steps',
  kl_optimal: 'KL Optimal',
}

const upscalerWords: Record<string, string> = {
  latent: 'Latent',
  latent_bicubic: 'Latent (bicubic)',
  latent_nearest: 'Latent (nearest)',
  latent_nearest_exact: 'Latent (nearest-exact)',
  lanczos: 'Lanczos',
  bicubic: 'Bicubic',
  nearest: 'Nearest',
}

/** Pairs of our name and the web UI's. */
export const upscalers = Object.entries(upscalerWords)

/** A value; null and undefined are omitted, true and false are written as `True` and `False`. */
export type InfotextValue = string | number | bigint | boolean | null | undefined

export function samplerWord(name: string): string {
  return Object.hasOwn(samplerWords, name) ? samplerWords[name]! : name
}

export function upscalerWord(name: string): string {
  return Object.hasOwn(upscalerWords, name) ? upscalerWords[name]! : name
}

export function scheduleWord(name: string): string {
  return Object.hasOwn(scheduleWords, name) ? scheduleWords[name]! : name
}

/** The web UI's samplers over timesteps have their own eta, 0 unless written. */
const timestepSamplers = ['ddim', 'plms', 'unipc']
/** Its ancestral and stochastic samplers share one, 1 unless written. */
const ancestralSamplers = ['euler_a', 'dpm2_a', 'dpmpp_2s_a', 'dpmpp_sde', 'dpmpp_2m_sde', 'dpmpp_3m_sde', 'dpm_fast', 'dpm_adaptive']

/** Eta under the web UI's name, if a reader would assume a different one. */
export function etaField(sampler: string, eta: number): Record<string, number> {
  if (ancestralSamplers.includes(sampler)) return eta === 1 ? {} : { Eta: eta }
  if (eta === 0) return {}
  return timestepSamplers.includes(sampler) ? { 'Eta DDIM': eta } : { Eta: eta }
}

/** The web UI does not have ComfyUI's method, which keeps our name. */
export function emphasisWord(emphasis: string): string {
  return emphasis === 'no_norm' ? 'No norm' : emphasis
}
