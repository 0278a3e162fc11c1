#pragma once

#include "core/json.h"
#include "core/model_spec.h"

namespace latent::formats {

// Defaults of models that are distilled to a few steps. Their weights do not differ from those of their teachers, so they come
// from what files state. The values are those of the presets in lib/options/presets.ts.

/// SDXS: one step, at the last timestep.
void apply_sdxs_defaults(ModelSpec & spec);
/// By a diffusers scheduler: LCMScheduler and TCDScheduler, and the trailing timesteps of Euler and DDIM. `config`:
/// scheduler_config.json, may be null.
void apply_scheduler_defaults(ModelSpec & spec, const Json & config);
/// By a title in the file's metadata (modelspec.title of safetensors, general.name of GGUF) that names a method and, where it
/// matters, its number of steps: "SDXL-Lightning 4 steps", "Hyper-SDXL 1-step", "DMD2", "LCM", "TCD", "SDXL Turbo". Other titles,
/// and all in which such a word may mean something else, change nothing.
void apply_title_defaults(ModelSpec & spec, const Json & metadata);

}  // namespace latent::formats
