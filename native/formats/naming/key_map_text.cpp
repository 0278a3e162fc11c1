#include "formats/naming/key_map.h"

namespace latent::formats {

namespace {

bool is_clip_name(const std::string & name) {
    return starts_with(name, "embeddings.") || starts_with(name, "encoder.layers.") || starts_with(name, "final_layer_norm.");
}

bool is_open_clip_name(const std::string & name) {
    return name == "positional_embedding" || name == "token_embedding.weight" || starts_with(name, "transformer.resblocks.") ||
           starts_with(name, "ln_final.") || name == "text_projection" || name == "logit_scale" || name == "attn_mask" ||
           starts_with(name, "visual.");
}

constexpr const char * clip_tower = "transformer.text_model.";

/// q, k and v in one tensor of OpenCLIP's under Hugging Face's names, as stable-diffusion.cpp writes it: "weight" or "bias"; ""
/// for other names.
std::string fused_kind(const std::string & rest) {
    for (const char * name : {"self_attn.in_proj.", "attn.in_proj_"}) {
        if (starts_with(rest, name)) return rest.substr(std::string(name).size());
    }
    return "";
}

KeyTargets thirds(const std::string & layer, const std::string & kind) {
    KeyTargets targets;
    int third = 0;
    for (const char * name : {"q_proj.", "k_proj.", "v_proj."}) targets.push_back({layer + "self_attn." + name + kind, third++});
    return targets;
}

std::optional<KeyTargets> map_open_clip(const std::string & name) {
    const auto to = [](const std::string & rest) { return KeyTargets{{clip_tower + rest}}; };
    if (name == "positional_embedding") return to("embeddings.position_embedding.weight");
    if (name == "token_embedding.weight") return to("embeddings.token_embedding.weight");
    if (starts_with(name, "ln_final.")) return to("final_layer_norm" + name.substr(8));
    if (name == "text_projection") return KeyTargets{{"transformer.text_projection.weight", -1, -1, true}};
    if (!starts_with(name, "transformer.resblocks.")) return KeyTargets{};  // logit_scale, attn_mask, the vision tower
    return map_open_clip_block(name, clip_tower);
}

/// diffusers LDMBertModel -> TransformerEmbedder of x_transformer.
std::optional<KeyTargets> map_bert(const std::string & name) {
    const auto to = [](const std::string & rest) { return KeyTargets{{"transformer." + rest}}; };
    if (starts_with(name, "to_logits.")) return to(name);
    if (name == "model.embed_tokens.weight") return to("token_emb.weight");
    if (name == "model.embed_positions.weight") return to("pos_emb.emb.weight");
    if (starts_with(name, "model.layer_norm.")) return to("norm." + name.substr(17));
    const std::vector<std::string> parts = split_key(name);
    if (parts.size() < 5 || !starts_with(name, "model.layers.")) return std::nullopt;
    const int index = key_number(parts[2]);
    if (index < 0) return std::nullopt;
    const std::string attention = "attn_layers.layers." + std::to_string(2 * index),
                      feed = "attn_layers.layers." + std::to_string(2 * index + 1);
    const std::string rest = join_key(parts, 3).substr(1);
    static const char * const renames[][2] = {{"self_attn.q_proj.", "to_q."},
                                              {"self_attn.k_proj.", "to_k."},
                                              {"self_attn.v_proj.", "to_v."},
                                              {"self_attn.out_proj.", "to_out."}};
    for (const auto & pair : renames) {
        if (starts_with(rest, pair[0])) return to(attention + ".1." + pair[1] + rest.substr(std::string(pair[0]).size()));
    }
    if (starts_with(rest, "self_attn_layer_norm.")) return to(attention + ".0." + rest.substr(21));
    if (starts_with(rest, "fc1.")) return to(feed + ".1.net.0.0." + rest.substr(4));
    if (starts_with(rest, "fc2.")) return to(feed + ".1.net.2." + rest.substr(4));
    if (starts_with(rest, "final_layer_norm.")) return to(feed + ".0." + rest.substr(17));
    return std::nullopt;
}

}  // namespace

std::optional<KeyTargets> map_open_clip_block(const std::string & name, const std::string & tower) {
    const auto to = [&](const std::string & rest) { return KeyTargets{{tower + rest}}; };
    const std::vector<std::string> parts = split_key(name);
    if (parts.size() < 5 || key_number(parts[2]) < 0) return std::nullopt;
    const std::string layer = "encoder.layers." + parts[2] + '.';
    const std::string rest = join_key(parts, 3).substr(1);
    if (starts_with(rest, "ln_1.")) return to(layer + "layer_norm1" + rest.substr(4));
    if (starts_with(rest, "ln_2.")) return to(layer + "layer_norm2" + rest.substr(4));
    if (starts_with(rest, "mlp.c_fc.")) return to(layer + "mlp.fc1" + rest.substr(8));
    if (starts_with(rest, "mlp.c_proj.")) return to(layer + "mlp.fc2" + rest.substr(10));
    if (starts_with(rest, "attn.out_proj.")) return to(layer + "self_attn.out_proj" + rest.substr(13));
    if (const std::string kind = fused_kind(rest); kind == "weight" || kind == "bias") return thirds(tower + layer, kind);
    return std::nullopt;
}

std::optional<KeyTargets> map_text_key(const std::string & stored, bool & open_clip) {
    std::string name = stored;
    if (starts_with(name, "transformer.") &&
        (starts_with(name, "transformer.text_model.") || starts_with(name, "transformer.text_projection.") ||
         starts_with(name, "transformer.vision_model.") || starts_with(name, "transformer.visual_projection.") ||
         name == "transformer.logit_scale" || is_clip_name(name.substr(12)))) {
        name = name.substr(12);
    }
    if (starts_with(name, "model.") && is_open_clip_name(name.substr(6))) name = name.substr(6);
    if (starts_with(name, "text_model.")) name = name.substr(11);
    if (starts_with(name, "embeddings.position_ids")) return KeyTargets{};
    if (starts_with(name, "encoder.layers.")) {
        const std::vector<std::string> parts = split_key(name);
        const std::string kind = parts.size() > 4 ? fused_kind(join_key(parts, 3).substr(1)) : "";
        if (kind == "weight" || kind == "bias") {
            open_clip = true;
            return thirds(clip_tower + ("encoder.layers." + parts[2] + '.'), kind);
        }
    }
    if (is_clip_name(name)) return KeyTargets{{clip_tower + name}};
    if (name == "text_projection.weight") return KeyTargets{{"transformer." + name}};
    if (is_open_clip_name(name)) {
        open_clip = true;
        return map_open_clip(name);
    }
    if (starts_with(name, "model.layers.") || starts_with(name, "model.embed_") || starts_with(name, "model.layer_norm.") ||
        starts_with(name, "to_logits.")) {
        return map_bert(name);
    }
    if (starts_with(name, "vision_model.") || starts_with(name, "visual_projection.") || name == "logit_scale")
        return KeyTargets{};
    return KeyTargets{{name}};
}

}  // namespace latent::formats
