#pragma once

#include <string>

#include "graph/ops.h"
#include "networks/encoders.h"

// Layers shared by CLIP's text tower and image tower (transformers modeling_clip).

namespace latent::models {

using networks::ClipLayer;

struct ClipLayerOptions {
    int heads = 1;
    bool causal = false;
    graph::Activation activation = graph::Activation::quick_gelu;
    float eps = 1e-5f;
};

/// "quick_gelu" or "gelu" (erf); others throw unsupported_model.
graph::Activation clip_activation(const std::string & name);
graph::Seq clip_layer(graph::Ops & ops, graph::Seq x, const ClipLayer & w, const ClipLayerOptions & options);

/// Maps the pooled token to the joint embedding of text and images: norm, then a projection without bias.
struct ClipHead {
    graph::Norm norm;
    const graph::Parameter * projection = nullptr;  // [projection_dim, dim]
    float eps = 1e-5f;
};

/// Input "pooled" [batch, 1, dim], output "embeds" [batch, 1, projection_dim].
void build_clip_head(graph::Ops & ops, int64_t batch, const ClipHead & head);

}  // namespace latent::models
