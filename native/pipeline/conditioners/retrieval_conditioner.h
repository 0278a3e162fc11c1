#pragma once

#include "pipeline/conditioners/token_conditioner.h"

namespace latent::pipeline {

/// Retrieval-augmented diffusion, knn2img.py: the prompt's own CLIP embedding, then the neighbours', each of unit length.
class RetrievalConditioner final : public TokenConditioner {
public:
    /// `dim`: width of the embeddings. `clip`: null if only embeddings are taken.
    RetrievalConditioner(int64_t dim, std::unique_ptr<models::ClipText> clip, PartResidency & residency);

    std::string takes() const override { return clip_ ? "a prompt or embeddings" : "embeddings"; }
    std::vector<InputUse> reads() const override;
    ConditioningForm form() const override;
    void info(Json & out) const override;
    void check(const Inputs & inputs, int64_t pictures) const override;
    void encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) override;
    /// Zeros.
    void encode_unconditional(const Inputs & inputs, const std::optional<PromptTokens> & negative, const EncodeContext & context,
                              Conditioning & out) override;
    int64_t tokens(const Inputs * inputs) const override;
    bool has_null() const override { return true; }
    models::ClipText * text_embedder() const override { return clip_; }
    void check_unconditional(const std::optional<PromptTokens> & negative) const override;

private:
    void check_embeddings(const EmbeddingRows & rows) const;

    int64_t dim_;
    models::ClipText * clip_;  // the text encoder, null if there is none
};

}  // namespace latent::pipeline
