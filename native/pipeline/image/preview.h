#pragma once

#include "core/model_spec.h"
#include "pipeline/requests.h"

namespace latent::pipeline {

/// One pixel per latent pixel: rgb = F^T z + bias, byte = floor(255 * clamp(rgb / 2 + 0.5)). The factors come from the model's
/// spec (fitted to its first stage), else from the web UI's "cheap approximation" for the SD 1.x and SDXL first stages; for other
/// first stages the first three channels are shown, scaled to unit deviation.
Picture linear_preview(const Latents & latents, int index, const ModelSpec & spec);

}  // namespace latent::pipeline
