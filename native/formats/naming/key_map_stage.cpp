#include <algorithm>

#include "formats/naming/key_map.h"

namespace latent::formats {

namespace {

std::string replace_first(const std::string & text, const char * from, const char * to) {
    const std::string key = from;
    if (text.compare(0, key.size(), key) != 0) return text;
    return to + text.substr(key.size());
}

std::string resnet_name(const std::string & rest) {
    return replace_first(rest, "conv_shortcut.", "nin_shortcut.");
}

/// diffusers Attention, new names and those before 0.15.
std::string attention_name(const std::string & rest) {
    static const char * const renames[][2] = {
        {"group_norm.", "norm."},   {"to_q.", "q."}, {"to_k.", "k."},  {"to_v.", "v."},
        {"query.", "q."},           {"key.", "k."},  {"value.", "v."}, {"to_out.0.", "proj_out."},
        {"proj_attn.", "proj_out."}};
    for (const auto & pair : renames) {
        if (starts_with(rest, pair[0])) return replace_first(rest, pair[0], pair[1]);
    }
    return rest;
}

}  // namespace

StageNaming StageNaming::of(const std::vector<std::string> & names) {
    StageNaming naming;
    for (const std::string & name : names) {
        const std::vector<std::string> parts = split_key(name);
        if (parts.size() < 3) continue;
        if (parts[1] == "layers") naming.tiny = naming.diffusers = true;
        if (key_number(parts[1]) >= 0 && (parts[0] == "encoder" || parts[0] == "decoder")) naming.tiny = true;
        if (parts[1] == "down_blocks" || parts[1] == "up_blocks") {
            naming.diffusers = true;
            naming.levels = std::max(naming.levels, key_number(parts[2]) + 1);
        }
    }
    return naming;
}

std::string tiny_half(const TensorSource & source) {
    const auto conv = [&](const char * name) {
        const TensorInfo * tensor = source.find(name);
        return tensor && tensor->shape.size() == 4;
    };
    if (conv("0.weight") && conv("1.conv.0.weight")) return "encoder.";
    if (conv("1.weight") && conv("3.conv.0.weight")) return "decoder.";
    return "";
}

bool is_tiny_stage(const TensorSource & source) {
    for (const char * name : {"decoder.layers.0.weight", "encoder.layers.0.weight", "decoder.1.weight", "encoder.0.weight",
                              "taesd_decoder.1.weight", "taesd_encoder.0.weight", "first_stage_model.decoder.1.weight"}) {
        const TensorInfo * tensor = source.find(name);
        if (tensor && tensor->shape.size() == 4) return true;
    }
    return false;
}

namespace {

/// diffusers counts the decoder's layers from 0, without the clamp of the latents that comes first.
std::optional<KeyTargets> map_tiny_key(const std::string & name, const StageNaming & naming) {
    if (name == "vae_scale" || name == "vae_shift") return KeyTargets{};
    if (!naming.diffusers) return KeyTargets{{name}};
    const std::vector<std::string> parts = split_key(name);
    const int index = parts.size() > 2 ? key_number(parts[2]) : -1;
    if (index < 0 || parts[1] != "layers") return std::nullopt;
    return KeyTargets{{parts[0] + '.' + std::to_string(index + (parts[0] == "decoder" ? 1 : 0)) + join_key(parts, 3)}};
}

}  // namespace

std::optional<KeyTargets> map_stage_key(const std::string & name, const StageNaming & naming) {
    if (naming.tiny) return map_tiny_key(name, naming);
    if (starts_with(name, "loss.") || starts_with(name, "model_ema.") || name == "colorize") return KeyTargets{};
    if (!naming.diffusers || !(starts_with(name, "encoder.") || starts_with(name, "decoder."))) return KeyTargets{{name}};
    const std::vector<std::string> parts = split_key(name);
    const std::string & half = parts[0];
    if (parts[1] == "conv_norm_out") return KeyTargets{{half + ".norm_out" + join_key(parts, 2)}};
    if (parts[1] == "conv_in" || parts[1] == "conv_out") return KeyTargets{{name}};
    if (parts.size() < 5) return std::nullopt;
    if (parts[1] == "mid_block") {
        const int index = key_number(parts[3]);
        const std::string rest = join_key(parts, 4).substr(1);
        if (parts[2] == "resnets" && (index == 0 || index == 1)) {
            return KeyTargets{{half + ".mid.block_" + std::to_string(index + 1) + '.' + resnet_name(rest)}};
        }
        if (parts[2] == "attentions" && index == 0) return KeyTargets{{half + ".mid.attn_1." + attention_name(rest)}};
        return std::nullopt;
    }
    const bool down = parts[1] == "down_blocks" && half == "encoder";
    if ((!down && !(parts[1] == "up_blocks" && half == "decoder")) || parts.size() < 6) return std::nullopt;
    const int stored = key_number(parts[2]), index = key_number(parts[4]);
    if (stored < 0 || index < 0) return std::nullopt;
    // CompVis counts decoder levels by resolution, diffusers in the order of execution.
    const std::string level = half + (down ? ".down." : ".up.") + std::to_string(down ? stored : naming.levels - 1 - stored);
    const std::string rest = join_key(parts, 5).substr(1);
    if (parts[3] == "resnets") return KeyTargets{{level + ".block." + parts[4] + '.' + resnet_name(rest)}};
    if (parts[3] == "attentions") return KeyTargets{{level + ".attn." + parts[4] + '.' + attention_name(rest)}};
    if (parts[3] == (down ? "downsamplers" : "upsamplers") && index == 0) {
        return KeyTargets{{level + (down ? ".downsample." : ".upsample.") + rest}};
    }
    return std::nullopt;
}

}  // namespace latent::formats
