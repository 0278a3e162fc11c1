/** Names of solvers and schedules, in the order in which native/samplers/registry.cpp has them: for types, and for help that needs no engine. */
export declare const samplerNames: readonly ["ddim", "ddim_inverse", "ddpm", "plms", "euler", "euler_a", "heun", "lms", "dpm2", "dpm2_a", "dpmpp_2s_a", "dpmpp_sde", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde", "dpm_fast", "dpm_solver", "dpm_solver_single", "unipc", "deis", "lcm", "tcd"];
/** Without `custom`, which is a Float32Array in the place of a name. */
export declare const scheduleNames: readonly ["normal", "karras", "exponential", "polyexponential", "sgm_uniform", "simple", "ddim_uniform", "beta", "ays", "ays_sdxl", "kl_optimal", "linear_quadratic", "vp", "legacy_ddpm", "turbo", "leading", "trailing", "linspace", "quad", "lu_lambdas"];
