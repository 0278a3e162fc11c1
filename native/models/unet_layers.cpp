#include "models/unet_layers.h"

namespace latent::models {

using graph::Activation;
using graph::ConvOptions;
using graph::GroupNormOptions;
using graph::Map;
using graph::Ops;
using graph::Padding;
using graph::Scope;
using graph::Seq;

namespace {

constexpr float res_eps = 1e-5f;          // ResBlock and AttentionBlock
constexpr float transformer_eps = 1e-6f;  // the GroupNorm of SpatialTransformer

int checked_heads(int heads, int64_t channels) {
    if (heads < 1 || channels % heads != 0) {
        throw Error(ErrorCode::model_format,
                    std::to_string(heads) + " attention heads do not divide " + std::to_string(channels) + " channels");
    }
    return heads;
}

CrossAttention declare_cross_attention(const Scope & scope, int64_t dim, int64_t context, int heads) {
    CrossAttention w;
    w.q = scope.linear("to_q", dim, dim, false);
    w.k = scope.linear("to_k", context, dim, false);
    w.v = scope.linear("to_v", context, dim, false);
    w.out = scope.linear("to_out.0", dim, dim);
    w.heads = heads;
    return w;
}

TransformerBlock declare_transformer_block(const Scope & scope, int64_t dim, int64_t context, int heads, bool self_attention) {
    TransformerBlock w;
    w.self_attention = self_attention;
    w.attn1 = declare_cross_attention(scope / "attn1", dim, self_attention ? dim : context, heads);
    w.ff_in = scope.linear("ff.net.0.proj", dim, 8 * dim);
    w.ff_out = scope.linear("ff.net.2", 4 * dim, dim);
    w.attn2 = declare_cross_attention(scope / "attn2", dim, context, heads);
    w.norm1 = scope.norm("norm1", dim);
    w.norm2 = scope.norm("norm2", dim);
    w.norm3 = scope.norm("norm3", dim);
    return w;
}

Attention declare(const Scope & scope, int64_t channels, int heads, int depth, bool self_attention, const UNetConfig & config) {
    Attention w;
    w.kind = config.attention;
    w.heads = checked_heads(heads, channels);
    w.norm = scope.norm("norm", channels);
    if (w.kind == UNetAttention::attention_block) {
        w.qkv = scope.linear("qkv", channels, 3 * channels);
        w.proj_out = scope.linear("proj_out", channels, channels);
        return w;
    }
    w.proj_in = scope.linear("proj_in", channels, channels);
    for (int i = 0; i < depth; ++i) {
        w.blocks.push_back(
            declare_transformer_block(scope / "transformer_blocks" / i, channels, config.context_dim, heads, self_attention));
    }
    w.proj_out = scope.linear("proj_out", channels, channels);
    return w;
}

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

ResBlock declare_res_block(const Scope & scope, int64_t in, int64_t out, int64_t emb, const UNetConfig & config) {
    ResBlock w;
    w.scale_shift = config.scale_shift_norm;
    w.norm_in = scope.norm("in_layers.0", in);
    w.conv_in = scope.conv("in_layers.2", in, out, 3);
    w.emb = scope.linear("emb_layers.1", emb, w.scale_shift ? 2 * out : out);
    w.norm_out = scope.norm("out_layers.0", out);
    w.conv_out = scope.conv("out_layers.3", out, out, 3);
    if (in != out) w.skip = scope.conv("skip_connection", in, out, 1);
    return w;
}

Attention declare_attention(const Scope & scope, int64_t channels, int level, const UNetConfig & config) {
    const auto & disabled = config.disable_self_attentions;
    const bool self_attention = static_cast<size_t>(level) >= disabled.size() || !disabled[static_cast<size_t>(level)];
    return declare(scope, channels, config.heads_at(level, static_cast<int>(channels)), config.depth_at(level), self_attention,
                   config);
}

Attention declare_middle_attention(const Scope & scope, int64_t channels, const UNetConfig & config) {
    const int heads = config.heads_at(config.levels() - 1, static_cast<int>(channels));
    return declare(scope, channels, heads, config.depth_middle(), !config.disable_middle_self_attention, config);
}

Resample declare_downsample(const Scope & scope, int64_t channels, int64_t emb, const UNetConfig & config) {
    Resample w;
    if (config.resblock_updown) {
        w.block = declare_res_block(scope, channels, channels, emb, config);
        w.block->resampling = ResBlock::Resampling::down;
    } else if (config.conv_resample) {
        w.conv = scope.conv("op", channels, channels, 3);
    }
    return w;
}

Resample declare_upsample(const Scope & scope, int64_t channels, int64_t emb, const UNetConfig & config) {
    Resample w;
    w.up = true;
    if (config.resblock_updown) {
        w.block = declare_res_block(scope, channels, channels, emb, config);
        w.block->resampling = ResBlock::Resampling::up;
    } else if (config.conv_resample) {
        w.conv = scope.conv("conv", channels, channels, 3);
    }
    return w;
}

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

std::vector<const CrossAttention *> context_attentions(const Attention & w) {
    std::vector<const CrossAttention *> out;
    for (const TransformerBlock & block : w.blocks) {
        if (!block.self_attention) out.push_back(&block.attn1);
        out.push_back(&block.attn2);
    }
    return out;
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
