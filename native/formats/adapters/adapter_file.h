#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/tensor_source.h"

namespace latent::formats {

/// An adapter file and its strengths; a strength of 0 leaves that part unchanged.
struct AdapterUse {
    std::string path;
    double weight = 1;       // of the U-Net
    double text_weight = 1;  // of the text encoders
    std::string stamp;       // of the file's state; differs when the file has changed
    bool operator==(const AdapterUse & other) const {
        return path == other.path && weight == other.weight && text_weight == other.text_weight && stamp == other.stamp;
    }
};
using AdapterUses = std::vector<AdapterUse>;

/// How PEFT makes rotations from the numbers of an OFT file (OFTConfig).
struct PeftRotation {
    bool series = true;        // use_cayley_neumann: the first terms of a series; its sign is the opposite of the exact form's
    int terms = 5;             // num_cayley_neumann_terms
    bool constrained = false;  // coft: the norm of a block is at most epsilon / sqrt(number of blocks)
    double epsilon = 6e-5;
};

/// The tensors of an adapter file for one layer of a network, by their role: "down", "up", "mid", "alpha", "diff", "diff_b" ...
struct AdapterLayer {
    std::string name;  // as the file calls it: "lora_unet_mid_block_attentions_0_proj_in"
    std::map<std::string, const TensorInfo *> tensors;
    double factor = 0;  // scale of a low-rank change from a configuration beside the file; 0: alpha / rank of the file
    std::optional<PeftRotation> rotation;  // from the same configuration
    std::vector<std::string> unused;       // names of tensors that are in the file but in none of the layer's methods

    const TensorInfo * find(const char * role) const;
    bool has(const char * role) const { return find(role) != nullptr; }
};

/// An adapter file (LoRA and similar methods), read by its tensor names alone, without a model.
class AdapterFile {
public:
    /// Any container that models come in, or a folder from PEFT (adapter_model with adapter_config.json) or diffusers
    /// (pytorch_lora_weights). Reads only headers. Throws io, model_format; unsupported_model if it contains no adapter.
    static std::shared_ptr<const AdapterFile> open(const std::string & path_utf8);

    /// For messages: the name of the file.
    const std::string & name() const { return name_; }
    const std::vector<AdapterLayer> & layers() const { return layers_; }
    /// Names of tensors that are unknown, and of those that are known but not applied: bundled embeddings ("bundle_emb."), and
    /// PEFT's adapters of embedding tables, with that reason.
    const std::vector<std::string> & unknown() const { return unknown_; }
    const std::vector<std::string> & embeddings() const { return embeddings_; }
    /// The values of one of its tensors. Throws model_format if they are not finite or the type is not numeric.
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
