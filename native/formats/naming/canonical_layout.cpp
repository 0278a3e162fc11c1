#include "formats/naming/canonical_layout.h"

#include <algorithm>

#include "formats/naming/canonical.h"
#include "formats/naming/layout_list.h"

namespace latent::formats {

namespace {

class UNetList : public LayoutList {
public:
    explicit UNetList(const UNetConfig & config) : c_(config), emb_(int64_t{4} * config.model_channels) {}

    void res(const std::string & at, int64_t in, int64_t out) {
        norm(at + ".in_layers.0", in);
        conv(at + ".in_layers.2", in, out, 3);
        linear(at + ".emb_layers.1", emb_, c_.scale_shift_norm ? 2 * out : out);
        norm(at + ".out_layers.0", out);
        conv(at + ".out_layers.3", out, out, 3);
        if (in != out) conv(at + ".skip_connection", in, out, 1);
    }

    void attention(const std::string & at, int64_t channels, int depth, bool self) {
        norm(at + ".norm", channels);
        if (c_.attention == UNetAttention::attention_block) {
            pair(at + ".qkv", {3 * channels, channels, 1});
            pair(at + ".proj_out", {channels, channels, 1});
            return;
        }
        projection(at + ".proj_in", channels);
        for (int k = 0; k < depth; ++k) {
            const std::string block = at + ".transformer_blocks." + std::to_string(k);
            cross(block + ".attn1", channels, self ? channels : c_.context_dim);
            cross(block + ".attn2", channels, c_.context_dim);
            linear(block + ".ff.net.0.proj", channels, 8 * channels);
            linear(block + ".ff.net.2", 4 * channels, channels);
            for (const char * name : {".norm1", ".norm2", ".norm3"}) norm(block + name, channels);
        }
        projection(at + ".proj_out", channels);
    }

    bool attends(int level) const {
        const auto & at = c_.attention_resolutions;
        return c_.attention != UNetAttention::none && std::find(at.begin(), at.end(), 1 << level) != at.end() &&
               (c_.attention != UNetAttention::spatial_transformer || c_.depth_at(level) > 0);
    }

    bool self_attends(int level) const {
        return c_.disable_self_attentions.empty() || !c_.disable_self_attentions.at(static_cast<size_t>(level));
    }

    void entry(const std::string & at, int level, int64_t in, int64_t out) {
        res(at + ".0", in, out);
        if (attends(level)) attention(at + ".1", out, c_.depth_at(level), self_attends(level));
    }

    void resample(const std::string & at, const char * conv_name, int64_t channels) {
        if (c_.resblock_updown) {
            res(at, channels, channels);
        } else if (c_.conv_resample) {
            conv(at + conv_name, channels, channels, 3);
        }
    }

private:
    void projection(const std::string & name, int64_t channels) {
        if (c_.use_linear_in_transformer) {
            linear(name, channels, channels);
        } else {
            conv(name, channels, channels, 1);
        }
    }

    void cross(const std::string & at, int64_t channels, int64_t context) {
        matrix(at + ".to_q", channels, channels);
        matrix(at + ".to_k", context, channels);
        matrix(at + ".to_v", context, channels);
        linear(at + ".to_out.0", channels, channels);
    }

    const UNetConfig & c_;
    int64_t emb_;
};

std::string block_name(const std::string & list, int index) {
    return unet_prefix + list + std::to_string(index);
}

void stage_block(LayoutList & list, const std::string & at, int64_t in, int64_t out) {
    list.norm(at + ".norm1", in);
    list.conv(at + ".conv1", in, out, 3);
    list.norm(at + ".norm2", out);
    list.conv(at + ".conv2", out, out, 3);
    if (in != out) list.conv(at + ".nin_shortcut", in, out, 1);
}

void stage_attention(LayoutList & list, const std::string & at, int64_t channels) {
    list.norm(at + ".norm", channels);
    for (const char * name : {".q", ".k", ".v", ".proj_out"}) list.conv(at + name, channels, channels, 1);
}

void stage_middle(LayoutList & list, const std::string & at, int64_t channels, bool attention) {
    stage_block(list, at + ".block_1", channels, channels);
    if (attention) stage_attention(list, at + ".attn_1", channels);
    stage_block(list, at + ".block_2", channels, channels);
}

}  // namespace

std::vector<LayoutEntry> unet_layout(const UNetConfig & c) {
    UNetList list(c);
    const std::string root = unet_prefix;
    const int64_t base = c.model_channels, emb = 4 * base;
    list.linear(root + "time_embed.0", base, emb);
    list.linear(root + "time_embed.2", emb, emb);
    if (c.guidance_embed_dim > 0) list.matrix(root + "time_embed.cond_proj", c.guidance_embed_dim, base);
    if (c.class_embedding == "embedding") list.matrix(root + "label_emb", emb, c.class_count);
    if (c.class_embedding == "vector") {
        list.linear(root + "label_emb.0.0", c.vector_dim, emb);
        list.linear(root + "label_emb.0.2", emb, emb);
    }
    list.conv(root + "input_blocks.0.0", c.in_channels, base, 3);
    std::vector<int64_t> skips = {base};
    int64_t channels = base;
    int index = 1;
    for (int level = 0; level < c.levels(); ++level) {
        const int64_t out = base * c.channel_mult[static_cast<size_t>(level)];
        for (int i = 0; i < c.num_res_blocks; ++i) {
            list.entry(block_name("input_blocks.", index++), level, channels, out);
            skips.push_back(channels = out);
        }
        if (level + 1 < c.levels()) {
            list.resample(block_name("input_blocks.", index++) + ".0", ".op", channels);
            skips.push_back(channels);
        }
    }
    list.res(root + "middle_block.0", channels, channels);
    const bool middle = c.attention != UNetAttention::none;
    if (middle) list.attention(root + "middle_block.1", channels, c.depth_middle(), !c.disable_middle_self_attention);
    list.res(root + (middle ? "middle_block.2" : "middle_block.1"), channels, channels);
    index = 0;
    for (int level = c.levels() - 1; level >= 0; --level) {
        const int64_t out = base * c.channel_mult[static_cast<size_t>(level)];
        for (int i = 0; i <= c.num_res_blocks; ++i) {
            const std::string at = block_name("output_blocks.", index++);
            list.entry(at, level, channels + skips.back(), out);
            skips.pop_back();
            channels = out;
            if (i == c.num_res_blocks && level > 0) list.resample(at + (list.attends(level) ? ".2" : ".1"), ".conv", channels);
        }
    }
    list.norm(root + "out.0", base);
    list.conv(root + "out.2", base, c.out_channels, 3);
    return list.entries;
}

std::vector<LayoutEntry> first_stage_layout(const AutoencoderConfig & c) {
    LayoutList list;
    const std::string root = stage_prefix;
    const int levels = static_cast<int>(c.channel_mult.size());
    const auto attends = [&](int level) { return std::count(c.attention_levels.begin(), c.attention_levels.end(), level) > 0; };
    const auto level_channels = [&](int level) { return int64_t{c.channels} * c.channel_mult[static_cast<size_t>(level)]; };

    list.conv(root + "encoder.conv_in", c.in_channels, c.channels, 3);
    int64_t channels = c.channels;
    for (int level = 0; level < levels; ++level) {
        const std::string at = root + "encoder.down." + std::to_string(level);
        for (int i = 0; i < c.num_res_blocks; ++i) {
            stage_block(list, at + ".block." + std::to_string(i), channels, level_channels(level));
            channels = level_channels(level);
            if (attends(level)) stage_attention(list, at + ".attn." + std::to_string(i), channels);
        }
        if (level + 1 < levels) list.conv(at + ".downsample.conv", channels, channels, 3);
    }
    stage_middle(list, root + "encoder.mid", channels, c.middle_attention);
    list.norm(root + "encoder.norm_out", channels);
    list.conv(root + "encoder.conv_out", channels, c.double_z ? 2 * c.z_channels : c.z_channels, 3);

    if (c.quant_conv) {
        const int64_t doubled = c.double_z ? 2 : 1;
        list.conv(root + "quant_conv", doubled * c.z_channels, c.kind == "kl" ? 2 * c.embed_dim : c.embed_dim, 1);
        list.conv(root + "post_quant_conv", c.embed_dim, c.z_channels, 1);
    }
    if (c.kind == "vq") list.matrix(root + "quantize.embedding", c.embed_dim, c.codebook_size);

    list.conv(root + "decoder.conv_in", c.z_channels, channels, 3);
    stage_middle(list, root + "decoder.mid", channels, c.middle_attention);
    for (int level = levels - 1; level >= 0; --level) {
        const std::string at = root + "decoder.up." + std::to_string(level);
        for (int i = 0; i <= c.num_res_blocks; ++i) {
            stage_block(list, at + ".block." + std::to_string(i), channels, level_channels(level));
            channels = level_channels(level);
            if (attends(level)) stage_attention(list, at + ".attn." + std::to_string(i), channels);
        }
        if (level > 0) list.conv(at + ".upsample.conv", channels, channels, 3);
    }
    list.norm(root + "decoder.norm_out", channels);
    list.conv(root + "decoder.conv_out", channels, c.out_channels, 3);
    return list.entries;
}

}  // namespace latent::formats
