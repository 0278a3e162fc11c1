#include "models/autoencoder_layers.h"

namespace latent::models {

using graph::ConvOptions;
using graph::Map;
using graph::Ops;
using graph::Seq;

namespace {

Map run(Ops & ops, Map x, const StageBlock & w) {
    Map h = ops.conv(ops.group_norm(x, w.norm1, norm_silu), w.conv1, {});
    h = ops.group_norm(h, w.norm2, norm_silu);
    ConvOptions last;
    last.residual = w.shortcut ? ops.conv(x, *w.shortcut, {}) : x;
    return ops.conv(h, w.conv2, last);
}

}  // namespace

Map run(Ops & ops, Map x, const StageAttention & w) {
    const Seq h = ops.to_seq(ops.group_norm(x, w.norm, norm_only));
    const Seq q = ops.linear(h, w.q, {}), k = ops.linear(h, w.k, {}), v = ops.linear(h, w.v, {});
    return ops.add(ops.to_map(ops.linear(ops.attention(q, k, v, {1, false}), w.proj_out, {}), x.width, x.height), x);
}

Map run(Ops & ops, Map x, const StageMiddle & w) {
    x = run(ops, x, w.block_1);
    if (w.attn_1) x = run(ops, x, *w.attn_1);
    return run(ops, x, w.block_2);
}

Map run_blocks(Ops & ops, Map x, const StageLevel & w) {
    for (size_t i = 0; i < w.blocks.size(); ++i) {
        x = run(ops, x, w.blocks[i]);
        if (!w.attentions.empty()) x = run(ops, x, w.attentions[i]);
    }
    return x;
}

}  // namespace latent::models
