#pragma once

#include <string>
#include <vector>

#include "core/model_spec.h"
#include "formats/adapters/adapter_file.h"
#include "formats/adapters/layer_names.h"

namespace latent::formats {

/// What an adapter file contains for one model.
struct MatchedAdapter {
    struct Layer {
        const AdapterLayer * layer = nullptr;
        std::string canonical;    // the model's layer, without ".weight"
        int part = 0, parts = 1;  // as in AdaptedLayer
    };
    AdapterFilePtr file;
    std::vector<Layer> layers;
    std::vector<std::string> unmatched;  // names in the file that are not layers of the model
    std::vector<std::string> skipped;    // known, but not applied

    /// { path, name, matched, unmatched, skipped }
    Json report(const std::string & path) const;
};

/// Throws unsupported_model if nothing in the file is for this model, or its cross-attention reads text of another width.
MatchedAdapter match_adapter(AdapterFilePtr file, const LayerNames & names, const ModelSpec & spec);

}  // namespace latent::formats
