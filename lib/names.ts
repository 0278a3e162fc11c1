/** Names that the engine has too, for types and for help that needs no engine. Tests hold both against test/fixtures/tables.json. */

/** What weights may be converted to, as native/core/weight_type.cpp has them. */
export const weightTypes = ['f32', 'f16', 'bf16', 'q8_0', 'q6_k', 'q5_k', 'q5_0', 'q4_k', 'q4_0'] as const

/** The parts of a model, as native/core/parts.cpp has them: in a sentence, and their type where a block type is asked for the whole model. */
export const partTable = {
  unet: { title: 'the U-Net' },
  textEncoder: { title: 'the text encoder', inBlockModels: 'q8_0' },
  conditioner: { title: 'the conditioner' },
  imageEncoder: { title: 'the image encoder', inBlockModels: 'q8_0' },
  vae: { title: 'the first stage', inBlockModels: 'f16' },
} as const satisfies Record<string, { title: string; inBlockModels?: (typeof weightTypes)[number] }>

/** Parts that a load takes from files of their own. */
export const sourceParts = ['unet', 'textEncoder', 'imageEncoder', 'vae'] as const satisfies readonly (keyof typeof partTable)[]

/** Names of solvers and schedules, in the order in which native/samplers/registry.cpp has them. */

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
