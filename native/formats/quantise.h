#pragma once

#include <cstdint>

#include "core/span.h"
#include "core/tensor_source.h"

namespace latent::formats {

/// Bytes of `count` elements in whole blocks.
uint64_t dtype_bytes(DType type, int64_t count);

/// Plain or quantised bytes to float32. `count` is a multiple of the block.
void dequantise(DType type, const uint8_t * source, float * destination, int64_t count);

/// float32 to f32, f16, bf16 or a block type, row by row, on `threads` threads. `inner` (elements per row) is a multiple of the
/// block. Values must be finite, and below 65504 for anything but f32 and bf16: block scales are halves.
void quantise(DType type, Span<float> values, int64_t inner, uint8_t * destination, int threads);

/// The largest magnitude, infinity where any value is not finite.
float largest_magnitude(Span<const float> values);

}  // namespace latent::formats
