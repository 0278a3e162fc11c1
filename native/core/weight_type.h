#pragma once

#include <cstdint>
#include <string_view>

#include "core/tensor_source.h"

namespace latent {

/// Which element type a weight gets where a type is asked for a whole model: one rule for files that are written and for weights
/// that are quantised as they are loaded.

/// `wanted`, or where its block does not divide a row of `inner` elements: q6_k -> q8_0, q5_k -> q5_0, q4_k -> q4_0, then
/// f16.
/// Rows of a convolution are everything but the output channel, IC*KH*KW.
DType fitting_type(DType wanted, int64_t inner);

/// What a weight that is stored as `stored` is kept in where nobody asks for a type: as it is stored where networks compute with
/// that. Block types that they do not compute with become q8_0, 8-bit floats f16, other numbers f32. Where blocks go across
/// rows (ComfyUI-GGUF stores some tensors as rows of 256) the weight is quantised anew, with about a bit more than it had.
DType running_type(DType stored, bool whole_rows);

/// Matrices whose rounding shows most and that weigh least: first and last convolutions, the time and class embeddings, token
/// tables, projections of a few rows. They stay in 16 or 32 bits where the others are quantised. `name` is canonical.
bool is_sensitive_weight(std::string_view name);

/// Small tables that are added, looked up or compared with, and so are kept in float32: positions, classes, label maps, codebooks
/// (a rounded codebook would choose other codes).
bool is_float_table(std::string_view name);

/// What quantising a whole model means for the part that `name` belongs to. A first stage stays f16: it is a twelfth of the
/// weights and the last to touch the picture. Text and image encoders take q8_0 at the least: their error enters every
/// step.
DType part_default(std::string_view name, DType wanted);

/// The type of a matrix of `inner` elements a row, everything above but part_default applied.
DType weight_type(std::string_view name, int64_t inner, DType wanted);

}  // namespace latent
