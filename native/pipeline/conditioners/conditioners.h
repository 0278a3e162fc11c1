#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/conditioner_params.h"
#include "core/rng.h"
#include "models/clip_text.h"
#include "models/clip_vision.h"
#include "models/spatial_rescaler.h"
#include "models/token_encoder.h"
#include "pipeline/image/framing.h"
#include "pipeline/pipeline.h"

namespace latent::pipeline {

/// What conditioning shares with the rest of a pipeline.
struct ConditioningHost {
    std::function<void(models::Network &, const JobContext &)> use;  // makes its weights resident
    /// Runs a stage of a network until what it returns is finite (LatentPipeline::run_finite).
    std::function<void(models::Network &, const std::function<Span<const float>()> &)> run_finite;
    /// Picture [n, 3, h, w] to the first stage's code, unscaled: the posterior's mean (KL), the code before quantisation (VQ).
    std::function<Latents(const ImageTensor &, const JobContext &)> encode;
};

/// The networks that make conditioning, and how a request becomes Conditioning, for every kind of model:
///   tokens     CLIP or BERT (prompt), BERT over layouts, an embedding of classes; the embeddings of RDM as they come
///   channels   SpatialRescaler over labels, a low-resolution picture, a picture with a hole
///   class      the noise level of the x4 upscaler
/// A model is one combination of these; its specification says which.
class Conditioners {
public:
    /// Throws unsupported_model for a model whose conditioning cannot be made, with what it is.
    Conditioners(const ModelSpec & spec, const graph::DevicePtr & device, ConditioningHost host);
    ~Conditioners();

    std::vector<models::Network *> networks() const;
    /// `info().condition` of the contract.
    Json info() const;

    /// The picture of the request is part of the conditioning; where it is not, it can only be the start of image to image.
    bool takes_image() const { return channels_ == Channels::low_resolution || channels_ == Channels::hole; }
    bool inpaints() const { return channels_ == Channels::hole; }
    bool upscales() const { return channels_ == Channels::low_resolution; }
    /// Sides of a picture, in pixels, are padded to multiples of this (pictures to enlarge or inpaint), or must be such.
    int64_t size_multiple() const;
    /// Memory and work of one call of each network for a picture of this size.
    std::vector<std::pair<const models::Network *, graph::GraphMeasure>> measure(int64_t width, int64_t height) const;
    /// False for CLIP's image tower: a retrieval database is made with it, no picture.
    bool makes_conditioning(const models::Network & network) const { return &network != image_encoder_.get(); }
    /// Tokens of cross-attention that a request makes; with no request, those of an ordinary one.
    int64_t tokens(const ConditionRequest * request = nullptr) const;
    int32_t class_label(const ConditionRequest & request) const;

    /// The size of the finished picture: that of the request's labels or image, otherwise width x height (0: the model's own).
    /// Pictures to enlarge or inpaint may have any size. Throws invalid_argument where sizes contradict each other or do not fit.
    Frame frame(const ConditionRequest & request, int64_t width, int64_t height) const;

    /// Throws invalid_argument, naming what this model takes, for inputs that it does not take, that it lacks, or that are of a
    /// wrong size. `pictures`: the batch that the conditioning is for; image and mask have one row or as many.
    void check(const ConditionRequest & request, int64_t pictures) const;
    void check_tokens(const PromptTokens & tokens) const;

    /// `noise` is drawn from where the model augments its picture with noise; nothing else is random.
    Conditioning encode(const ConditionRequest & request, const Frame & frame, int64_t pictures, NoiseSource & noise,
                        const JobContext & job);
    Conditioning encode_tokens(const PromptTokens & tokens, const JobContext & job);
    /// pixels [n, 3, s, s], normalised with CLIP's mean and deviation, to embeddings [n, dim]. Throws unsupported_model without
    /// an image tower.
    EmbeddingRows embed_images(const ImageTensor & pixels, const JobContext & job);

    /// The other half of guidance: `negative`, the null class, or zeros. Throws invalid_argument where the model has none.
    Conditioning unconditional(const std::optional<PromptTokens> & negative, const Conditioning & conditional,
                               const JobContext & job);
    void check_unconditional(const std::optional<PromptTokens> & negative) const;

private:
    enum class Tokens { none, prompt, layout, classes, embeddings };
    enum class Channels { none, labels, low_resolution, hole };

    void add_crossattn(const ConditionerConfig & conditioner, const graph::DevicePtr & device);
    void add_channels(const ConditionerConfig * rescaler, const graph::DevicePtr & device);
    void require_fit() const;
    [[noreturn]] void cannot_run(const std::string & why) const;
    std::string takes() const;

    void check_image(const ImageTensor & image, const char * what, int64_t channels, int64_t pictures) const;
    void check_labels(const LabelMap & labels) const;
    void check_embeddings(const ConditionRequest & request) const;

    std::vector<float> encode_window(const TokenChunk & chunk, int clip_skip, const JobContext & job);
    TokenChunk blank_window(size_t length) const;
    Conditioning encode_embeddings(const ConditionRequest & request, const JobContext & job);
    Latents encode_labels(const LabelMap & labels, const JobContext & job);
    Latents encode_hole(const ConditionRequest & request, const Frame & frame, const JobContext & job);
    Latents encode_low_resolution(const ConditionRequest & request, const Frame & frame, int64_t pictures, NoiseSource & noise);

    const ModelSpec & spec_;
    ConditioningHost host_;
    Tokens token_kind_ = Tokens::none;
    Channels channels_ = Channels::none;
    std::optional<LowScaleConfig> noise_levels_;  // of the x4 upscaler
    int32_t null_class_ = -1;
    std::unique_ptr<models::TokenEncoder> encoder_;
    models::ClipText * clip_ = nullptr;  // `encoder_`, where it is one
    std::unique_ptr<models::SpatialRescaler> rescaler_;
    std::unique_ptr<models::ClipVision> image_encoder_;  // makes no conditioning: embeddings for a retrieval database
};

}  // namespace latent::pipeline
