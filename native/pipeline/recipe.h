#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "pipeline/memory/memory_planner.h"
#include "pipeline/stages.h"

namespace latent::pipeline {

/// mt19937 follows diffusers: draws for an image (posterior sample, noise augmentation) come before the start noise. philox
/// follows the web UI: the start noise is the seed's first draw.
bool pictures_draw_first(const std::string & rng);

/// Times of stages; reading weights counts as loading.
class StageClock {
public:
    explicit StageClock(const PartResidency & residency) : residency_(residency) {}
    void start();
    /// Sets the time since start(), and starts again.
    void stop(double & stage_ms);
    double load_ms() const { return load_ms_; }

private:
    const PartResidency & residency_;
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
    double loaded_ = 0, load_ms_ = 0;
};

/// The steps for making the images of one request: plan, encode, sample, decode. make() takes them all; several requests that
/// are made together take them side by side.
class Recipe {
public:
    Recipe(Stages & stages, const MemoryPlanner & planner, const GenerateRequest & request, const JobContext & job)
        : stages_(stages), planner_(planner), request_(request), job_(job), clock_(stages.residency) {}

    GenerateResult make();

    /// All checks; throws what make() would throw before the first network runs.
    void plan();
    /// Encodes the inputs.
    SamplingRun start();
    /// After a step: progress, and previews if they are due.
    void report(const SamplingRun & run);
    Latents end_sampling(SamplingRun & run);
    /// Frees what its run keeps between steps, if it will not end. The run must be gone.
    void give_up() { shared_.reset(); }
    /// Decodes.
    GenerateResult result(const Latents & latents);

    StageClock & clock() { return clock_; }
    /// From now on that many calls sample together.
    void share(int calls) { timings_.shared_by = calls; }
    const DenoisingCall & call() const { return call_; }
    const DenoisingPlan & denoising() const { return denoising_; }
    bool refined() const { return refined_; }
    /// The evaluations, from start() to end_sampling(); null with a refiner.
    const std::shared_ptr<DenoisingRun> & shared() const { return shared_; }

private:
    void plan_refiner();
    void plan_image();
    void plan_memory();
    Predict with_refiner(const EncodeContext & context, Predict base);
    std::optional<PromptTokens> negative_of(const Conditioners & conditioners) const;
    void show(const SamplingRun & run);
    bool starts_from_image() const { return image_.has_value() || request_.image_latents.has_value(); }
    /// Of the run: with variations, all images have the same seed.
    SeededNoise seeded_noise() const;
    void draw_start(SeededNoise & noise, Latents & start) const;
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

    StageClock clock_;
    Timings timings_;
    std::shared_ptr<DenoisingRun> shared_;
};

}  // namespace latent::pipeline
