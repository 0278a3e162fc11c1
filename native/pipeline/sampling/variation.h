#pragma once

#include "pipeline/requests.h"

namespace latent::pipeline {

/// Changes start noise towards other noise of the same shape: 0 keeps it, 1 gives the other. Spherical interpolation, as the web
/// UI's `subseed_strength` (modules/rng.py, slerp): along the rows of an image, for each column of each channel.
void vary_noise(Latents & noise, const Latents & other, double strength);

}  // namespace latent::pipeline
