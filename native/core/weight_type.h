#pragma once

#include <optional>
#include <string>

#include "core/parameters.h"
#include "core/span.h"

namespace latent {

/// The element type of a weight if a type is requested for the whole model: one rule for converted files and for weights that are
/// quantised while loading.

/// Types that weights may be converted to, in files and in memory.
Span<const DType> weight_types();
/// "q8_0" -> DType; nullopt for other names.
std::optional<DType> weight_type_named(const std::string & name);

/// `wanted`, or, if its block does not divide a row of `inner` elements: q6_k -> q8_0, q5_k -> q5_0, q4_k -> q4_0, then f16. A
/// row of a convolution is everything but the output channel, IC*KH*KW.
DType fitting_type(DType wanted, int64_t inner);

/// The type in which a weight stored as `stored` is kept if no type is requested: the stored type if networks can compute with
/// it. Other block types become q8_0, 8-bit floats f16, other types f32. If blocks span rows (ComfyUI-GGUF stores some tensors as
/// rows of 256), the weight is quantised again, with about one bit more.
DType running_type(DType stored, bool whole_rows);

/// The type of a parameter: `wanted`, within its least bits and if its rows divide into blocks.
DType weight_type(const Parameter & parameter, DType wanted);

}  // namespace latent
