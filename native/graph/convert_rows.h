#pragma once

#include <cstdint>

#include "core/tensor_source.h"

namespace latent::graph {

/// Converts `rows` rows of `inner` elements between any two types: plain or block types to f32, f16, bf16 or a block type. Rows
/// hold whole blocks of both types (checked by the caller). Uses up to `threads` threads for large tensors. A stored block type
/// is decoded through f32, row by row.
void convert_rows(DType from, const void * source, DType to, void * destination, int64_t rows, int64_t inner, int threads);

/// One row of `inner` stored elements, at any address, as float32.
void row_to_f32(DType from, const uint8_t * source, float * out, int64_t inner);

/// Of one stored element or block, as ggml declares them: blocks with a scale and a minimum begin with a pair of halves.
uintptr_t block_alignment(DType type);

}  // namespace latent::graph
