#pragma once

#include <optional>
#include <string>

#include "core/parameters.h"
#include "core/span.h"

namespace latent {

/// Which element type a weight gets where a type is asked for a whole model: one rule for files that are written and for weights
/// that are quantised as they are loaded.

/// What weights may be converted to, in files and in memory.
Span<const DType> weight_types();
/// "q8_0" -> DType; nullopt for a name that is none of them.
std::optional<DType> weight_type_named(const std::string & name);

/// `wanted`, or where its block does not divide a row of `inner` elements: q6_k -> q8_0, q5_k -> q5_0, q4_k -> q4_0, then f16.
/// Rows of a convolution are everything but the output channel, IC*KH*KW.
DType fitting_type(DType wanted, int64_t inner);

/// What a weight that is stored as `stored` is kept in where nobody asks for a type: as it is stored where networks compute with
/// that. Block types that they do not compute with become q8_0, 8-bit floats f16, other numbers f32. Where blocks go across
/// rows (ComfyUI-GGUF stores some tensors as rows of 256) the weight is quantised anew, with about a bit more than it had.
DType running_type(DType stored, bool whole_rows);

/// The type of a parameter: `wanted` within its least bits and where its rows divide into blocks.
DType weight_type(const Parameter & parameter, DType wanted);

}  // namespace latent
