#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "models/denoising_network.h"
#include "pipeline/memory/part_residency.h"
#include "pipeline/requests.h"
#include "pipeline/sampling/sampling_run.h"

namespace latent::pipeline {

/// The evaluations of a run, as far as memory goes.
struct DenoisingCall {
    std::array<int64_t, 4> shape{};  // of the latents of all images
    int64_t tokens = 0;              // of cross-attention
    int rows = 1;                    // evaluations that guidance combines
    SamplingRequest::DeepCache deep_cache;
    uint64_t shown = 0;  // bytes of decoded previews that somebody still looks at
};

/// How one evaluation is run.
struct DenoisingPlan {
    bool as_batch = true;  // what guidance combines in one call
    int tile = 0;          // latent pixels, 0: whole
    uint64_t held = 0;     // bytes resident besides
    uint64_t bytes = 0;    // of one call, 0: not measured, for nothing depends on it
};

/// What steers one evaluation; stays the same over a run.
struct Guidance {
    const Conditioning * conditioning = nullptr;
    const Conditioning * unconditional = nullptr;
    double scale = 1.0;
    double rescale = 0.0;
    const Latents * concat = nullptr;  // in place of the conditioning's own
    double image_scale = 1.0;          // of models that edit an image: how far its channels count, 1: as they are

    const Latents * channels() const {
        return concat ? concat : conditioning && conditioning->concat ? &*conditioning->concat : nullptr;
    }
    /// Of the longer conditioning.
    int64_t tokens() const {
        return std::max(conditioning ? conditioning->tokens : 0, unconditional ? unconditional->tokens : 0);
    }
};

/// Most evaluations that guidance combines: by the prompt and by the image (InstructPix2Pix).
constexpr size_t kMostRows = 3;

/// Reused features of a run, per image: of all evaluations that guidance combines in one batch, or of each of them, the
/// conditional one last.
using RunFeatures = std::vector<std::array<models::DenoisingFeatures, kMostRows>>;

/// Guided evaluations of the denoising network: those that guidance combines in one batch or one after the other, in tiles where
/// super-resolution needs them, one image of a batch at a time.
class Denoiser {
public:
    struct Options {
        bool upscaling = false;  // large images are denoised in tiles
        bool editing = false;    // the concatenated channels are an image that guidance may weigh (InstructPix2Pix)
        int tile = 0;            // the caller's, latent pixels, 0: the reference's, less where memory is short
    };

    Denoiser(std::unique_ptr<models::DenoisingNetwork> network, PartResidency & residency, Options options);

    models::DenoisingNetwork & network() { return *network_; }
    const models::DenoisingNetwork & network() const { return *network_; }
    const models::DenoisingForm & form() const { return form_; }
    const Options & options() const { return options_; }

    /// Throws invalid_argument, which begins with `what`, where conditioning does not fit the network or latents [n, c, h, w].
    void check(const char * what, const std::array<int64_t, 4> & shape, const Guidance & guidance) const;

    /// Evaluations of each image and step at these guidance scales, if there is something to guide away from: 1, 2, or 3
    /// where prompt and image count differently.
    int rows(double scale, double image_scale) const;
    /// Of this guidance.
    int rows(const Guidance & guidance) const;
    /// The most of any guidance scales.
    int most_rows() const { return form_.guidance ? 1 : options_.editing ? static_cast<int>(kMostRows) : 2; }

    /// Whether the evaluations of guidance run as one batch, and in which tiles. Throws out_of_memory if not even one alone
    /// fits the caller's bound.
    DenoisingPlan plan(const DenoisingCall & call) const;
    /// Bytes of one evaluation as planned.
    uint64_t measure(const DenoisingCall & call, const DenoisingPlan & plan) const;
    /// Bytes of the features of all images; throws invalid_argument for a branch that the network has not.
    uint64_t features_of(const DenoisingCall & call) const;
    /// Bytes that a run keeps between its steps: latents of the loop and of the solver's history, and features.
    uint64_t run_bytes(const DenoisingCall & call) const;

    /// The network's raw output for x [n, c, h, w] (already scaled for it), guided. `timesteps`: one, or one per image.
    void evaluate(const Latents & x, Span<const double> timesteps, const Guidance & guidance, const DenoisingPlan & plan,
                  RunFeatures * features, Latents & output, const JobContext & job);

    /// The evaluations of one run. The pipeline must outlive their calls, not the object itself.
    Predict start_run(Conditioning conditioning, std::optional<Conditioning> unconditional, const SamplingRequest & sampling,
                      const DenoisingCall & call, const DenoisingPlan & plan);

private:
    friend class DenoisingRun;
    struct Row;
    ImageTensor evaluate_rows(const ImageTensor & input, const Row & row);
    void forward(models::DenoisingInput & input, int slot, Span<float> out, const Row & row);

    std::unique_ptr<models::DenoisingNetwork> network_;
    PartResidency & residency_;
    Options options_;
    models::DenoisingForm form_;
};

}  // namespace latent::pipeline
