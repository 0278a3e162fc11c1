#pragma once

#include <cstdint>

#include "core/tensor_source.h"

namespace latent {

/// Whether quantise_k() supports the type: q4_k, q5_k and q6_k.
bool is_k_quant(DType type);

/// Quantises `count` finite values, a multiple of 256, into blocks of a type accepted by is_k_quant(), readable by ggml. As in
/// ggml's quantiser, the scale (and minimum) of every group of values is the weighted least-squares fit to the best of about
/// twenty roundings. All groups of a block are searched in parallel, which compilers vectorise.
void quantise_k(DType type, const float * values, int64_t count, uint8_t * out);

}  // namespace latent
