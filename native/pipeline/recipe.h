#pragma once

#include <memory>
#include <optional>

#include "pipeline/memory/memory_planner.h"
#include "pipeline/stages.h"

namespace latent::pipeline {

/// mt19937 follows diffusers: draws for an image (posterior sample, noise augmentation) come before the start noise. philox
/// follows the web UI: the start noise is the seed's first draw.
bool pictures_draw_first(const std::string & rng);

/// The steps for making the images of one request: plan, encode, sample, decode.
class Recipe {
public:
    Recipe(Stages & stages, const MemoryPlanner & planner, const GenerateRequest & request, const JobContext & job)
        : stages_(stages), planner_(planner), request_(request), job_(job) {}

    GenerateResult make();

private:
    void plan();
    void plan_refiner();
    void plan_image();
    void plan_memory();
    SamplingRun start();
    Predict with_refiner(const EncodeContext & context, Predict base);
    std::optional<PromptTokens> negative_of(const Conditioners & conditioners) const;
    void sample(SamplingRun & run);
    void show(const SamplingRun & run);
    ImageTensor finish(const Latents & latents);

    Stages & stages_;
    const MemoryPlanner & planner_;
    const GenerateRequest & request_;
    const JobContext & job_;

    // Set by plan() before the first network runs.
    Inputs inputs_;                     // of the conditioning
    std::optional<ImageTensor> image_;  // start of image to image
    std::optional<ImageTensor> mask_;   // of masked image to image, binarised
    Frame frame_;
    std::array<int64_t, 4> shape_{};  // of the latents
    std::unique_ptr<samplers::Solver> solver_;
    DenoisingCall call_;
    DenoisingPlan denoising_;
    bool guided_ = false;
    bool refined_ = false;  // whether the refiner is used
    Inputs refiner_inputs_;
    DenoisingCall refiner_call_;
    DenoisingPlan refining_;
};

}  // namespace latent::pipeline
