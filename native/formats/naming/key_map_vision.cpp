#include "formats/naming/key_map.h"

namespace latent::formats {

namespace {

constexpr const char * tower = "vision_model.";

std::optional<KeyTargets> map_open_clip_tower(const std::string & name) {
    const auto to = [](const std::string & rest) { return KeyTargets{{tower + rest}}; };
    if (name == "class_embedding") return to("embeddings.class_embedding");
    if (name == "positional_embedding") return to("embeddings.position_embedding.weight");
    if (name == "conv1.weight") return to("embeddings.patch_embedding.weight");
    if (starts_with(name, "ln_pre.")) return to("pre_layrnorm" + name.substr(6));
    if (starts_with(name, "ln_post.")) return to("post_layernorm" + name.substr(7));
    if (name == "proj") return KeyTargets{{"visual_projection.weight", -1, -1, true}};
    return starts_with(name, "transformer.resblocks.") ? map_open_clip_block(name, tower) : std::nullopt;
}

}  // namespace

std::optional<KeyTargets> map_vision_key(const std::string & stored, bool & open_clip) {
    std::string name = stored;
    if (starts_with(name, "model.visual.")) name = name.substr(6);
    if (starts_with(name, "visual.")) {
        open_clip = true;
        return map_open_clip_tower(name.substr(7));
    }
    if (starts_with(name, "vision_model.")) name = name.substr(13);
    if (starts_with(name, "embeddings.position_ids")) return KeyTargets{};
    if (name == "visual_projection.weight") return KeyTargets{{name}};
    for (const char * part : {"embeddings.class_embedding", "embeddings.patch_embedding.", "embeddings.position_embedding.",
                              "encoder.layers.", "pre_layrnorm.", "post_layernorm."}) {
        if (starts_with(name, part)) return KeyTargets{{tower + name}};
    }
    return std::nullopt;
}

}  // namespace latent::formats
