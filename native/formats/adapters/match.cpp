#include "formats/adapters/match.h"

#include <algorithm>

#include "core/text.h"
#include "formats/adapters/deltas.h"

namespace latent::formats {
namespace {

std::string known_width(int64_t width) {
    switch (width) {
        case 768: return "768 (Stable Diffusion 1.x)";
        case 1024: return "1024 (Stable Diffusion 2.x)";
        case 2048: return "2048 (Stable Diffusion XL)";
        case 1280: return "1280 (the refiner of Stable Diffusion XL)";
        default: return std::to_string(width);
    }
}

/// Number of inputs of a layer's low-rank product, 0 if it has none.
int64_t inputs_of(const AdapterLayer & layer) {
    const TensorInfo * down = layer.find("down");
    return !down || down->shape.size() < 2 ? 0 : down->elements() / std::max<int64_t>(down->shape[0], 1);
}

bool is_context_layer(const std::string & canonical) {
    const auto ends = [&](const char * end) {
        const std::string text = end;
        return canonical.size() > text.size() && canonical.compare(canonical.size() - text.size(), text.size(), text) == 0;
    };
    return ends("attn2.to_k") || ends("attn2.to_v");
}

[[noreturn]] void unsupported(const std::string & message, const std::string & found, const std::string & nearest) {
    throw Error(ErrorCode::unsupported_model, message,
                Json{{"found", found.substr(0, 200)}, {"nearest", nearest}}.dump(-1, ' ', false, Json::error_handler_t::replace));
}

/// Families may have the same layer names; the width of the text that cross-attention reads tells them apart.
void check_family(const MatchedAdapter & matched, const ModelSpec & spec) {
    if (!spec.unet) return;
    const int64_t own = spec.unet->context_dim;
    for (const MatchedAdapter::Layer & layer : matched.layers) {
        const int64_t width = inputs_of(*layer.layer);
        if (!is_context_layer(layer.canonical) || width == 0 || width == own) continue;
        unsupported(matched.file->name() + " is an adapter for another model: its cross-attention reads text of width " +
                        known_width(width) + ", that of this model " + known_width(own),
                    known_width(width), spec.name);
    }
}

}  // namespace

Json MatchedAdapter::report(const std::string & path) const {
    Json matched = Json::array();
    for (const Layer & layer : layers) matched.push_back(layer.canonical);
    return {{"path", path}, {"name", file->name()}, {"matched", matched}, {"unmatched", unmatched}, {"skipped", skipped}};
}

MatchedAdapter match_adapter(AdapterFilePtr file, const LayerNames & names, const ModelSpec & spec) {
    MatchedAdapter matched;
    matched.file = std::move(file);
    std::string foreign;
    for (const AdapterLayer & layer : matched.file->layers()) {
        const LayerNames::Layers & targets = names.find(layer.name);
        if (targets.empty()) {
            matched.unmatched.push_back(layer.name);
            if (foreign.empty()) foreign = foreign_network(layer.name);
            continue;
        }
        const std::string form = not_applied(*matched.file, layer, *targets.front().weight, targets.front().parts);
        if (!form.empty()) {
            matched.skipped.push_back(layer.name + " (" + form + ")");
            continue;
        }
        for (const std::string & each : layer.unused) matched.skipped.push_back(each + " (in none of the methods of its layer)");
        for (const LayerNames::Layer & target : targets)
            matched.layers.push_back({&layer, target.name, target.part, target.parts});
    }
    check_family(matched, spec);
    const std::string & name = matched.file->name();
    if (matched.layers.empty() && matched.skipped.empty()) {
        const std::string called = "another kind of model; its layers are named " + first_of(matched.unmatched, 3);
        unsupported(name + " is an adapter for " + (foreign.empty() ? called : foreign) + "; none of its layers is in this model",
                    foreign.empty() ? matched.unmatched.front() : foreign, spec.name);
    }
    if (matched.layers.empty()) {
        unsupported(name + " uses an adapter method that is not supported: " + first_of(matched.skipped, 3),
                    matched.skipped.front(), "LoRA");
    }
    for (const std::string & each : matched.file->unknown()) matched.unmatched.push_back(each);
    for (const std::string & each : matched.file->embeddings()) matched.skipped.push_back(each);
    return matched;
}

}  // namespace latent::formats
