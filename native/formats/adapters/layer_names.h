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

    struct Layer {
        std::string name;                    // canonical, without ".weight": "model.diffusion_model.time_embed.0"
        const Parameter * weight = nullptr;  // of `networks`
        int part = 0, parts = 1;             // which of the equal parts of the file's rows (fused q, k and v)
    };
    using Layers = std::vector<Layer>;
    /// The layers that a name in a file stands for: one, or q, k and v for OpenCLIP's fused projection; empty where this model
    /// has no such layer. Valid as long as the networks.
    const Layers & find(const std::string & name_in_file) const;

private:
    void add(const std::string & part, const std::string & alias, Layer layer);
    void add_unet(const networks::DeclaredNetwork & network, const ModelSpec & spec);
    void add_text(const networks::DeclaredNetwork & network, int index);
    void add_open_clip(const std::string & part, const std::string & name, const Layer & layer);

    int towers_ = 0;
    std::unordered_map<std::string, Layers> layers_;  // "unet:" or "te1:" and a name with underscores
};

/// The kind of another network that a layer's name indicates, e.g. "a diffusion transformer"; "" if unknown.
std::string foreign_network(const std::string & name_in_file);

}  // namespace latent::formats
