#pragma once

#include "core/model_spec.h"
#include "pipeline/requests.h"

namespace latent::pipeline {

/// One pixel per latent pixel: rgb = F^T z + bias, byte = floor(255 * clamp(rgb / 2 + 0.5)). The factors are the model's own
/// (fitted to its first stage) where its spec has them, else the web UI's "cheap approximation" for the SD 1.x first stage; other
/// first stages show their first three channels scaled to unit deviation.
Picture linear_preview(const Latents & latents, int index, const ModelSpec & spec);

}  // namespace latent::pipeline
