#pragma once

#include <optional>
#include <vector>

#include "graph/ops.h"

// The blocks that first stages are made of (diffusionmodules/model.py), each as its parameters and what it
// computes.

namespace latent::models {

inline constexpr graph::GroupNormOptions norm_silu{32, 1e-6f, graph::Activation::silu, {}, {}};  // every norm of the autoencoders
inline constexpr graph::GroupNormOptions norm_only{32, 1e-6f, graph::Activation::none, {}, {}};

/// model.ResnetBlock, without a time embedding.
struct StageBlock {
    graph::Norm norm1, norm2;
    graph::Conv conv1, conv2;
    std::optional<graph::Conv> shortcut;
};

/// model.AttnBlock: one head over all channels; the 1x1 convolutions are linears of the pixels.
struct StageAttention {
    graph::Norm norm;
    graph::Linear q, k, v, proj_out;
};

struct StageLevel {
    std::vector<StageBlock> blocks;
    std::vector<StageAttention> attentions;  // one per block, or none
    std::optional<graph::Conv> resample;     // halves in the encoder, doubles in the decoder
};

struct Middle {
    StageBlock block_1, block_2;
    std::optional<StageAttention> attn_1;
};

/// Encoder, quantiser and decoder of one first stage.
struct StageLayers {
    graph::Conv encoder_in, encoder_out;
    std::vector<StageLevel> down;
    Middle encoder_middle;
    graph::Norm encoder_norm;
    std::optional<graph::Conv> quant, post_quant;
    const graph::Parameter * codes = nullptr;  // [codebook_size, embed_dim], float32 in every mode
    graph::Conv decoder_in, decoder_out;
    Middle decoder_middle;
    std::vector<StageLevel> up;  // in the order of execution, lowest resolution first
    graph::Norm decoder_norm;
};

StageBlock declare_block(const graph::Scope & scope, int64_t in, int64_t out);
StageAttention declare_attention(const graph::Scope & scope, int64_t channels);
Middle declare_middle(const graph::Scope & scope, int64_t channels, bool attention);

graph::Map run(graph::Ops & ops, graph::Map x, const StageAttention & w);
graph::Map run(graph::Ops & ops, graph::Map x, const Middle & w);
graph::Map run_blocks(graph::Ops & ops, graph::Map x, const StageLevel & w);

}  // namespace latent::models
