#include "models/unet_layers.h"

namespace latent::models {

using graph::Activation;
using graph::ConvOptions;
using graph::GroupNormOptions;
using graph::Map;
using graph::Ops;
using graph::Seq;

namespace {

constexpr float res_eps = 1e-5f;          // ResBlock and AttentionBlock
constexpr float transformer_eps = 1e-6f;  // the GroupNorm of SpatialTransformer

Seq attend(Ops & ops, Seq x, Seq k, Seq v, Seq residual, const CrossAttention & w) {
    const Seq q = ops.linear(x, w.q, {});
    return ops.linear(ops.attention(q, k, v, {w.heads, false}), w.out, {Activation::none, residual});
}

Seq self_attention(Ops & ops, Seq x, Seq residual, const CrossAttention & w) {
    const Seq k = ops.linear(x, w.k, {});
    return attend(ops, x, k, ops.linear(x, w.v, {}), residual, w);
}

Seq context_attention(Ops & ops, Seq x, int64_t tokens, Seq residual, const CrossAttention & w) {
    const Seq k = ops.input_seq(keys_name(w), w.k.out, tokens, x.batch);
    return attend(ops, x, k, ops.input_seq(values_name(w), w.v.out, tokens, x.batch), residual, w);
}

Seq transformer_block(Ops & ops, Seq x, int64_t tokens, const TransformerBlock & w) {
    Seq h = ops.layer_norm(x, w.norm1);
    x = w.self_attention ? self_attention(ops, h, x, w.attn1) : context_attention(ops, h, tokens, x, w.attn1);
    h = ops.layer_norm(x, w.norm2);
    x = context_attention(ops, h, tokens, x, w.attn2);
    h = ops.layer_norm(x, w.norm3);
    return ops.linear(ops.geglu(h, w.ff_in), w.ff_out, {Activation::none, x});
}

Map spatial_transformer(Ops & ops, Map x, int64_t tokens, const Attention & w) {
    const Map normed = ops.group_norm(x, w.norm, {32, transformer_eps, Activation::none, {}, {}});
    Seq h = ops.linear(ops.to_seq(normed), w.proj_in, {});
    for (const TransformerBlock & block : w.blocks) h = transformer_block(ops, h, tokens, block);
    return ops.add(ops.to_map(ops.linear(h, w.proj_out, {}), x.width, x.height), x);
}

Map attention_block(Ops & ops, Map x, const Attention & w) {
    const Map normed = ops.group_norm(x, w.norm, {32, res_eps, Activation::none, {}, {}});
    const std::vector<Seq> qkv = ops.split_heads_qkv(ops.linear(ops.to_seq(normed), w.qkv, {}), w.heads);
    const Seq h = ops.attention(qkv[0], qkv[1], qkv[2], {w.heads, false});
    return ops.add(ops.to_map(ops.linear(h, w.proj_out, {}), x.width, x.height), x);
}

}  // namespace

Map res_block(Ops & ops, Map x, Seq emb, const ResBlock & w) {
    const bool down = w.resampling == ResBlock::Resampling::down, up = w.resampling == ResBlock::Resampling::up;
    Map h = ops.group_norm(x, w.norm_in, {32, res_eps, Activation::silu, {}, {}});
    if (down) h = ops.avg_pool2(h);

    ConvOptions conv_in;
    conv_in.upsample = up;
    const Seq e = ops.linear(emb, w.emb, {});
    GroupNormOptions norm_out{32, res_eps, Activation::silu, {}, {}};
    if (w.scale_shift) {
        norm_out.scale = ops.slice(e, 0, w.conv_in.out);
        norm_out.shift = ops.slice(e, w.conv_in.out, w.conv_in.out);
    } else {
        conv_in.channel_add = e;
    }
    h = ops.conv(h, w.conv_in, conv_in);
    h = ops.group_norm(h, w.norm_out, norm_out);

    if (down) x = ops.avg_pool2(x);
    if (up) x = ops.upsample2(x);
    if (w.skip) x = ops.conv(x, *w.skip, {});
    ConvOptions conv_out;
    conv_out.residual = x;
    return ops.conv(h, w.conv_out, conv_out);
}

Map attention(Ops & ops, Map x, int64_t tokens, const Attention & w) {
    return w.kind == UNetAttention::attention_block ? attention_block(ops, x, w) : spatial_transformer(ops, x, tokens, w);
}

Map resample(Ops & ops, Map x, Seq emb, const Resample & w, Map like) {
    if (w.block) return res_block(ops, x, emb, *w.block);
    if (!w.conv) return w.up ? ops.upsample2(x) : ops.avg_pool2(x);
    ConvOptions options;
    options.upsample = w.up;
    options.stride = w.up ? 1 : 2;
    if (w.up && like && (like.width != 2 * x.width || like.height != 2 * x.height)) {
        options.crop_width = like.width;
        options.crop_height = like.height;
    }
    return ops.conv(x, *w.conv, options);
}

}  // namespace latent::models
