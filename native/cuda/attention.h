#pragma once

#include "cuda/device_code.h"

namespace latent::cuda {

/// softmax(q k^T * scale) v, heads adjacent in a row. Scores are never written to memory; the softmax is float32.
struct AttentionArgs {
    const void *q = nullptr, *k = nullptr, *v = nullptr;
    void * y = nullptr;
    int q_stride = 0, k_stride = 0, v_stride = 0, y_stride = 0;  // of a row
    int batch = 0, heads = 0, dim = 0;                           // dim: of a head, a multiple of 8, to kMaxHead
    int queries = 0, keys = 0;
    float scale = 0;
    bool causal = false;
};
constexpr int kMaxHead = 512;

template <typename T>
void attention(const AttentionArgs & p, cudaStream_t stream);

}  // namespace latent::cuda
