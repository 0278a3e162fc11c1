/** Names shared with the engine, for types and for help without an engine. Tests compare both with test/fixtures/tables.json. */

/** Types that weights may be converted to, as in native/core/weight_type.cpp. */
export const weightTypes = ['f32', 'f16', 'bf16', 'q8_0', 'q6_k', 'q5_k', 'q5_0', 'q4_k', 'q4_0'] as const

/** The parts of a model, as in native/core/parts.cpp: their titles, and their type if a block type is requested for the whole model. */
export const partTable = {
  unet: { title: 'the U-Net' },
  textEncoder: { title: 'the text encoder', inBlockModels: 'q8_0' },
  conditioner: { title: 'the conditioner' },
  imageEncoder: { title: 'the image encoder', inBlockModels: 'q8_0' },
  vae: { title: 'the first stage', inBlockModels: 'f16' },
} as const satisfies Record<string, { title: string; inBlockModels?: (typeof weightTypes)[number] }>

/** Parts that can be loaded from separate files. */
export const sourceParts = ['unet', 'textEncoder', 'imageEncoder', 'vae'] as const satisfies readonly (keyof typeof partTable)[]

/** How previews are decoded, as in native/bindings/requests.cpp. */
export const previewMethods = ['linear', 'taesd', 'vae'] as const

/** Names of solvers and schedules, in the order of native/samplers/registry.cpp. */

export const samplerNames = [
  'ddim',
  'ddim_inverse',
  'ddpm',
  'plms',
  'euler',
  'euler_a',
  'heun',
  'lms',
  'dpm2',
  'dpm2_a',
  'dpmpp_2s_a',
  'dpmpp_sde',
  'dpmpp_2m',
  'dpmpp_2m_sde',
  'dpmpp_3m_sde',
  'dpm_adaptive',
  'dpm_fast',
  'dpm_solver',
  'dpm_solver_single',
  'unipc',
  'deis',
  'sa_solver',
  'lcm',
  'tcd',
] as const

/** Without `custom`, which is a Float32Array instead of a name. */
export const scheduleNames = [
  'normal',
  'karras',
  'exponential',
  'polyexponential',
  'sgm_uniform',
  'simple',
  'ddim_uniform',
  'beta',
  'ays',
  'ays_sdxl',
  'kl_optimal',
  'linear_quadratic',
  'vp',
  'legacy_ddpm',
  'turbo',
  'leading',
  'trailing',
  'linspace',
  'quad',
  'lu_lambdas',
] as const

/** How the second pass of `hires` is enlarged: latents, or images. */
export const upscalerNames = ['latent', 'latent_bicubic', 'latent_nearest', 'latent_nearest_exact', 'lanczos', 'bicubic', 'nearest'] as const
