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

/// The stages that make an image with one opened model, conditioning, denoising and first stage, and the residency of their
/// weights: planned from headers, not read.
struct Stages {
    /// `claims`: of runs that go on meanwhile, null: there are none yet.
    Stages(const LoadRequest & request, OpenedModelPtr opened, graph::DevicePtr device, MemoryClaim::Total claims = nullptr);

    const ModelSpec & spec() const { return opened->spec; }
    const graph::DevicePtr & device() const { return residency.device(); }
    /// Throws unsupported_model, which begins with `what`, without a denoising network or a first stage.
    void require_all(const char * what) const;
    /// Throw unsupported_model if this model has no such part.
    Denoiser & require_denoiser() const;
    FirstStageRunner & require_first_stage() const;
    /// The tiny autoencoder that previews can be decoded with: one of their own, else the first stage if it is one; null, or
    /// an error (invalid_argument), if there is none.
    FirstStageRunner * tiny_stage() const;
    FirstStageRunner & require_tiny_stage() const;
    /// A part that makes images of these latents: throws invalid_argument for other channels or no size.
    void check_latents(const Latents & latents, const char * what) const;
    /// Of images of so many pixels; throws invalid_argument if the size does not fit.
    std::array<int64_t, 4> latent_shape(int64_t width, int64_t height, int64_t batch) const;

    const LoadRequest request;
    const OpenedModelPtr opened;
    PartResidency residency;
    std::unique_ptr<FirstStageRunner> first_stage;    // null: a denoising network or text encoder alone
    std::unique_ptr<FirstStageRunner> preview_stage;  // of previews alone; null: there is none
    std::unique_ptr<Conditioners> conditioners;       // null: a first stage alone was asked for
    std::unique_ptr<Denoiser> denoiser;               // null: there is no denoising network
    std::unique_ptr<Refiner> refiner;                 // takes over from it; null: none was asked for

    /// The networks of the model itself: no refiner's, no previews'.
    std::vector<models::Network *> own_networks() const;
    std::vector<models::Network *> refiner_networks() const;
};

/// Opens the files that a request names; headers only.
OpenedModelPtr open_request(const LoadRequest & request);

/// info() of a pipeline: kind, spec, parameters per part, dtypes and effective bits, defaults, samplers, device.
Json describe(const Stages & stages);

}  // namespace latent::pipeline
