#pragma once

#include "cuda/product.h"

namespace latent::cuda {

// What adapters do to rows of channels beside the products. T is bf16, f16 or float; strides are padded channels, and padding is
// written as 0.

/// x * gain + shift, by channel; one of them may be null.
struct ScaleArgs {
    const void * x = nullptr;
    const float *gain = nullptr, *shift = nullptr;  // padded
    void * y = nullptr;
    size_t rows = 0;
    int stride = 0;
};
template <typename T>
void scale_channels(const ScaleArgs & p, cudaStream_t stream);

/// y[c] = x[c] * gelu(x[channels + c])
struct GateArgs {
    const void * x = nullptr;
    void * y = nullptr;
    size_t rows = 0;
    int channels = 0, x_stride = 0, stride = 0;  // channels of y
};
template <typename T>
void gate_channels(const GateArgs & p, cudaStream_t stream);

/// The same numbers, row after row, in rows of other lengths.
struct FoldArgs {
    const void * x = nullptr;
    void * y = nullptr;
    size_t rows = 0;  // of y
    int x_channels = 0, x_stride = 0, channels = 0, stride = 0;
};
template <typename T>
void fold_rows(const FoldArgs & p, cudaStream_t stream);

/// y[i * width + c] = residual + sum over j of weight[i][j] x[j * width + c]
struct MixArgs {
    const void *x = nullptr, *weight = nullptr, *residual = nullptr;  // residual: like y, may be null
    void * y = nullptr;
    size_t rows = 0;
    int type = 0;                               // of the weight, latent_cuda_type: F32, F16 or BF16
    int groups_out = 0, groups = 0, width = 0;  // rows and columns of the weight
    int x_stride = 0, stride = 0;
};
template <typename T>
void mix_groups(const MixArgs & p, cudaStream_t stream);

}  // namespace latent::cuda
