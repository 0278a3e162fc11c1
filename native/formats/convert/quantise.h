#pragma once

#include <cstdint>

#include "core/tensor_source.h"

namespace latent::formats {

/// Bytes of `count` elements in whole blocks.
uint64_t dtype_bytes(DType type, int64_t count);

/// Plain or quantised bytes to float32. `count` is a multiple of the block.
void dequantise(DType type, const uint8_t * source, float * destination, int64_t count);

/// Rows of `inner` elements from one type to another, f32, f16, bf16 or a block type, distributed over `threads` threads; the
/// result does not depend on their number. `inner` is a multiple of the target's block and `rows` * `inner` of the source's.
/// False, with an incomplete result, if a value is not finite or exceeds 65504, which only f32 and bf16 can hold: the scales of
/// blocks are f16.
bool requantise(DType from, const uint8_t * source, DType to, uint8_t * destination, int64_t rows, int64_t inner, int threads);

}  // namespace latent::formats
