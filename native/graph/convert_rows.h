#pragma once

#include <cstdint>

#include "core/tensor_source.h"

namespace latent::graph {

/// Converts `rows` rows of `inner` elements between any two types: plain or block types to f32, f16, bf16 or a block type. Rows
/// hold whole blocks of `to`; those of `from` may go across rows, as long as all of them together are whole blocks (checked by
/// the caller). Uses up to `threads` threads for large tensors. A stored block type is decoded through f32.
void convert_rows(DType from, const void * source, DType to, void * destination, int64_t rows, int64_t inner, int threads);

/// One row of `inner` stored elements, at any address, as float32.
void row_to_f32(DType from, const uint8_t * source, float * out, int64_t inner);

/// Rows [first, last) of the tensor at `source`, whose blocks may go across rows.
void rows_to_f32(DType from, const uint8_t * source, int64_t first, int64_t last, int64_t inner, float * out);

/// Of one stored element or block, as ggml declares them: blocks with a scale and a minimum begin with a pair of halves.
uintptr_t block_alignment(DType type);

}  // namespace latent::graph
