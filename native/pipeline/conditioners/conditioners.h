#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/conditioners/image_embedder.h"
#include "pipeline/conditioners/token_conditioner.h"
#include "pipeline/first_stage_runner.h"

namespace latent::pipeline {

/// What becomes of the image that a model takes.
enum class PictureUse { start, enlarge, repaint, edit };  // start: of image to image, no part of the conditioning

PictureUse picture_use(const ModelSpec & spec);

/// The conditioners of one model: from what the user gives to one Conditioning.
///   tokens     CLIP or BERT (prompt), BERT over layouts, an embedding of classes; the embeddings of RDM as they come
///   channels   SpatialRescaler over labels, a low-resolution image, an image with a hole, an image to edit, a depth map
///   class      the noise level of the x4 upscaler
/// A model is one combination of these; its specification says which.
class Conditioners {
public:
    /// Throws unsupported_model for a model whose conditioning cannot be made, with what it is. `first_stage` may be null.
    Conditioners(const ModelSpec & spec, PartResidency & residency, FirstStageRunner * first_stage);
    ~Conditioners();

    std::vector<models::Network *> networks() const;
    /// `info().condition` of the contract.
    Json info() const;

    /// The image of the inputs is part of the conditioning; if it is not, it can only be the start of image to image.
    bool takes_image() const { return picture_use_ != PictureUse::start; }
    bool inpaints() const { return picture_use_ == PictureUse::repaint; }
    bool edits() const { return picture_use_ == PictureUse::edit; }
    bool upscales() const { return picture_use_ == PictureUse::enlarge; }
    /// Sides of an image, in pixels, are padded to multiples of this (images to enlarge, inpaint or edit), or must be such.
    int64_t size_multiple() const;
    /// Memory and work of one call of each network for an image of this size, the image embedder's too.
    std::vector<std::pair<const models::Network *, graph::GraphMeasure>> measure(int64_t width, int64_t height) const;
    /// False for the image embedder: a retrieval database is made with it, no image.
    bool makes_conditioning(const models::Network & network) const;
    /// Tokens of cross-attention that inputs make; without any, those of ordinary ones.
    int64_t tokens(const Inputs * inputs = nullptr) const { return tokens_ ? tokens_->tokens(inputs) : 0; }

    /// The size of the finished image: that of the labels or image, otherwise width x height (0: the model's own). Images to
    /// enlarge or inpaint may have any size. Throws invalid_argument if sizes contradict each other or do not fit.
    Frame frame(const Inputs & inputs, int64_t width, int64_t height) const;

    /// Throws invalid_argument, naming what this model takes, for inputs that it does not take, that it lacks, or that are of a
    /// wrong size. `images`: the batch that the conditioning is for; image and mask have one row or as many.
    void check(const Inputs & inputs, int64_t pictures) const;
    /// Throws invalid_argument if there is nothing to guide away from.
    void check_unconditional(const std::optional<PromptTokens> & negative) const;
    void check_tokens(const PromptTokens & tokens) const;
    /// Something other than the empty prompt stands for no input: a null class, zeros.
    bool has_null() const { return tokens_ && tokens_->has_null(); }

    /// Checked inputs.
    Conditioning encode(const Inputs & inputs, const EncodeContext & context);
    /// The other half of guidance: `negative`, the null class, or zeros.
    Conditioning encode_unconditional(const Inputs & inputs, const std::optional<PromptTokens> & negative,
                                      const EncodeContext & context);
    /// What guidance compares with as a Conditioning of its own, channels and class included: of the prompt, unless something
    /// else stands for no prompt.
    Conditioning encode_null(const Inputs & inputs, const EncodeContext & context);
    /// Makes a vector, in which the size of the image is told.
    bool tells_size() const;
    /// Tokens alone.
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
    std::vector<std::unique_ptr<Conditioner>> all_;  // in the order in which they encode
    TokenConditioner * tokens_ = nullptr;            // one of them, null: there is no cross-attention
    std::unique_ptr<ImageEmbedder> image_embedder_;
};

}  // namespace latent::pipeline
