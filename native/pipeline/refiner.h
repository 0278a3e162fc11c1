#pragma once

#include <memory>
#include <optional>

#include "formats/model_files.h"
#include "pipeline/conditioners/conditioners.h"
#include "pipeline/requests.h"
#include "pipeline/sampling/denoiser.h"

namespace latent::pipeline {

using OpenedModelPtr = std::shared_ptr<const formats::OpenedModel>;

/// Opens the model that a request names as its refiner; headers only. Throws unsupported_model if it cannot go on with the
/// latents of `model`.
OpenedModelPtr open_refiner(const LoadRequest & request, const ModelSpec & model);

/// A model that takes over from another one within a run (SDXL's ensemble of experts): its conditioners and its network. Latents,
/// steps and first stage are the other's.
class Refiner {
public:
    Refiner(const ModelSpec & spec, PartResidency & residency);

    Conditioners & conditioners() { return conditioners_; }
    const Conditioners & conditioners() const { return conditioners_; }
    Denoiser & denoiser() { return denoiser_; }
    const Denoiser & denoiser() const { return denoiser_; }

    /// What it reads of the inputs of the model before it: the same prompt, and of the sizes its own. The vectors of an embedding
    /// (textual inversion) are those of the last text encoders, as many as it has.
    Inputs inputs_of(const Inputs & inputs) const;
    PromptTokens tokens_of(PromptTokens tokens) const;

private:
    Conditioners conditioners_;
    Denoiser denoiser_;
};

/// Sizes without what only a refiner reads.
std::optional<SizeInputs> without_scores(std::optional<SizeInputs> sizes);

/// Steps that begin below this timestep belong to the refiner, where the share `switch_at` of the training time belongs to the
/// model before it (diffusers' denoising_end).
double handover_timestep(double switch_at, int training_timesteps);

/// The evaluations of both: `refine` takes over for good at the first step that begins below the timestep `handover`, and what
/// `base` kept is freed then.
Predict hand_over(Predict base, Predict refine, double handover);

}  // namespace latent::pipeline
