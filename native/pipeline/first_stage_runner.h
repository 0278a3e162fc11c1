#pragma once

#include <functional>
#include <memory>

#include "core/rng.h"
#include "models/first_stage.h"
#include "pipeline/memory/part_residency.h"
#include "pipeline/memory/stage_plan.h"
#include "pipeline/requests.h"

namespace latent::pipeline {

/// The first stage over images of any size: images to latents and codes, and back, whole, in bands or in tiles as the plan
/// says, one image of a batch at a time.
class FirstStageRunner {
public:
    struct Options {
        double scale_factor = 1.0;   // of the denoising network's latents
        std::optional<bool> tiling;  // the caller's wish
        int tile = 0;                // latent pixels, 0: chosen by the plan
        bool upscaling = false;      // decodes in the tiles that super-resolution denoises in
        int upscaling_tile = 0;      // the caller's, 0: the reference's
    };

    FirstStageRunner(std::unique_ptr<models::FirstStage> network, PartResidency & residency, Options options);

    models::FirstStage & network() { return *network_; }
    const models::FirstStage & network() const { return *network_; }
    const models::FirstStageForm & form() const { return form_; }
    /// Throws unsupported_model that begins with `what` where this stage has no codes.
    void require_codes(const char * what) const;
    /// Throws unsupported_model that begins with `what` where this stage is a decoder alone.
    void require_encoder(const char * what) const;

    /// Plans for `count` images of so many latent pixels. `run`: bytes of a run that is still to begin and will be alive
    /// meanwhile (previews). Throw out_of_memory if not even a tile fits the bound.
    StagePlan plan_decode(int64_t height, int64_t width, int64_t count, uint64_t run = 0) const;
    StagePlan plan_encode(int64_t height, int64_t width, int64_t count) const;

    /// What the encoder gives of [n, c, h, w]: moments, or latents before quantisation (FirstStageForm::encoded_channels).
    Latents encode_raw(const ImageTensor & image, const JobContext & job);
    /// The latents of what encode_raw() gave, times `scale`: a posterior sample with `noise`, otherwise its mean; a stage without
    /// spread has but one. One raw row serves for all `rows`.
    Latents latents_of(const Latents & raw, int64_t rows, NoiseSource * noise, double scale) const;
    /// The mean, unscaled, of every image.
    Latents encode_mean(const ImageTensor & image, const JobContext & job);

    /// Sound latents, times the scale factor.
    ImageTensor decode(const Latents & latents, bool quantise, const JobContext & job);
    /// Latents that the scale factor has been taken from.
    ImageTensor decode_unscaled(const Latents & z, bool quantise, const JobContext & job);

    /// The nearest code of each pixel of what encode_raw() gave, and latents (unscaled) of codes.
    Codes codes_of(const Latents & raw, const JobContext & job);
    Latents lookup(const Codes & codes, const JobContext & job);

private:
    StagePlanRequest stage_request(int64_t height, int64_t width, uint64_t beside) const;

    std::unique_ptr<models::FirstStage> network_;
    PartResidency & residency_;
    Options options_;
    models::FirstStageForm form_;
};

}  // namespace latent::pipeline
