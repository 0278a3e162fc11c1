#include "cuda/adapter_rows.h"

#include "cuda/cuda_api.h"
#include "cuda/row_items.h"

namespace latent::cuda {
namespace {

template <typename T>
__global__ void __launch_bounds__(kRowThreads) scale_kernel(ScaleArgs p) {
    const int eights = p.stride / 8;
    for (size_t at = first_item(); at < p.rows * eights; at += item_step()) {
        const int channel = static_cast<int>(at % eights) * 8;
        float v[8], more[8];
        load8(static_cast<const T *>(p.x) + at * 8, v);
        if (p.gain) {
            load8(p.gain + channel, more);
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) v[i] *= more[i];
        }
        if (p.shift) {
            load8(p.shift + channel, more);
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) v[i] += more[i];
        }
        store8(static_cast<T *>(p.y) + at * 8, v);
    }
}

template <typename T>
__global__ void __launch_bounds__(kRowThreads) gate_kernel(GateArgs p) {
    for (size_t at = first_item(); at < p.rows * p.stride; at += item_step()) {
        const T * const x = static_cast<const T *>(p.x) + at / p.stride * p.x_stride;
        const int channel = static_cast<int>(at % p.stride);
        T v = zero<T>();
        if (channel < p.channels) from_float(to_float(x[channel]) * gelu(to_float(x[p.channels + channel])), v);
        static_cast<T *>(p.y)[at] = v;
    }
}

template <typename T>
__global__ void __launch_bounds__(kRowThreads) fold_kernel(FoldArgs p) {
    for (size_t at = first_item(); at < p.rows * p.stride; at += item_step()) {
        const int channel = static_cast<int>(at % p.stride);
        T v = zero<T>();
        if (channel < p.channels) {
            const size_t number = at / p.stride * p.channels + channel;
            v = static_cast<const T *>(p.x)[number / p.x_channels * p.x_stride + number % p.x_channels];
        }
        static_cast<T *>(p.y)[at] = v;
    }
}

LATENT_DEVICE float table_value(const MixArgs & p, int at) {
    if (p.type == LATENT_CUDA_F16) return to_float(static_cast<const f16 *>(p.weight)[at]);
    if (p.type == LATENT_CUDA_BF16) return to_float(static_cast<const bf16 *>(p.weight)[at]);
    return static_cast<const float *>(p.weight)[at];
}

/// Eight channels of a group per thread.
template <typename T>
__global__ void __launch_bounds__(kRowThreads) mix_eights_kernel(MixArgs p) {
    const int eights = p.stride / 8;
    for (size_t at = first_item(); at < p.rows * eights; at += item_step()) {
        const int channel = static_cast<int>(at % eights) * 8, group = channel / p.width;
        const T * const x = static_cast<const T *>(p.x) + at / eights * p.x_stride + channel % p.width;
        float sum[8] = {}, v[8];
        for (int j = 0; j < p.groups; ++j) {
            const float w = table_value(p, group * p.groups + j);
            load8(x + j * p.width, v);
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) sum[i] += w * v[i];
        }
        if (p.residual) {
            load8(static_cast<const T *>(p.residual) + at * 8, v);
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) sum[i] += v[i];
        }
        store8(static_cast<T *>(p.y) + at * 8, sum);
    }
}

template <typename T>
__global__ void __launch_bounds__(kRowThreads) mix_kernel(MixArgs p) {
    for (size_t at = first_item(); at < p.rows * p.stride; at += item_step()) {
        const int channel = static_cast<int>(at % p.stride), group = channel / p.width;
        float sum = 0;
        if (group < p.groups_out) {
            const T * const x = static_cast<const T *>(p.x) + at / p.stride * p.x_stride + channel % p.width;
            for (int j = 0; j < p.groups; ++j) sum += table_value(p, group * p.groups + j) * to_float(x[j * p.width]);
            if (p.residual) sum += to_float(static_cast<const T *>(p.residual)[at]);
        }
        from_float(sum, static_cast<T *>(p.y)[at]);
    }
}

}  // namespace

template <typename T>
void scale_channels(const ScaleArgs & p, cudaStream_t stream) {
    launch(scale_kernel<T>, dim3(row_blocks(p.rows * (p.stride / 8))), kRowThreads, 0, stream, p);
}
template <typename T>
void gate_channels(const GateArgs & p, cudaStream_t stream) {
    launch(gate_kernel<T>, dim3(row_blocks(p.rows * p.stride)), kRowThreads, 0, stream, p);
}
template <typename T>
void fold_rows(const FoldArgs & p, cudaStream_t stream) {
    launch(fold_kernel<T>, dim3(row_blocks(p.rows * p.stride)), kRowThreads, 0, stream, p);
}
template <typename T>
void mix_groups(const MixArgs & p, cudaStream_t stream) {
    if (p.width % 8 == 0)
        launch(mix_eights_kernel<T>, dim3(row_blocks(p.rows * (p.stride / 8))), kRowThreads, 0, stream, p);
    else
        launch(mix_kernel<T>, dim3(row_blocks(p.rows * p.stride)), kRowThreads, 0, stream, p);
}

#define LATENT_ADAPTER_ROWS(T)                                        \
    template void scale_channels<T>(const ScaleArgs &, cudaStream_t); \
    template void gate_channels<T>(const GateArgs &, cudaStream_t);   \
    template void fold_rows<T>(const FoldArgs &, cudaStream_t);       \
    template void mix_groups<T>(const MixArgs &, cudaStream_t);
LATENT_ADAPTER_ROWS(bf16)
LATENT_ADAPTER_ROWS(f16)
LATENT_ADAPTER_ROWS(float)
#undef LATENT_ADAPTER_ROWS

}  // namespace latent::cuda
