#pragma once

#include <string>

#include "core/span.h"
#include "core/tensor_source.h"

namespace latent {

// The parts of a model: the one table that the options of a load, dtypes, inspect(), convert() and messages read.

enum class ModelPart { unet, text_encoder, conditioner, image_encoder, vae };

struct PartTraits {
    ModelPart part;
    const char * name;    // in options, in JSON and on the command line: "textEncoder"
    const char * title;   // in a sentence: "the text encoder"
    bool has_own_source;  // a load takes it from a file of its own, under `name`
    /// What a block type for the whole model means to it; f32 where it means itself. A first stage stays f16: it is a twelfth of
    /// the weights and the last to touch the image. Text and image encoders take q8_0 at the least: their error enters every
    /// step.
    DType in_block_models;
};

/// In the order of the enumeration, which is that of `info` and of memory reports.
Span<const PartTraits> part_table();
const PartTraits & traits_of(ModelPart part);
inline const char * part_name(ModelPart part) {
    return traits_of(part).name;
}
/// "The text encoder", of a part's name; "The " and the name if it is none.
std::string part_title(const std::string & name);

/// The type of a part's weights where `wanted` is asked for the whole model.
DType part_default(ModelPart part, DType wanted);

// Where the canonical names of each part begin (formats/naming). Conditioners and text encoders share theirs; models with two
// text encoders (SDXL) have them under "conditioner.embedders.N.".
constexpr const char * unet_prefix = "model.diffusion_model.";
constexpr const char * stage_prefix = "first_stage_model.";
constexpr const char * cond_prefix = "cond_stage_model.";
constexpr const char * embedders_prefix = "conditioner.embedders.";
constexpr const char * image_prefix = "image_encoder.";

}  // namespace latent
