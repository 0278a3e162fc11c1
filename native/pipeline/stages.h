#pragma once

#include <memory>

#include "formats/model_files.h"
#include "pipeline/conditioners/conditioners.h"
#include "pipeline/first_stage_runner.h"
#include "pipeline/memory/part_residency.h"
#include "pipeline/refiner.h"
#include "pipeline/requests.h"
#include "pipeline/sampling/denoiser.h"

namespace latent::pipeline {

/// The stages of one opened model (conditioning, denoising, first stage) and the residency of their weights, which are planned
/// from headers but not read.
struct Stages {
    /// `claims`: memory of concurrent runs; null: none yet.
    Stages(const LoadRequest & request, OpenedModelPtr opened, graph::DevicePtr device, MemoryClaim::Total claims = nullptr);

    const ModelSpec & spec() const { return opened->spec; }
    const graph::DevicePtr & device() const { return residency.device(); }
    /// Throws unsupported_model, beginning with `what`, if the denoising network or the first stage is missing.
    void require_all(const char * what) const;
    /// Throw unsupported_model if the model has no such part.
    Denoiser & require_denoiser() const;
    FirstStageRunner & require_first_stage() const;
    /// The tiny autoencoder for previews: the separate one, else the first stage if it is one. If there is none: null, or an
    /// error (invalid_argument).
    FirstStageRunner * tiny_stage() const;
    FirstStageRunner & require_tiny_stage() const;
    /// Checks latents: throws invalid_argument for wrong channels or an empty size.
    void check_latents(const Latents & latents, const char * what) const;
    /// The latents' shape for images of this size in pixels; throws invalid_argument if it does not fit.
    std::array<int64_t, 4> latent_shape(int64_t width, int64_t height, int64_t batch) const;

    const LoadRequest request;
    const OpenedModelPtr opened;
    PartResidency residency;
    std::unique_ptr<FirstStageRunner> first_stage;    // null if there is only a denoising network or text encoder
    std::unique_ptr<FirstStageRunner> preview_stage;  // only for previews; null if there is none
    std::unique_ptr<Conditioners> conditioners;       // null if only a first stage was requested
    std::unique_ptr<Denoiser> denoiser;               // null if there is no denoising network
    std::unique_ptr<Refiner> refiner;                 // takes over from `denoiser`; null if none was requested

    /// The networks of the model itself, without those of refiner and previews.
    std::vector<models::Network *> own_networks() const;
    std::vector<models::Network *> refiner_networks() const;
};

/// Opens the files that a request names; headers only.
OpenedModelPtr open_request(const LoadRequest & request);

/// info() of a pipeline: kind, spec, parameters per part, dtypes and effective bits, defaults, samplers, device.
Json describe(const Stages & stages);

}  // namespace latent::pipeline
