#pragma once

#include <functional>
#include <memory>

#include "core/rng.h"
#include "models/first_stage.h"
#include "pipeline/image/latent_scaling.h"
#include "pipeline/memory/part_residency.h"
#include "pipeline/memory/stage_plan.h"
#include "pipeline/requests.h"

namespace latent::pipeline {

/// Runs the first stage on images of any size: images to latents and codes and back; whole, in bands or in tiles according to the
/// plan, one image of a batch at a time.
class FirstStageRunner {
public:
    struct Options {
        LatentScaling scaling;       // to the denoising network's latents
        std::optional<bool> tiling;  // the caller's choice
        int tile = 0;                // latent pixels, 0: chosen by the plan
        bool upscaling = false;      // decodes in the tiles of super-resolution
        int upscaling_tile = 0;      // the caller's, 0: the reference's
    };

    FirstStageRunner(std::unique_ptr<models::FirstStage> network, PartResidency & residency, Options options);

    models::FirstStage & network() { return *network_; }
    const models::FirstStage & network() const { return *network_; }
    const models::FirstStageForm & form() const { return form_; }
    /// Throws unsupported_model, beginning with `what`, if this stage has no codes.
    void require_codes(const char * what) const;
    /// Throws unsupported_model, beginning with `what`, if this stage is only a decoder.
    void require_encoder(const char * what) const;

    /// Plans for `count` images of this size in latent pixels. `run`: bytes of a run that will start later and exist at the same
    /// time (previews). Throw out_of_memory if not even a tile fits the limit.
    StagePlan plan_decode(int64_t height, int64_t width, int64_t count, uint64_t run = 0) const;
    StagePlan plan_encode(int64_t height, int64_t width, int64_t count) const;

    /// The encoder's output for [n, c, h, w]: moments, or latents before quantisation (FirstStageForm::encoded_channels).
    Latents encode_raw(const ImageTensor & image, const JobContext & job);
    /// The latents from the result of encode_raw(): with `noise` a posterior sample, otherwise the mean (the same for a stage
    /// without a posterior). A single raw row is used for all `rows`.
    Latents latents_of(const Latents & raw, int64_t rows, NoiseSource * noise) const;
    /// The unscaled mean for every image.
    Latents encode_mean(const ImageTensor & image, const JobContext & job);

    /// Decodes checked latents of the denoising network.
    ImageTensor decode(const Latents & latents, bool quantise, const JobContext & job);
    /// Decodes codes, which have no scaling.
    ImageTensor decode_unscaled(const Latents & z, bool quantise, const JobContext & job);

    /// The nearest code of each pixel of encode_raw()'s result, and the unscaled latents of codes.
    Codes codes_of(const Latents & raw, const JobContext & job);
    Latents lookup(const Codes & codes, const JobContext & job);

private:
    Latents codes_of_moments(const Latents & raw, int64_t rows, NoiseSource * noise) const;
    StagePlanRequest stage_request(int64_t height, int64_t width, uint64_t beside, PartResidency::WeightUse use) const;
    StagePlan plan_within(const std::function<StagePlan(PartResidency::WeightUse use)> & plan) const;
    StagePlan plan_to_run(const std::function<StagePlan()> & plan);
    StagePlan plan_decode_with(int64_t height, int64_t width, int64_t count, uint64_t run, PartResidency::WeightUse use) const;
    StagePlan plan_encode_with(int64_t height, int64_t width, int64_t count, PartResidency::WeightUse use) const;

    std::unique_ptr<models::FirstStage> network_;
    PartResidency & residency_;
    Options options_;
    models::FirstStageForm form_;
};

}  // namespace latent::pipeline
