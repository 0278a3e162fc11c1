#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/tensor_source.h"

namespace latent::formats {

/// A file of adapters and its strengths; 0 leaves a part as it is.
struct AdapterUse {
    std::string path;
    double weight = 1;       // of the U-Net
    double text_weight = 1;  // of the text encoders
    std::string stamp;       // of the file's state: another one means that the file has changed
    bool operator==(const AdapterUse & other) const {
        return path == other.path && weight == other.weight && text_weight == other.text_weight && stamp == other.stamp;
    }
};
using AdapterUses = std::vector<AdapterUse>;

/// The tensors that an adapter file has for one layer of a network, by what they are there: "down", "up", "mid", "alpha",
/// "diff", "diff_b" ...
struct AdapterLayer {
    std::string name;  // as the file calls it: "lora_unet_mid_block_attentions_0_proj_in"
    std::map<std::string, const TensorInfo *> tensors;
    double factor = 0;  // of a low rank, where a configuration beside the file says it; 0: alpha / rank of the file

    const TensorInfo * find(const char * role) const;
    bool has(const char * role) const { return find(role) != nullptr; }
};

/// A file of adapters (LoRA and its relatives) as its names tell it; which model it belongs to is not asked.
class AdapterFile {
public:
    /// A file of any container that models come in, or a folder of PEFT (adapter_model, with its adapter_config.json) or
    /// diffusers (pytorch_lora_weights). Reads headers. Throws io, model_format; unsupported_model where nothing in it is an
    /// adapter.
    static std::shared_ptr<const AdapterFile> open(const std::string & path_utf8);

    /// For messages: the name of the file.
    const std::string & name() const { return name_; }
    const std::vector<AdapterLayer> & layers() const { return layers_; }
    /// Tensors whose names say nothing to us, and those that are known and not applied ("bundle_emb."), by name.
    const std::vector<std::string> & unknown() const { return unknown_; }
    const std::vector<std::string> & embeddings() const { return embeddings_; }
    /// Numbers of one of its tensors. Throws model_format for numbers that are not finite, or a type that holds none.
    std::vector<float> read(const TensorInfo & tensor) const;

private:
    void group();
    void configure(const Json & config);

    std::string name_;
    TensorSourcePtr source_;
    std::vector<AdapterLayer> layers_;
    std::vector<std::string> unknown_, embeddings_;
};

using AdapterFilePtr = std::shared_ptr<const AdapterFile>;

}  // namespace latent::formats
