#pragma once

#include <cstdint>

#include "kernels/common/int8.h"
#include "kernels/common/matmul.h"

namespace latent::kernels {

/// Sizes of scaled dot-product attention over [batch, tokens, heads * dim] float32 tensors, heads side by side.
struct AttentionShape {
    int64_t batch = 1, heads = 1, dim = 64;
    int64_t queries = 0, keys = 0;
    bool causal = false;  // a query attends to keys up to its own position
};

/// out[batch][query][heads * dim] = softmax(q k^T / sqrt(dim)) v, with the online softmax of flash attention: scores exist for 64
/// queries and 192 keys at a time. Sums, maxima and the softmax are float32; products follow the tile set. If `int8` is not null,
/// it computes the scores, which must not be causal.
void attention(const TileSet & tiles, const Int8Scores * int8, const AttentionShape & shape, const float * q, const float * k,
               const float * v, float * out, Share share);

/// Scratch bytes per thread for this attention: one head's keys and values, and the work on 64 queries.
int64_t attention_scratch(const TileSet & tiles, const Int8Scores * int8, const AttentionShape & shape);

}  // namespace latent::kernels
