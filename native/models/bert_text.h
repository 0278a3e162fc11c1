#pragma once

#include <string>

#include "core/conditioner_params.h"
#include "models/token_encoder.h"
#include "networks/encoders.h"

namespace latent::models {

/// BERTEmbedder and TransformerEmbedder of ldm/modules/encoders/modules.py, over x_transformer.TransformerWrapper with Encoder:
/// learned absolute positions, pre-norm, bidirectional attention without a mask (padding is attended
/// to), heads of independent width, GELU (erf), final norm.
class BertText : public TokenEncoder {
public:
    /// Declares its parameters under `prefix`, which ends before "token_emb.weight". `to_logits` of the files is not used.
    BertText(const BertConfig & config, graph::DevicePtr device, const std::string & prefix = "cond_stage_model.transformer.");

    const BertConfig & config() const { return config_; }
    int64_t max_length() const override { return config_.max_length; }
    int64_t dim() const override { return config_.hidden_size; }
    int64_t vocabulary() const override { return config_.vocab_size; }

    void forward(Span<const int32_t> ids, int64_t batch, int64_t length, int clip_skip, Span<float> context,
                 const JobContext & job) override;
    graph::GraphMeasure measure(int64_t batch, int64_t length) const override;

private:
    void build(graph::Ops & ops, int64_t batch, int64_t length) const;

    BertConfig config_;
    networks::BertLayers layers_;
};

}  // namespace latent::models
