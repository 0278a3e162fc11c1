#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "core/model_spec.h"
#include "networks/declared.h"

namespace latent::formats {

/// The layers of a model by every name that adapter files use: kohya's with underscores (CompVis and diffusers blocks), PEFT's,
/// diffusers', LyCORIS' and ComfyUI's.
class LayerNames {
public:
    LayerNames(const networks::DeclaredNetworks & networks, const ModelSpec & spec);

    /// The canonical name of a layer's weight without ".weight" ("model.diffusion_model.time_embed.0"); "" where this model has
    /// no such layer.
    std::string find(const std::string & name_in_file) const;

private:
    void add(const std::string & part, const std::string & alias, const std::string & layer);
    void add_unet(const networks::DeclaredNetwork & network, const ModelSpec & spec);
    void add_text(const networks::DeclaredNetwork & network, int index);

    std::unordered_map<std::string, std::string> layers_;  // "unet:" or "te1:" and a name with underscores
};

/// The kind of another network that a layer's name indicates, e.g. "a diffusion transformer"; "" if unknown.
std::string foreign_network(const std::string & name_in_file);

}  // namespace latent::formats
