#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/tensor_source.h"

namespace latent::formats {

// One table per network from the names that files use to the canonical ones (those of CompVis; Hugging Face's for CLIP).
// Names are relative to their part: "input_blocks.0.0.weight", "encoder.conv_in.weight", "transformer.text_model. ...".

/// Where a stored tensor goes.
struct KeyTarget {
    std::string name;
    int third = -1;  // which third of the stored rows (fused q, k, v), -1: all rows
    int fused = -1;  // which of q, k, v in a fused canonical tensor, -1: the whole tensor
    bool transpose = false;
};

using KeyTargets = std::vector<KeyTarget>;  // empty: known but not needed

/// Facts about a diffusers U-Net that no single name tells.
struct UNetNaming {
    bool diffusers = false;
    int layers_per_block = 2;
    std::set<int> attention_up_blocks;  // up_blocks that have attentions

    /// Derived from all names of the part.
    static UNetNaming of(const std::vector<std::string> & names);
};

/// nullopt: an unknown name.
std::optional<KeyTargets> map_unet_key(const std::string & name, const UNetNaming & naming);

struct StageNaming {
    bool diffusers = false;
    bool tiny = false;  // TAESD
    int levels = 0;

    static StageNaming of(const std::vector<std::string> & names);
};

/// Which half of a tiny autoencoder (TAESD) a file with bare indices ("1.weight") contains: "encoder." or "decoder."; "" for
/// other files.
std::string tiny_half(const TensorSource & source);
/// Whether the names are those of a tiny autoencoder with prefixes: "encoder.0.weight", "decoder.layers.0.weight",
/// "taesd_decoder.1.weight".
bool is_tiny_stage(const TensorSource & source);

std::optional<KeyTargets> map_stage_key(const std::string & name, const StageNaming & naming);

/// CLIP text towers in every naming, LDMBert, and the small conditioners, whose names stay the same. `open_clip` is set if the
/// name is OpenCLIP's.
std::optional<KeyTargets> map_text_key(const std::string & name, bool & open_clip);

/// CLIP image towers in Hugging Face's, OpenAI's and OpenCLIP's naming; nullopt for other names. `open_clip` as above.
std::optional<KeyTargets> map_vision_key(const std::string & name, bool & open_clip);
/// A transformer block of OpenAI's and OpenCLIP's towers ("transformer.resblocks.3.attn.in_proj_weight") under `tower`.
std::optional<KeyTargets> map_open_clip_block(const std::string & name, const std::string & tower);

/// "down_blocks.1.resnets.0.conv1.weight" -> its components.
std::vector<std::string> split_key(const std::string & name);
/// Components [from, ...) joined again, each preceded by a dot: ".conv1.weight".
std::string join_key(const std::vector<std::string> & parts, size_t from);
inline bool starts_with(const std::string & text, const char * prefix) {
    return text.rfind(prefix, 0) == 0;
}
/// A number of at most four digits, or -1.
int key_number(const std::string & text);

}  // namespace latent::formats
