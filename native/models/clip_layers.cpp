#include "models/clip_layers.h"

namespace latent::models {

using graph::Activation;
using graph::Ops;
using graph::Seq;

Activation clip_activation(const std::string & name) {
    if (name == "quick_gelu") return Activation::quick_gelu;
    if (name == "gelu") return Activation::gelu;
    throw Error(ErrorCode::unsupported_model,
                "The activation \"" + name + "\" of a CLIP encoder is not supported; quick_gelu and gelu are");
}

Seq clip_layer(Ops & ops, Seq x, const ClipLayer & w, const ClipLayerOptions & options) {
    Seq h = ops.layer_norm(x, w.norm1, options.eps);
    const Seq q = ops.linear(h, w.q, {}), k = ops.linear(h, w.k, {}), v = ops.linear(h, w.v, {});
    x = ops.linear(ops.attention(q, k, v, {options.heads, options.causal}), w.out, {Activation::none, x});
    h = ops.layer_norm(x, w.norm2, options.eps);
    return ops.linear(ops.linear(h, w.fc1, {options.activation, {}}), w.fc2, {Activation::none, x});
}

void build_clip_head(Ops & ops, int64_t batch, const ClipHead & head) {
    const graph::Linear projection{head.projection, nullptr, head.projection->inner(), head.projection->rows()};
    const Seq pooled = ops.input_seq("pooled", head.norm.channels, 1, batch);
    ops.output("embeds", ops.linear(ops.layer_norm(pooled, head.norm, head.eps), projection, {}));
}

}  // namespace latent::models
