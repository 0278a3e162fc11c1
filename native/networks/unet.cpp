#include "networks/unet.h"

#include "core/error.h"

namespace latent::networks {

namespace {

void check_config(const UNetConfig & config) {
    const auto fail = [](const std::string & why) {
        throw Error(ErrorCode::model_format, "The U-Net configuration is invalid: " + why);
    };
    if (config.in_channels < 1 || config.out_channels < 1 || config.num_res_blocks < 1) fail("a count is below 1");
    if (config.model_channels < 32 || config.model_channels % 32 != 0) fail("model_channels must be a multiple of 32");
    if (config.channel_mult.empty() || config.channel_mult.size() > 10) fail("channel_mult needs 1 to 10 levels");
    for (const int mult : config.channel_mult) {
        if (mult < 1 || mult > 64) fail("a channel_mult is out of range");
    }
}

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

Attention declare_attention(const Scope & scope, int64_t channels, int heads, int depth, bool self_attention,
                            const UNetConfig & config) {
    Attention w;
    w.kind = config.attention;
    w.heads = checked_heads(heads, channels);
    w.norm = scope.norm("norm", channels);
    if (w.kind == UNetAttention::attention_block) {
        w.qkv = scope.linear("qkv", channels, 3 * channels, true, LinearForm::conv1d);
        w.proj_out = scope.linear("proj_out", channels, channels, true, LinearForm::conv1d);
        return w;
    }
    const LinearForm form = config.use_linear_in_transformer ? LinearForm::matrix : LinearForm::conv2d;
    w.proj_in = scope.linear("proj_in", channels, channels, true, form);
    for (int i = 0; i < depth; ++i) {
        w.blocks.push_back(
            declare_transformer_block(scope / "transformer_blocks" / i, channels, config.context_dim, heads, self_attention));
    }
    w.proj_out = scope.linear("proj_out", channels, channels, true, form);
    return w;
}

/// Declares the blocks in order of execution.
class Builder {
public:
    /// `channels`: of the first block's input.
    Builder(const UNetConfig & config, const Scope & root, int64_t channels)
        : c_(config), root_(root), emb_(int64_t{4} * config.model_channels), channels_(channels) {}

    void embeddings(UNetTrunk & l) const {
        const Scope scope = root_.keeping(16);
        const int64_t base = c_.model_channels;
        l.time_0 = scope.linear("time_embed.0", base, emb_);
        l.time_2 = scope.linear("time_embed.2", emb_, emb_);
        if (c_.guidance_embed_dim > 0) l.guidance = scope.linear("time_embed.cond_proj", c_.guidance_embed_dim, base, false);
        if (c_.class_embedding == "embedding") {
            l.class_table = scope.embedding("label_emb", c_.class_count, emb_);
        } else if (c_.class_embedding == "vector") {
            l.vector_0 = scope.linear("label_emb.0.0", c_.vector_dim, emb_);
            l.vector_2 = scope.linear("label_emb.0.2", emb_, emb_);
        }
    }

    void down_path(UNetTrunk & l) {
        l.input = root_.keeping(16).conv("input_blocks.0.0", c_.in_channels, channels_, 3);
        l.skip_channels = {channels_};
        int index = 1;
        for (int level = 0; level < c_.levels(); ++level) {
            UNetLevel stage;
            for (int i = 0; i < c_.num_res_blocks; ++i, ++index) {
                stage.entries.push_back(entry(root_ / "input_blocks" / index, level, channels_, c_.input_depth(level, i)));
                l.skip_channels.push_back(channels_);
            }
            if (level + 1 < c_.levels()) {
                stage.resample = resample(root_ / "input_blocks" / index++ / 0, false);
                l.skip_channels.push_back(channels_);
            }
            l.down.push_back(std::move(stage));
        }
    }

    void middle(UNetTrunk & l) const {
        const Scope scope = root_ / "middle_block";
        if (c_.middle == "none") return;
        l.middle_in = res_block(scope / 0, channels_, channels_);
        if (c_.middle != "full") return;
        if (c_.has_middle_attention()) {
            const int heads = c_.heads_at(c_.levels() - 1, static_cast<int>(channels_));
            l.middle = declare_attention(scope / 1, channels_, heads, c_.depth_middle(), !c_.disable_middle_self_attention, c_);
        }
        l.middle_out = res_block(scope / (l.middle ? 2 : 1), channels_, channels_);
    }

    void up_path(UNetLayers & l) {
        std::vector<int64_t> skips = l.trunk.skip_channels;
        int index = 0;
        for (int level = c_.levels() - 1; level >= 0; --level) {
            UNetLevel stage;
            for (int i = 0; i <= c_.num_res_blocks; ++i, ++index) {
                const Scope block = root_ / "output_blocks" / index;
                stage.entries.push_back(entry(block, level, channels_ + skips.back(), c_.output_depth(level, i)));
                skips.pop_back();
                if (i == c_.num_res_blocks && level > 0)
                    stage.resample = resample(block / (stage.entries.back().attention ? 2 : 1), true);
            }
            l.up.push_back(std::move(stage));
        }
        l.norm_out = root_.norm("out.0", c_.model_channels);
        l.output = root_.keeping(16).conv("out.2", c_.model_channels, c_.out_channels, 3);
    }

private:
    ResBlock res_block(const Scope & scope, int64_t in, int64_t out) const {
        ResBlock w;
        w.scale_shift = c_.scale_shift_norm;
        w.norm_in = scope.norm("in_layers.0", in);
        w.conv_in = scope.conv("in_layers.2", in, out, 3);
        w.emb = scope.linear("emb_layers.1", emb_, w.scale_shift ? 2 * out : out);
        w.norm_out = scope.norm("out_layers.0", out);
        w.conv_out = scope.conv("out_layers.3", out, out, 3);
        if (in != out) w.skip = scope.conv("skip_connection", in, out, 1);
        return w;
    }

    UNetEntry entry(const Scope & scope, int level, int64_t in, std::optional<int> depth) {
        UNetEntry entry;
        channels_ = int64_t{c_.model_channels} * c_.channel_mult[static_cast<size_t>(level)];
        entry.res = res_block(scope / 0, in, channels_);
        if (depth) {
            const int heads = c_.heads_at(level, static_cast<int>(channels_));
            entry.attention = declare_attention(scope / 1, channels_, heads, *depth, c_.self_attends(level), c_);
        }
        return entry;
    }

    Resample resample(const Scope & scope, bool up) const {
        Resample w;
        w.up = up;
        if (c_.resblock_updown) {
            w.block = res_block(scope, channels_, channels_);
            w.block->resampling = up ? ResBlock::Resampling::up : ResBlock::Resampling::down;
        } else if (c_.conv_resample) {
            w.conv = scope.conv(up ? "conv" : "op", channels_, channels_, 3);
        }
        return w;
    }

    const UNetConfig & c_;
    const Scope root_;
    const int64_t emb_;
    int64_t channels_;  // of the current map
};

void add_context_attentions(std::vector<const CrossAttention *> & out, const std::optional<Attention> & w) {
    if (!w) return;
    for (const TransformerBlock & block : w->blocks) {
        if (!block.self_attention) out.push_back(&block.attn1);
        out.push_back(&block.attn2);
    }
}

void add_context_attentions(std::vector<const CrossAttention *> & out, const std::vector<UNetLevel> & levels) {
    for (const UNetLevel & level : levels) {
        for (const UNetEntry & entry : level.entries) add_context_attentions(out, entry.attention);
    }
}

}  // namespace

std::vector<const CrossAttention *> UNetTrunk::context_attentions() const {
    std::vector<const CrossAttention *> out;
    add_context_attentions(out, down);
    add_context_attentions(out, middle);
    return out;
}

std::vector<const CrossAttention *> UNetLayers::context_attentions() const {
    std::vector<const CrossAttention *> out = trunk.context_attentions();
    add_context_attentions(out, up);
    return out;
}

UNetTrunk declare_unet_trunk(const UNetConfig & config, ParameterList & list, const std::string & prefix) {
    check_config(config);
    Builder builder(config, Scope(list, prefix), config.model_channels);
    UNetTrunk trunk;
    builder.embeddings(trunk);
    builder.down_path(trunk);
    builder.middle(trunk);
    return trunk;
}

UNetLayers declare_unet(const UNetConfig & config, ParameterList & list, const std::string & prefix) {
    UNetLayers layers;
    layers.trunk = declare_unet_trunk(config, list, prefix);
    Builder(config, Scope(list, prefix), layers.trunk.skip_channels.back()).up_path(layers);
    return layers;
}

}  // namespace latent::networks
