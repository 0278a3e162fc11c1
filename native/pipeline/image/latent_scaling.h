#pragma once

#include <vector>

#include "pipeline/requests.h"

namespace latent::pipeline {

/// From codes z of a first stage to the latents of a denoising network and back: z * factor, or (z - mean) * factor / std with
/// the statistics of each channel (Playground v2.5).
struct LatentScaling {
    double factor = 1;
    std::vector<double> mean, deviation;  // per channel, or both empty

    /// The scaling of the model's first stage.
    static LatentScaling of(const ModelSpec & spec);
    /// The scaling for a separate tiny autoencoder: its codes are the latents, or for a model with statistics those of
    /// its family's first stage.
    static LatentScaling of_tiny(const ModelSpec & spec);

    void to_latents(Latents & codes) const;
    void to_codes(Latents & latents) const;
};

}  // namespace latent::pipeline
