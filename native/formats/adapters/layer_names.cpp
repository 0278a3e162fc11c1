#include "formats/adapters/layer_names.h"

#include <algorithm>

#include "core/parts.h"
#include "formats/naming/key_map.h"

namespace latent::formats {
namespace {

struct LayerPrefix {
    const char * text;
    const char * part;  // "": the rest of the name tells
};

// A longer prefix comes before the shorter ones that it begins with.
constexpr LayerPrefix layer_prefixes[] = {
    {"base_model.model.", ""},
    {"model.diffusion_model.", "unet"},
    {"diffusion_model.", "unet"},
    {"lora_unet_", "unet"},
    {"oft_unet_", "unet"},
    {"lora_te1_", "te1"},
    {"lora_te2_", "te2"},
    {"lora_te_", "te1"},
    {"oft_te_", "te1"},
    {"cond_stage_model.transformer.", "te1"},
    {"cond_stage_model.", "te1"},
    {"conditioner.embedders.0.transformer.", "te1"},
    {"conditioner.embedders.0.", "te1"},
    {"conditioner.embedders.1.", "te2"},
    {"lycoris_", ""},
    {"unet.", "unet"},
    {"text_encoder_2.", "te2"},
    {"text_encoder.", "te1"},
    {"text_encoders.clip_l.transformer.", "te1"},
    {"text_encoders.clip_g.transformer.", "te2"},
    {"text_encoders.clip_h.transformer.", "te1"},
    {"text_encoders.", "te1"},
    {"clip_l.transformer.", "te1"},
    {"clip_g.transformer.", "te2"},
};

std::string with_underscores(std::string name) {
    std::replace(name.begin(), name.end(), '.', '_');
    return name;
}

bool take_prefix(std::string & name, const std::string & prefix) {
    if (name.compare(0, prefix.size(), prefix) != 0) return false;
    name.erase(0, prefix.size());
    return true;
}

/// Drops a component wherever it occurs: the attention processors of old diffusers files.
void drop(std::string & name, const std::string & component) {
    const size_t at = name.find(component);
    if (at != std::string::npos) name.erase(at, component.size());
}

constexpr const char * outer[][2] = {
    {"input_blocks.0.0", "conv_in"},
    {"time_embed.0", "time_embedding.linear_1"},
    {"time_embed.2", "time_embedding.linear_2"},
    {"time_embed.cond_proj", "time_embedding.cond_proj"},
    {"label_emb.0.0", "add_embedding.linear_1"},
    {"label_emb.0.2", "add_embedding.linear_2"},
    {"out.0", "conv_norm_out"},
    {"out.2", "conv_out"},
};

constexpr const char * resnet[][2] = {
    {"in_layers.0", "norm1"},  {"in_layers.2", "conv1"},  {"emb_layers.1", "time_emb_proj"},
    {"out_layers.0", "norm2"}, {"out_layers.3", "conv2"}, {"skip_connection", "conv_shortcut"},
};

template <size_t N>
std::string lookup(const char * const (&table)[N][2], const std::string & name) {
    for (const auto & row : table) {
        if (name == row[0]) return row[1];
    }
    return "";
}

std::string inside(const std::string & place, const std::string & kind, int index, const std::string & name) {
    return name.empty() ? "" : place + kind + '.' + std::to_string(index) + '.' + name;
}

/// The diffusers name of a U-Net layer, from the CompVis name; "" if there is none. The inverse of map_unet_key().
std::string diffusers_name(const std::string & layer, int blocks_per_level) {
    const std::string renamed = lookup(outer, layer);
    if (!renamed.empty()) return renamed;
    const std::vector<std::string> parts = split_key(layer);
    if (parts.size() < 3) return "";
    if (parts[0] == "middle_block") {
        const std::string rest = join_key(parts, 2).substr(1);
        if (parts[1] == "1") return "mid_block.attentions.0." + rest;
        return inside("mid_block.", "resnets", parts[1] == "0" ? 0 : 1, lookup(resnet, rest));
    }
    const bool down = parts[0] == "input_blocks";
    if (parts.size() < 4 || (!down && parts[0] != "output_blocks")) return "";
    const int entry = key_number(parts[1]) - (down ? 1 : 0), sub = key_number(parts[2]);
    if (entry < 0 || sub < 0) return "";
    const int per_level = blocks_per_level + 1, level = entry / per_level, index = entry % per_level;
    const std::string place = (down ? "down_blocks." : "up_blocks.") + std::to_string(level) + '.';
    const std::string rest = join_key(parts, 3).substr(1);
    if (down && index == blocks_per_level) {
        return rest == "op" ? place + "downsamplers.0.conv" : inside(place, "downsamplers", 0, lookup(resnet, rest));
    }
    if (sub == 0) return inside(place, "resnets", index, lookup(resnet, rest));
    if (!down && rest == "conv") return place + "upsamplers.0.conv";
    return inside(place, "attentions", index, rest);
}

}  // namespace

LayerNames::LayerNames(const networks::DeclaredNetworks & networks, const ModelSpec & spec) {
    const auto is_tower = [](const networks::DeclaredNetwork & network) { return network.part == ModelPart::text_encoder; };
    towers_ = static_cast<int>(std::count_if(networks->begin(), networks->end(), is_tower));
    int tower = 0;
    for (const networks::DeclaredNetwork & network : *networks) {
        if (network.part == ModelPart::unet && spec.unet) add_unet(network, spec);
        if (is_tower(network)) add_text(network, ++tower);
    }
}

void LayerNames::add(const std::string & part, const std::string & alias, Layer layer) {
    Layers & layers = layers_[part + ':' + with_underscores(alias)];
    if (layers.empty() || (layer.parts > 1 && layers.front().parts == layer.parts)) layers.push_back(std::move(layer));
}

void LayerNames::add_unet(const networks::DeclaredNetwork & network, const ModelSpec & spec) {
    for (const auto & parameter : network.parameters.all()) {
        const std::string &name = parameter->name, end = ".weight";
        if (name.size() <= end.size() || name.compare(name.size() - end.size(), end.size(), end) != 0) continue;
        const std::string layer = name.substr(0, name.size() - end.size());
        const std::string own = layer.substr(network.prefix.size()), other = diffusers_name(own, spec.unet->num_res_blocks);
        const Layer target{layer, parameter.get()};
        add("unet", own, target);
        if (other.empty()) continue;
        add("unet", other, target);
        // Old diffusers files name the attention's output without its index.
        const std::string numbered = ".to_out.0";
        if (other.size() > numbered.size() && other.compare(other.size() - numbered.size(), numbered.size(), numbered) == 0)
            add("unet", other.substr(0, other.size() - 2), target);
    }
}

/// OpenCLIP's names of a text tower's layer, whose q, k and v are one layer there.
void LayerNames::add_open_clip(const std::string & part, const std::string & name, const Layer & layer) {
    constexpr const char * outer_names[][2] = {{"embeddings.token_embedding", "token_embedding"},
                                               {"final_layer_norm", "ln_final"}};
    constexpr const char * block_names[][2] = {{"layer_norm1", "ln_1"},
                                               {"layer_norm2", "ln_2"},
                                               {"mlp.fc1", "mlp.c_fc"},
                                               {"mlp.fc2", "mlp.c_proj"},
                                               {"self_attn.out_proj", "attn.out_proj"},
                                               {"self_attn.q_proj", "attn.q_proj"},
                                               {"self_attn.k_proj", "attn.k_proj"},
                                               {"self_attn.v_proj", "attn.v_proj"}};
    const auto both = [&](const std::string & alias, const Layer & target) {
        for (const char * before : {"", "model."}) {
            add(part, before + alias, target);
            if (part == "te" + std::to_string(towers_)) add("open_clip", before + alias, target);  // SDXL's second tower
        }
    };
    const std::string renamed = lookup(outer_names, name);
    if (!renamed.empty()) return both(renamed, layer);
    const std::vector<std::string> parts = split_key(name);  // encoder.layers.N. ...
    if (parts.size() < 4 || parts[0] != "encoder" || parts[1] != "layers") return;
    const std::string own = join_key(parts, 3).substr(1), block = "transformer.resblocks." + parts[2] + '.';
    const std::string inner = lookup(block_names, own);
    if (inner.empty()) return;
    both(block + inner, layer);
    constexpr const char * fused[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
    for (int i = 0; i < 3; ++i) {
        if (own != fused[i]) continue;
        for (const char * alias : {"attn.in_proj", "attn.in_proj_weight"})
            both(block + alias, Layer{layer.name, layer.weight, i, 3});
    }
}

void LayerNames::add_text(const networks::DeclaredNetwork & network, int index) {
    const std::string part = "te" + std::to_string(index), tower = "text_model.";
    std::string base = network.prefix;
    if (base.size() >= tower.size() && base.compare(base.size() - tower.size(), tower.size(), tower) == 0)
        base.erase(base.size() - tower.size());
    constexpr const char * old_names[][2] = {{"q_proj", "to_q"}, {"k_proj", "to_k"}, {"v_proj", "to_v"}, {"out_proj", "to_out"}};
    for (const auto & parameter : network.parameters.all()) {
        const std::string &name = parameter->name, end = ".weight";
        if (name.size() <= end.size() || name.compare(name.size() - end.size(), end.size(), end) != 0) continue;
        const std::string layer = name.substr(0, name.size() - end.size());
        if (layer.compare(0, base.size(), base) != 0) continue;
        std::string own = layer.substr(base.size());
        const Layer target{layer, parameter.get()};
        add(part, own, target);
        for (const auto & row : old_names) {  // early diffusers files use the names of a U-Net
            const std::string last = std::string(".") + row[0];
            if (own.size() <= last.size() || own.compare(own.size() - last.size(), last.size(), last) != 0) continue;
            add(part, own.substr(0, own.size() - last.size() + 1) + row[1], target);
        }
        if (!take_prefix(own, tower)) continue;
        add(part, own, target);
        add_open_clip(part, own, target);
    }
}

const LayerNames::Layers & LayerNames::find(const std::string & name_in_file) const {
    static const Layers none;
    std::string name = name_in_file, part;
    for (const LayerPrefix & prefix : layer_prefixes) {
        if (!take_prefix(name, prefix.text)) continue;
        part = prefix.part;
        if (!part.empty()) break;
    }
    drop(name, ".processor");
    name = with_underscores(std::move(name));
    const auto begins = [&](const char * start) { return name.rfind(start, 0) == 0; };
    if (part.empty()) {
        const bool open_clip = begins("transformer_resblocks") || begins("model_transformer_resblocks");
        part = begins("text_model") ? "te1" : open_clip ? "open_clip" : "unet";
    }
    const auto found = layers_.find(part + ':' + name);
    return found == layers_.end() ? none : found->second;
}

std::string foreign_network(const std::string & name_in_file) {
    const std::string name = with_underscores(name_in_file);
    for (const char * mark : {"transformer_transformer_blocks", "lora_transformer_", "double_blocks", "single_blocks",
                              "joint_blocks", "single_transformer_blocks"}) {
        if (name.find(mark) != std::string::npos) return "a diffusion transformer (Flux, Stable Diffusion 3 ...)";
    }
    if (name.rfind("transformer_", 0) == 0) return "a diffusion transformer (Flux, Stable Diffusion 3 ...)";
    if (name.rfind("lora_prior_", 0) == 0) return "a prior (Stable Cascade)";
    return "";
}

}  // namespace latent::formats
