#include "models/autoencoder_layers.h"

namespace latent::models {

using graph::ConvOptions;
using graph::Map;
using graph::Ops;
using graph::Scope;
using graph::Seq;

StageBlock declare_block(const Scope & scope, int64_t in, int64_t out) {
    StageBlock w;
    w.norm1 = scope.norm("norm1", in);
    w.conv1 = scope.conv("conv1", in, out, 3);
    w.norm2 = scope.norm("norm2", out);
    w.conv2 = scope.conv("conv2", out, out, 3);
    if (in != out) w.shortcut = scope.conv("nin_shortcut", in, out, 1);
    return w;
}

StageAttention declare_attention(const Scope & scope, int64_t channels) {
    StageAttention w;
    w.norm = scope.norm("norm", channels);
    w.q = scope.linear("q", channels, channels);
    w.k = scope.linear("k", channels, channels);
    w.v = scope.linear("v", channels, channels);
    w.proj_out = scope.linear("proj_out", channels, channels);
    return w;
}

Middle declare_middle(const Scope & scope, int64_t channels, bool attention) {
    Middle w;
    w.block_1 = declare_block(scope / "block_1", channels, channels);
    if (attention) w.attn_1 = declare_attention(scope / "attn_1", channels);
    w.block_2 = declare_block(scope / "block_2", channels, channels);
    return w;
}

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

Map run(Ops & ops, Map x, const Middle & w) {
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
