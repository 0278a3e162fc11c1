#pragma once

#include <memory>
#include <optional>

#include "formats/model_files.h"
#include "pipeline/conditioners/conditioners.h"
#include "pipeline/requests.h"
#include "pipeline/sampling/denoiser.h"

namespace latent::pipeline {

using OpenedModelPtr = std::shared_ptr<const formats::OpenedModel>;

/// Opens the refiner of a request; headers only. Throws unsupported_model if it cannot continue with the latents of `model`.
OpenedModelPtr open_refiner(const LoadRequest & request, const ModelSpec & model);

/// A model that takes over within a run (SDXL's ensemble of experts): its conditioners and its network. It shares the latents,
/// steps and first stage of the base model.
class Refiner {
public:
    Refiner(const ModelSpec & spec, PartResidency & residency);

    Conditioners & conditioners() { return conditioners_; }
    const Conditioners & conditioners() const { return conditioners_; }
    Denoiser & denoiser() { return denoiser_; }
    const Denoiser & denoiser() const { return denoiser_; }

    /// The refiner's inputs, from those of the base model: the same prompt, and its own part of the sizes. From the vectors of an
    /// embedding (textual inversion) it takes those of the last text encoders, as many as it has.
    Inputs inputs_of(const Inputs & inputs) const;
    PromptTokens tokens_of(PromptTokens tokens) const;

private:
    Conditioners conditioners_;
    Denoiser denoiser_;
};

/// Sizes without those that only a refiner reads.
std::optional<SizeInputs> without_scores(std::optional<SizeInputs> sizes);

/// The timestep below which steps belong to the refiner, if the share `switch_at` of the training time belongs to the base model
/// (diffusers' denoising_end).
double handover_timestep(double switch_at, int training_timesteps);

/// The evaluations of both: `refine` takes over at the first step that begins below the timestep `handover`; the state of `base`
/// is freed then.
Predict hand_over(Predict base, Predict refine, double handover);

}  // namespace latent::pipeline
