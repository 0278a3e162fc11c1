#pragma once

#include <string>

#include "graph/ops.h"
#include "networks/unet.h"

// The computation of the U-Net's blocks (openaimodel.ResBlock and AttentionBlock, attention.SpatialTransformer).

namespace latent::models {

using networks::Attention;
using networks::CrossAttention;
using networks::Resample;
using networks::ResBlock;
using networks::TransformerBlock;

/// Names of the keys and values of the context as inputs or outputs of a graph.
inline const std::string & keys_name(const CrossAttention & w) {
    return w.k.weight->name;
}
inline const std::string & values_name(const CrossAttention & w) {
    return w.v.weight->name;
}

/// `emb`: [4 * model_channels] per row, after its SiLU.
graph::Map res_block(graph::Ops & ops, graph::Map x, graph::Seq emb, const ResBlock & w);
/// Keys and values of the context, with `tokens` tokens, are inputs of the graph.
graph::Map attention(graph::Ops & ops, graph::Map x, int64_t tokens, const Attention & w);
/// `like`: in the up path, the next skip connection; the upsampled map is cropped to its size if that is odd.
graph::Map resample(graph::Ops & ops, graph::Map x, graph::Seq emb, const Resample & w, graph::Map like = {});

}  // namespace latent::models
