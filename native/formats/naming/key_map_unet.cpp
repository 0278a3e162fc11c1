#include <algorithm>

#include "formats/naming/key_map.h"

namespace latent::formats {

std::vector<std::string> split_key(const std::string & name) {
    std::vector<std::string> parts;
    size_t begin = 0;
    for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', begin)) {
        parts.push_back(name.substr(begin, dot - begin));
        begin = dot + 1;
    }
    parts.push_back(name.substr(begin));
    return parts;
}

std::string join_key(const std::vector<std::string> & parts, size_t from) {
    std::string out;
    for (size_t i = from; i < parts.size(); ++i) out += '.' + parts[i];
    return out;
}

int key_number(const std::string & text) {
    if (text.empty() || text.size() > 4 || !std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }))
        return -1;
    return std::stoi(text);
}

namespace {

struct Rename {
    const char * from;
    const char * to;
};

constexpr Rename outer_names[] = {
    {"conv_in", "input_blocks.0.0"},
    {"time_embedding.linear_1", "time_embed.0"},
    {"time_embedding.linear_2", "time_embed.2"},
    {"time_embedding.cond_proj", "time_embed.cond_proj"},
    {"class_embedding.linear_1", "label_emb.0.0"},
    {"class_embedding.linear_2", "label_emb.0.2"},
    {"add_embedding.linear_1", "label_emb.0.0"},
    {"add_embedding.linear_2", "label_emb.0.2"},
    {"class_embedding", "label_emb"},
    {"conv_norm_out", "out.0"},
    {"conv_out", "out.2"},
};

constexpr Rename resnet_names[] = {
    {"norm1", "in_layers.0"},  {"conv1", "in_layers.2"},  {"time_emb_proj", "emb_layers.1"},
    {"norm2", "out_layers.0"}, {"conv2", "out_layers.3"}, {"conv_shortcut", "skip_connection"},
};

// diffusers Attention of an AttentionBlock model, new and old names. q, k and v are fused into one canonical tensor.
constexpr Rename block_attention_names[] = {
    {"group_norm", "norm"},
    {"to_out.0", "proj_out"},
    {"proj_attn", "proj_out"},
};
constexpr const char * fused_names[3][2] = {{"to_q", "query"}, {"to_k", "key"}, {"to_v", "value"}};

template <size_t N>
std::optional<std::string> rename(const Rename (&table)[N], const std::string & name) {
    for (const Rename & entry : table) {
        const std::string from = entry.from;
        if (name.compare(0, from.size(), from) == 0 && name.size() > from.size() && name[from.size()] == '.') {
            return entry.to + name.substr(from.size());
        }
    }
    return std::nullopt;
}

std::optional<KeyTargets> at(const std::string & place, const std::optional<std::string> & rest) {
    if (!rest) return std::nullopt;
    return KeyTargets{{place + '.' + *rest}};
}

std::optional<KeyTargets> map_attention(const std::string & place, const std::string & rest) {
    for (int which = 0; which < 3; ++which) {
        for (const char * name : fused_names[which]) {
            const std::string prefix = std::string(name) + '.';
            if (rest.compare(0, prefix.size(), prefix) == 0) {
                return KeyTargets{{place + ".qkv." + rest.substr(prefix.size()), -1, which}};
            }
        }
    }
    if (const auto renamed = rename(block_attention_names, rest)) return at(place, renamed);
    // Names inside a spatial transformer are the same.
    const bool known =
        rest.compare(0, 5, "norm.") == 0 || rest.compare(0, 5, "proj_") == 0 || rest.compare(0, 19, "transformer_blocks.") == 0;
    return known ? at(place, rest) : std::nullopt;
}

std::optional<KeyTargets> map_entry(const std::string & block, const std::string & kind, int sub, const std::string & rest) {
    if (kind == "resnets") return at(block + ".0", rename(resnet_names, rest));
    if (kind == "attentions") return map_attention(block + '.' + std::to_string(sub), rest);
    return std::nullopt;
}

std::optional<KeyTargets> map_resampler(const std::string & place, const char * conv, const std::string & rest) {
    if (rest.compare(0, 5, "conv.") == 0) return at(place + conv, rest.substr(5));
    return at(place, rename(resnet_names, rest));  // a resampler that is a ResBlock itself
}

}  // namespace

UNetNaming UNetNaming::of(const std::vector<std::string> & names) {
    UNetNaming naming;
    int layers = 0;
    for (const std::string & name : names) {
        if (name.compare(0, 8, "conv_in.") == 0) naming.diffusers = true;
        const std::vector<std::string> parts = split_key(name);
        if (parts.size() < 4) continue;
        if (parts[0] == "down_blocks" && parts[1] == "0" && parts[2] == "resnets")
            layers = std::max(layers, key_number(parts[3]) + 1);
        if (parts[0] == "up_blocks" && parts[2] == "attentions") naming.attention_up_blocks.insert(key_number(parts[1]));
    }
    naming.layers_per_block = std::max(1, layers);
    return naming;
}

std::optional<KeyTargets> map_unet_key(const std::string & name, const UNetNaming & naming) {
    if (!naming.diffusers) return KeyTargets{{name}};
    if (const auto renamed = rename(outer_names, name)) return KeyTargets{{*renamed}};
    const std::vector<std::string> parts = split_key(name);
    if (parts.size() < 4) return std::nullopt;
    const int per_level = naming.layers_per_block + 1;
    if (parts[0] == "mid_block") {
        const int index = key_number(parts[2]);
        const std::string rest = join_key(parts, 3).substr(1);
        if (parts[1] == "resnets" && (index == 0 || index == 1)) {
            return at(index == 0 ? "middle_block.0" : "middle_block.2", rename(resnet_names, rest));
        }
        return parts[1] == "attentions" && index == 0 ? map_attention("middle_block.1", rest) : std::nullopt;
    }
    if (parts.size() < 5 || (parts[0] != "down_blocks" && parts[0] != "up_blocks")) return std::nullopt;
    const int level = key_number(parts[1]), index = key_number(parts[3]);
    if (level < 0 || index < 0) return std::nullopt;
    const std::string & kind = parts[2];
    const std::string rest = join_key(parts, 4).substr(1);
    const bool down = parts[0] == "down_blocks";
    const std::string blocks = down ? "input_blocks." : "output_blocks.";
    if (kind == (down ? "downsamplers" : "upsamplers")) {
        if (index != 0) return std::nullopt;
        if (down) return map_resampler(blocks + std::to_string((level + 1) * per_level) + ".0", ".op", rest);
        const int sub = naming.attention_up_blocks.count(level) ? 2 : 1;
        return map_resampler(blocks + std::to_string(level * per_level + per_level - 1) + '.' + std::to_string(sub), ".conv",
                             rest);
    }
    if (index >= per_level - (down ? 1 : 0)) return std::nullopt;
    return map_entry(blocks + std::to_string(level * per_level + index + (down ? 1 : 0)), kind, 1, rest);
}

}  // namespace latent::formats
