#pragma once

#include <string>

#include "core/span.h"
#include "core/tensor_source.h"

namespace latent {

// The parts of a model: the single table for load options, dtypes, inspect(), convert() and messages.

enum class ModelPart { unet, text_encoder, conditioner, image_encoder, vae };

struct PartTraits {
    ModelPart part;
    const char * name;    // in options, in JSON and on the command line: "textEncoder"
    const char * title;   // in a sentence: "the text encoder"
    bool has_own_source;  // can be loaded from a separate file, with the option `name`
    /// The part's type if a block type is requested for the whole model; f32: the requested type itself. A first stage stays f16:
    /// it is a twelfth of the weights, and its error goes directly into the image. Text and image encoders have at least q8_0,
    /// because their error affects every step.
    DType in_block_models;
};

/// In the order of the enumeration, which `info` and memory reports use too.
Span<const PartTraits> part_table();
const PartTraits & traits_of(ModelPart part);
inline const char * part_name(ModelPart part) {
    return traits_of(part).name;
}
/// "The text encoder" for a part's name; "The " and the name if it is unknown.
std::string part_title(const std::string & name);

/// The type of a part's weights if `wanted` is requested for the whole model.
DType part_default(ModelPart part, DType wanted);

// Prefixes of the canonical names of each part (formats/naming). Conditioners and text encoders share one; models with two text
// encoders (SDXL) use "conditioner.embedders.N.".
constexpr const char * unet_prefix = "model.diffusion_model.";
constexpr const char * stage_prefix = "first_stage_model.";
constexpr const char * cond_prefix = "cond_stage_model.";
constexpr const char * embedders_prefix = "conditioner.embedders.";
constexpr const char * image_prefix = "image_encoder.";

}  // namespace latent
