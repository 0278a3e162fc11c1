#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/conditioners/image_embedder.h"
#include "pipeline/conditioners/token_conditioner.h"
#include "pipeline/first_stage_runner.h"

namespace latent::pipeline {

/// How a model uses an input image.
enum class PictureUse { start, enlarge, repaint, edit };  // start: image to image, not part of the conditioning

PictureUse picture_use(const ModelSpec & spec);

/// The conditioners of one model: they turn the user's inputs into one Conditioning.
///   tokens     CLIP or BERT (prompt), BERT over layouts, an embedding of classes; the embeddings of RDM as they come
///   channels   SpatialRescaler over labels, a low-resolution image, an image with a hole, an image to edit, a depth map
///   class      the noise level of the x4 upscaler
/// A model uses one combination of these, given by its specification.
class Conditioners {
public:
    /// Throws unsupported_model, naming the model, if its conditioning is not supported. `first_stage` may be null.
    Conditioners(const ModelSpec & spec, PartResidency & residency, FirstStageRunner * first_stage);
    ~Conditioners();

    std::vector<models::Network *> networks() const;
    /// `info().condition` of the contract.
    Json info() const;

    /// Whether the input image is part of the conditioning; otherwise it can only be the start of image to image.
    bool takes_image() const { return picture_use_ != PictureUse::start; }
    bool inpaints() const { return picture_use_ == PictureUse::repaint; }
    bool edits() const { return picture_use_ == PictureUse::edit; }
    bool upscales() const { return picture_use_ == PictureUse::enlarge; }
    /// Sides of images in pixels must be multiples of this; those of images to enlarge, inpaint or edit are padded.
    int64_t size_multiple() const;
    /// Memory and work of one call of each network for an image of this size, including the image embedder.
    std::vector<std::pair<const models::Network *, graph::GraphMeasure>> measure(int64_t width, int64_t height) const;
    /// False for the image embedder, which makes retrieval databases, not images.
    bool makes_conditioning(const models::Network & network) const;
    /// Number of cross-attention tokens for the inputs; without inputs, the usual number.
    int64_t tokens(const Inputs * inputs = nullptr) const { return tokens_ ? tokens_->tokens(inputs) : 0; }

    /// The size of the final image: that of the labels or image, otherwise width x height (0: the model's default). Images to
    /// enlarge or inpaint may have any size. Throws invalid_argument if sizes contradict each other or do not fit.
    Frame frame(const Inputs & inputs, int64_t width, int64_t height) const;

    /// Throws invalid_argument, naming the model's inputs, for inputs that are unknown, missing or of a wrong size. `images`:
    /// batch size of the conditioning; image and mask have one row or as many.
    void check(const Inputs & inputs, int64_t pictures) const;
    /// Throws invalid_argument if there is no unconditional input for guidance.
    void check_unconditional(const std::optional<PromptTokens> & negative) const;
    void check_tokens(const PromptTokens & tokens) const;
    /// Whether no input is represented by something other than the empty prompt: a null class, zeros.
    bool has_null() const { return tokens_ && tokens_->has_null(); }

    /// Encodes checked inputs.
    Conditioning encode(const Inputs & inputs, const EncodeContext & context);
    /// Encodes the unconditional half of guidance: `negative`, the null class, or zeros.
    Conditioning encode_unconditional(const Inputs & inputs, const std::optional<PromptTokens> & negative,
                                      const EncodeContext & context);
    /// The unconditional half as a separate Conditioning, including channels and class: of the given prompt, unless something
    /// else represents no prompt.
    Conditioning encode_null(const Inputs & inputs, const EncodeContext & context);
    /// Whether it makes a vector that includes the size of the image.
    bool tells_size() const;
    /// Encodes only tokens.
    Conditioning encode_tokens(const PromptTokens & tokens, const JobContext & job);
    /// One window of tokens to CLIP's text_embeds [1, dim], not normalised.
    EmbeddingRows embed_text(const PromptTokens & tokens, const JobContext & job);
    /// Throws unsupported_model without an image tower.
    ImageEmbedder & image_embedder() const;

private:
    void add(std::unique_ptr<TokenConditioner> conditioner);
    void add_tokens(const ConditionerConfig & config);
    void require_fit() const;
    [[noreturn]] void cannot_run(const std::string & why) const;
    std::string takes() const;

    const ModelSpec & spec_;
    PartResidency & residency_;
    PictureUse picture_use_;
    std::vector<std::unique_ptr<Conditioner>> all_;  // in order of encoding
    TokenConditioner * tokens_ = nullptr;            // one of them; null without cross-attention
    std::unique_ptr<ImageEmbedder> image_embedder_;
};

}  // namespace latent::pipeline
