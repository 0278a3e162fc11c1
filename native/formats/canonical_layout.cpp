#include "formats/canonical_layout.h"

#include <algorithm>
#include <set>

#include "formats/canonical.h"

namespace latent::formats {

namespace {

class List {
public:
    std::vector<LayoutEntry> entries;

    void pair(const std::string & name, std::vector<int64_t> weight) {
        const int64_t out = weight[0];
        entries.push_back({name + ".weight", std::move(weight)});
        entries.push_back({name + ".bias", {out}});
    }
    void conv(const std::string & name, int64_t in, int64_t out, int64_t kernel) { pair(name, {out, in, kernel, kernel}); }
    void linear(const std::string & name, int64_t in, int64_t out) { pair(name, {out, in}); }
    void matrix(const std::string & name, int64_t in, int64_t out) { entries.push_back({name + ".weight", {out, in}}); }
    void norm(const std::string & name, int64_t channels) { pair(name, {channels}); }
};

class UNetList : public List {
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

void stage_block(List & list, const std::string & at, int64_t in, int64_t out) {
    list.norm(at + ".norm1", in);
    list.conv(at + ".conv1", in, out, 3);
    list.norm(at + ".norm2", out);
    list.conv(at + ".conv2", out, out, 3);
    if (in != out) list.conv(at + ".nin_shortcut", in, out, 1);
}

void stage_attention(List & list, const std::string & at, int64_t channels) {
    list.norm(at + ".norm", channels);
    for (const char * name : {".q", ".k", ".v", ".proj_out"}) list.conv(at + name, channels, channels, 1);
}

void stage_middle(List & list, const std::string & at, int64_t channels, bool attention) {
    stage_block(list, at + ".block_1", channels, channels);
    if (attention) stage_attention(list, at + ".attn_1", channels);
    stage_block(list, at + ".block_2", channels, channels);
}

std::vector<int64_t> squeezed(std::vector<int64_t> shape) {
    while (shape.size() > 1 && shape.back() == 1) shape.pop_back();
    return shape;
}

std::string shown(const std::vector<int64_t> & shape) {
    std::string text = "[";
    for (const int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    return text + "]";
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
    List list;
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

std::vector<LayoutEntry> clip_text_layout(const ClipTextConfig & c, const std::string & prefix) {
    List list;
    const int64_t width = c.hidden_size;
    list.matrix(prefix + "embeddings.token_embedding", width, c.vocab_size);
    list.matrix(prefix + "embeddings.position_embedding", width, c.max_position_embeddings);
    for (int i = 0; i < c.num_hidden_layers; ++i) {
        const std::string at = prefix + "encoder.layers." + std::to_string(i);
        list.norm(at + ".layer_norm1", width);
        for (const char * name : {".self_attn.q_proj", ".self_attn.k_proj", ".self_attn.v_proj", ".self_attn.out_proj"}) {
            list.linear(at + name, width, width);
        }
        list.norm(at + ".layer_norm2", width);
        list.linear(at + ".mlp.fc1", width, c.intermediate_size);
        list.linear(at + ".mlp.fc2", c.intermediate_size, width);
    }
    list.norm(prefix + "final_layer_norm", width);
    const std::string tower = "text_model.";
    if (prefix.size() > tower.size() && prefix.compare(prefix.size() - tower.size(), tower.size(), tower) == 0) {
        const std::string name = prefix.substr(0, prefix.size() - tower.size()) + "text_projection.weight";
        list.entries.push_back({name, {c.projection_dim, width}, true});
    }
    return list.entries;
}

namespace {

class Check {
public:
    Check(const TensorSource & source) : source_(source) {}

    void need(const std::vector<LayoutEntry> & entries) {
        for (const LayoutEntry & entry : entries) {
            const TensorInfo * tensor = source_.find(entry.name);
            const bool fits = tensor && squeezed(tensor->shape) == squeezed(entry.shape);
            if (fits) names_.push_back(entry.name);
            if (fits || entry.optional) continue;
            ++faults_;
            if (report_.size() > 600) continue;
            report_ += (report_.empty() ? "" : "; ") + entry.name +
                       (tensor ? " has shape " + shown(tensor->shape) + " in place of " + shown(entry.shape) : " is missing");
        }
    }

    void refuse_rest(const std::string & prefix, const std::vector<std::string> & names) const {
        const std::set<std::string> known(names.begin(), names.end());
        std::string first;
        int count = 0;
        for (const TensorInfo & tensor : source_.tensors()) {
            if (tensor.name.compare(0, prefix.size(), prefix) != 0 || known.count(tensor.name)) continue;
            if (count++ == 0) first = tensor.name;
        }
        if (count == 0) return;
        const Json details = {{"found", first.substr(0, 200)}, {"count", count}, {"nearest", "latent diffusion U-Net"}};
        throw Error(ErrorCode::unsupported_model,
                    source_.name() + ": the U-Net has " + std::to_string(count) +
                        " tensors that no known architecture explains, first " + first.substr(0, 200),
                    details.dump(-1, ' ', false, Json::error_handler_t::replace));
    }

    std::vector<std::string> finish() {
        if (faults_ == 0) return std::move(names_);
        throw Error(ErrorCode::model_format,
                    source_.name() + ": " + std::to_string(faults_) + " tensors do not fit the model's specification: " +
                        report_ + ". The file is incomplete, or the configuration belongs to another model",
                    Json{{"faults", faults_}}.dump());
    }

private:
    const TensorSource & source_;
    std::vector<std::string> names_;
    std::string report_;
    int faults_ = 0;
};

}  // namespace

std::vector<std::string> check_layout(const ModelSpec & spec, const TensorSource & source) {
    Check check(source);
    if (spec.unet) check.need(unet_layout(*spec.unet));
    if (spec.first_stage) check.need(first_stage_layout(*spec.first_stage));
    for (const ConditionerConfig & c : spec.conditioners) {
        if (c.kind == "clip_text") check.need(clip_text_layout(c.clip, c.prefix));
    }
    std::vector<std::string> names = check.finish();
    if (spec.unet) check.refuse_rest(unet_prefix, names);
    return names;
}

}  // namespace latent::formats
