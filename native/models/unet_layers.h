#pragma once

#include <string>

#include "graph/ops.h"
#include "networks/unet.h"

// What the blocks of the U-Net compute (openaimodel.ResBlock and AttentionBlock, attention.SpatialTransformer).

namespace latent::models {

using networks::Attention;
using networks::CrossAttention;
using networks::Resample;
using networks::ResBlock;
using networks::TransformerBlock;

/// Names of the keys and values of the context, where a graph has them as inputs or outputs.
inline const std::string & keys_name(const CrossAttention & w) {
    return w.k.weight->name;
}
inline const std::string & values_name(const CrossAttention & w) {
    return w.v.weight->name;
}

/// `emb`: [4 * model_channels] per row, after its SiLU.
graph::Map res_block(graph::Ops & ops, graph::Map x, graph::Seq emb, const ResBlock & w);
/// Keys and values of the context, of `tokens` tokens, are inputs of the graph.
graph::Map attention(graph::Ops & ops, graph::Map x, int64_t tokens, const Attention & w);
/// `like`: on the way up, the skip connection that follows; an odd side of it cuts the doubled map.
graph::Map resample(graph::Ops & ops, graph::Map x, graph::Seq emb, const Resample & w, graph::Map like = {});

}  // namespace latent::models
