#pragma once

#include <cstdint>

#include "core/tensor_source.h"

namespace latent::graph {

/// Converts `rows` rows of `inner` elements between any two types: plain or block types to f32, f16, bf16 or a block type. Rows
/// contain whole blocks of `to`; blocks of `from` may span rows, as long as all rows together are whole blocks (checked by the
/// caller). Uses up to `threads` threads for large tensors. A stored block type is decoded through f32.
void convert_rows(DType from, const void * source, DType to, void * destination, int64_t rows, int64_t inner, int threads);

/// One row of `inner` stored elements, at any address, as float32.
void row_to_f32(DType from, const uint8_t * source, float * out, int64_t inner);

/// Rows [first, last) of the tensor at `source`, whose blocks may span rows.
void rows_to_f32(DType from, const uint8_t * source, int64_t first, int64_t last, int64_t inner, float * out);

/// Alignment of one stored element or block, as ggml declares it: blocks with a scale and a minimum begin with a pair of f16
/// values.
uintptr_t block_alignment(DType type);

}  // namespace latent::graph
