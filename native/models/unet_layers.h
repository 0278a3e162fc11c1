#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/model_spec.h"
#include "graph/ops.h"

// The blocks that the U-Net is made of, each as its parameters and what it computes (openaimodel.ResBlock and AttentionBlock,
// attention.SpatialTransformer).

namespace latent::models {

/// openaimodel.ResBlock; with `resampling` the form that also halves or doubles the sides.
struct ResBlock {
    enum class Resampling { none, down, up };
    graph::Norm norm_in, norm_out;
    graph::Conv conv_in, conv_out;
    graph::Linear emb;
    std::optional<graph::Conv> skip;
    bool scale_shift = false;
    Resampling resampling = Resampling::none;
};

/// attention.CrossAttention
struct CrossAttention {
    graph::Linear q, k, v, out;
    int heads = 1;
};

/// attention.BasicTransformerBlock
struct TransformerBlock {
    graph::Norm norm1, norm2, norm3;
    CrossAttention attn1, attn2;
    bool self_attention = true;  // false: attn1 looks at the context too (disable_self_attn)
    graph::Linear ff_in, ff_out;
};

/// Names of the keys and values of the context, where a graph has them as inputs or outputs.
inline const std::string & keys_name(const CrossAttention & w) {
    return w.k.weight->name;
}
inline const std::string & values_name(const CrossAttention & w) {
    return w.v.weight->name;
}

/// openaimodel.AttentionBlock or attention.SpatialTransformer.
struct Attention {
    UNetAttention kind = UNetAttention::spatial_transformer;
    graph::Norm norm;
    // SpatialTransformer; a 1x1 convolution of pixels is a linear of tokens
    graph::Linear proj_in, proj_out;
    std::vector<TransformerBlock> blocks;
    // AttentionBlock
    graph::Linear qkv;
    int heads = 1;
};

/// openaimodel.Downsample or Upsample, or the ResBlock in their place (resblock_updown).
struct Resample {
    bool up = false;
    std::optional<graph::Conv> conv;  // absent: pooling or nearest alone
    std::optional<ResBlock> block;
};

ResBlock declare_res_block(const graph::Scope & scope, int64_t in, int64_t out, int64_t emb, const UNetConfig & config);
Attention declare_attention(const graph::Scope & scope, int64_t channels, int level, const UNetConfig & config);
Attention declare_middle_attention(const graph::Scope & scope, int64_t channels, const UNetConfig & config);
Resample declare_downsample(const graph::Scope & scope, int64_t channels, int64_t emb, const UNetConfig & config);
Resample declare_upsample(const graph::Scope & scope, int64_t channels, int64_t emb, const UNetConfig & config);

/// `emb`: [4 * model_channels] per row, after its SiLU.
graph::Map res_block(graph::Ops & ops, graph::Map x, graph::Seq emb, const ResBlock & w);
/// Keys and values of the context, of `tokens` tokens, are inputs of the graph.
graph::Map attention(graph::Ops & ops, graph::Map x, int64_t tokens, const Attention & w);
/// Those of its layers that look at the context.
std::vector<const CrossAttention *> context_attentions(const Attention & w);
/// `like`: on the way up, the skip connection that follows; an odd side of it cuts the doubled map.
graph::Map resample(graph::Ops & ops, graph::Map x, graph::Seq emb, const Resample & w, graph::Map like = {});

}  // namespace latent::models
