#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "models/denoising_network.h"
#include "pipeline/memory/part_residency.h"
#include "pipeline/requests.h"
#include "pipeline/sampling/sampling_run.h"

namespace latent::pipeline {

/// What determines the memory of a run's evaluations.
struct DenoisingCall {
    std::array<int64_t, 4> shape{};  // of the latents of all images
    int64_t tokens = 0;              // of cross-attention
    int rows = 1;                    // evaluations that guidance combines
    SamplingRequest::DeepCache deep_cache;
    uint64_t beside = 0;  // bytes kept by the run of another network (the refiner) for the same images
    uint64_t shown = 0;   // bytes of decoded previews still in use
};

/// The plan of one evaluation.
struct DenoisingPlan {
    bool as_batch = true;  // the evaluations of guidance run in one call
    int tile = 0;          // latent pixels, 0: whole
    uint64_t held = 0;     // other resident bytes
    uint64_t bytes = 0;    // of one call, 0: not measured, because nothing depends on it
    KeptWeights weights;
    uint64_t claims = 0;  // bytes claimed by runs that the plan counts, including its own
};

/// The guidance of an evaluation; constant during a run.
struct Guidance {
    const Conditioning * conditioning = nullptr;
    const Conditioning * unconditional = nullptr;
    double scale = 1.0;
    double rescale = 0.0;
    const Latents * concat = nullptr;  // replaces the conditioning's own
    double image_scale = 1.0;          // for models that edit an image: the guidance scale of the image, 1: none

    const Latents * channels() const {
        return concat ? concat : conditioning && conditioning->concat ? &*conditioning->concat : nullptr;
    }
    /// Number of tokens of the longer conditioning.
    int64_t tokens() const {
        return std::max(conditioning ? conditioning->tokens : 0, unconditional ? unconditional->tokens : 0);
    }
};

/// Maximum number of evaluations that guidance combines: by the prompt and by the image (InstructPix2Pix).
constexpr size_t kMostRows = 3;

/// Reused features of a run, per image: one entry if the evaluations of guidance run as one batch, else one per evaluation, the
/// conditional one last.
using RunFeatures = std::vector<std::array<models::DenoisingFeatures, kMostRows>>;

/// One of several evaluations that share calls of the network.
struct SharedEvaluation {
    const Latents * x = nullptr;
    double timestep = 0;
    Guidance guidance;
    Latents * output = nullptr;
};

class DenoisingRun;

/// Guided evaluations of the denoising network, as one batch or one after the other, in tiles if super-resolution needs them, one
/// image of a batch at a time.
class Denoiser {
public:
    struct Options {
        bool upscaling = false;  // large images are denoised in tiles
        bool editing = false;    // the concatenated channels are an image with its own guidance scale (InstructPix2Pix)
        int tile = 0;            // the caller's, latent pixels, 0: the reference's, or less if memory is short
    };

    Denoiser(std::unique_ptr<models::DenoisingNetwork> network, PartResidency & residency, Options options);

    models::DenoisingNetwork & network() { return *network_; }
    const models::DenoisingNetwork & network() const { return *network_; }
    const models::DenoisingForm & form() const { return form_; }
    const Options & options() const { return options_; }

    /// Throws invalid_argument, beginning with `what`, if the conditioning does not fit the network or latents [n, c, h, w].
    void check(const char * what, const std::array<int64_t, 4> & shape, const Guidance & guidance) const;

    /// Evaluations per image and step at these guidance scales, if there is an unconditional input: 1, 2, or 3 if prompt and
    /// image have different scales.
    int rows(double scale, double image_scale) const;
    /// For this guidance.
    int rows(const Guidance & guidance) const;
    /// The maximum over all guidance scales.
    int most_rows() const { return form_.guidance ? 1 : options_.editing ? static_cast<int>(kMostRows) : 2; }

    /// Decides whether the evaluations of guidance run as one batch, and the tiles. Throws out_of_memory if not even a single one
    /// fits the caller's limit.
    DenoisingPlan plan(const DenoisingCall & call) const;
    /// Planned bytes of one evaluation.
    uint64_t measure(const DenoisingCall & call, const DenoisingPlan & plan) const;
    /// Bytes of the features of all images; throws invalid_argument for a branch that the network does not have.
    uint64_t features_of(const DenoisingCall & call) const;
    /// Bytes that a run keeps between its steps: latents of the loop and of the solver's history, and features.
    uint64_t run_bytes(const DenoisingCall & call) const;

    /// The network's raw output for x [n, c, h, w] (already scaled for it), guided. `timesteps`: one, or one per image.
    void evaluate(const Latents & x, Span<const double> timesteps, const Guidance & guidance, const DenoisingPlan & plan,
                  RunFeatures * features, Latents & output, const JobContext & job);

    /// Several evaluations at the same size, in calls of up to `most_rows` rows of all their images. Without tiles, reused
    /// features and image guidance.
    void evaluate_shared(const std::vector<SharedEvaluation> & evaluations, int most_rows, const JobContext & job);
    /// The number of rows, up to `rows`, that one call may have beside `held` bytes; 0 if runs cannot share calls.
    int shared_rows(const DenoisingCall & call, int rows, uint64_t held) const;

    /// The evaluations of one run. The pipeline must outlive their calls, not the object itself.
    std::shared_ptr<DenoisingRun> start_run(Conditioning conditioning, std::optional<Conditioning> unconditional,
                                            const SamplingRequest & sampling, const DenoisingCall & call,
                                            const DenoisingPlan & plan);

private:
    friend class DenoisingRun;
    struct Row;
    struct SharedRow;
    DenoisingPlan plan_with(const DenoisingCall & call, PartResidency::WeightUse use) const;
    ImageTensor evaluate_rows(const ImageTensor & input, const Row & row);
    void forward(models::DenoisingInput & input, int slot, Span<float> out, const Row & row);
    void forward_shared(Span<const SharedRow> rows, int64_t height, int64_t width, const JobContext & job);

    std::unique_ptr<models::DenoisingNetwork> network_;
    PartResidency & residency_;
    Options options_;
    models::DenoisingForm form_;
    int64_t least_unfit_ = INT64_MAX;        // rows times latent pixels of the smallest batch that did not fit, without a limit
    std::array<int64_t, 4> shared_shape_{};  // rows, tokens and sides of the last call of several runs
};

/// The evaluations of one run: tracks where guidance is on, which features are reused, and their memory.
class DenoisingRun {
public:
    DenoisingRun(Denoiser & denoiser, Conditioning conditioning, std::optional<Conditioning> unconditional,
                 const SamplingRequest & sampling, const DenoisingCall & call, const DenoisingPlan & plan);

    void evaluate(const Latents & x, const EvaluationPlace & place, Latents & output, const JobContext & job);
    Guidance guidance_at(const EvaluationPlace & place) const;

private:
    Denoiser & denoiser_;
    Conditioning conditioning_;
    std::optional<Conditioning> unconditional_;
    Guidance guidance_;
    std::array<double, 2> interval_;
    SamplingRequest::DeepCache deep_cache_;
    DenoisingPlan plan_;
    MemoryClaim claim_;
    RunFeatures features_;
    int rows_ = 0;      // rows of the previous evaluation, 0: none
    double scale_ = 0;  // scale of the previous evaluation
};

/// The run's evaluations as a function.
Predict predict_with(std::shared_ptr<DenoisingRun> run);

}  // namespace latent::pipeline
