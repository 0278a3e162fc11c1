#pragma once

#include <cstdint>

#include "cuda/device_code.h"

namespace latent::cuda {

// Operations on rows of channels. T is bf16, f16 or float; strides are padded channels, and padding is written as 0.

/// To another type, `count` values, a multiple of 8.
template <typename From, typename To>
void convert(const void * x, void * y, size_t count, cudaStream_t stream);

template <typename T>
void add(const void * a, const void * b, void * y, size_t count, cudaStream_t stream);
template <typename T>
void activation(const void * x, void * y, size_t count, int kind, cudaStream_t stream);

/// activation(x * scale + shift), scale and shift by image and channel; without a scale activation(x + shift).
struct AffineArgs {
    const void * x = nullptr;
    const float *scale = nullptr, *shift = nullptr;  // [batch, extra_stride]
    void * y = nullptr;
    size_t rows = 0;  // of all images
    int pixels = 0, channels = 0, stride = 0, extra_stride = 0, activation = 0;
};
template <typename T>
void affine(const AffineArgs & p, cudaStream_t stream);

/// Concatenates rows of `a` channels and `b` channels, for any counts.
struct ConcatArgs {
    const void *a = nullptr, *b = nullptr;
    void * y = nullptr;
    size_t rows = 0;
    int a_channels = 0, a_stride = 0, b_channels = 0, b_stride = 0, stride = 0;
};
template <typename T>
void concat_channels(const ConcatArgs & p, cudaStream_t stream);

/// y[row][piece * out_piece + i] = x[row][piece * in_piece + first + i] for i < count, else 0: a slice, one of q, k and v, heads
/// with and without padding.
struct PickArgs {
    const void * x = nullptr;
    void * y = nullptr;
    size_t rows = 0;
    int pieces = 1, first = 0, count = 0, in_piece = 0, out_piece = 0, in_stride = 0, out_stride = 0;
};
template <typename T>
void pick_channels(const PickArgs & p, cudaStream_t stream);

/// y[batch] = rows of a, then rows of b.
struct JoinTokensArgs {
    const void *a = nullptr, *b = nullptr;
    void * y = nullptr;
    int batch = 0, a_length = 0, b_length = 0, stride = 0;
};
template <typename T>
void concat_tokens(const JoinTokensArgs & p, cudaStream_t stream);

struct ResampleArgs {
    const void * x = nullptr;
    void * y = nullptr;
    int batch = 0, height = 0, width = 0, stride = 0;  // of x
};
template <typename T>
void avg_pool2(const ResampleArgs & p, cudaStream_t stream);
template <typename T>
void upsample2(const ResampleArgs & p, cudaStream_t stream);

/// Converts between the host's float32 (planes of [channels][pixels], or rows without padding) and rows.
struct LayoutArgs {
    const void * x = nullptr;
    void * y = nullptr;
    int batch = 0, pixels = 0, channels = 0, stride = 0;
    bool planes = false;
};
template <typename T>
void from_host_layout(const LayoutArgs & p, cudaStream_t stream);
template <typename T>
void to_host_layout(const LayoutArgs & p, cudaStream_t stream);

/// Rows of a table by id; with `x`, row i % length of the table is added to row i of x instead.
struct EmbedArgs {
    const int32_t * ids = nullptr;
    const void * x = nullptr;
    const void * table = nullptr;
    int type = 0;  // latent_cuda_type of the table
    void * y = nullptr;
    size_t rows = 0;
    int length = 0, channels = 0, stride = 0;
};
template <typename T>
void embed(const EmbedArgs & p, cudaStream_t stream);

}  // namespace latent::cuda
