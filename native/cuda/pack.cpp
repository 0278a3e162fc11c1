#include "cuda/pack.h"

#include "cuda/cuda_api.h"

namespace latent::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlock8 = 34, kBlock4 = 18, kBlock4k = 144;  // bytes

unsigned blocks_for(uint64_t items) {
    return static_cast<unsigned>((items + kThreads - 1) / kThreads);
}

LATENT_DEVICE f16 half_at(const uint8_t * p) {
    return f16{static_cast<uint16_t>(p[0] | p[1] << 8)};
}

LATENT_DEVICE float plain_value(const void * source, int type, size_t at) {
    if (type == LATENT_CUDA_F16) return to_float(static_cast<const f16 *>(source)[at]);
    if (type == LATENT_CUDA_BF16) return to_float(static_cast<const bf16 *>(source)[at]);
    return static_cast<const float *>(source)[at];
}

/// The stored integer of an element.
LATENT_DEVICE int quantised(const uint8_t * source, int type, size_t at) {
    if (type == LATENT_CUDA_Q8_0) return static_cast<int8_t>(source[at / 32 * kBlock8 + 2 + at % 32]);
    if (type == LATENT_CUDA_Q4_0) {
        const uint8_t both = source[at / 32 * kBlock4 + 2 + at % 16];
        return at % 32 < 16 ? both & 15 : both >> 4;
    }
    const size_t inside = at % 256;
    const uint8_t both = source[at / 256 * kBlock4k + 16 + inside / 64 * 32 + inside % 32];
    return inside % 64 < 32 ? both & 15 : both >> 4;
}

/// Scale and minimum of a group of 32.
LATENT_DEVICE void group_scale(const uint8_t * source, int type, size_t group, float & scale, float & minimum) {
    if (type == LATENT_CUDA_Q4_0) {
        scale = to_float(half_at(source + group * kBlock4));
        minimum = 8.0f * scale;
        return;
    }
    const uint8_t * block = source + group / 8 * kBlock4k;
    const uint8_t * q = block + 4;
    const int j = static_cast<int>(group % 8);
    const int s = j < 4 ? q[j] & 63 : (q[j + 4] & 15) | (q[j - 4] >> 6) << 4;
    const int m = j < 4 ? q[j + 4] & 63 : q[j + 4] >> 4 | (q[j] >> 6) << 4;
    scale = to_float(half_at(block)) * static_cast<float>(s);
    minimum = to_float(half_at(block + 2)) * static_cast<float>(m);
}

/// The position of eight channels of a tap in the packed matrix, with their row, tap and channel.
struct Place {
    int row, tap, channel;
    LATENT_DEVICE explicit Place(const PackArgs & p, size_t at) {
        const int eights = p.padded / 8;
        channel = static_cast<int>(at % eights) * 8;
        tap = static_cast<int>(at / eights % p.taps);
        row = static_cast<int>(at / eights / p.taps);
    }
    LATENT_DEVICE size_t stored(const PackArgs & p, int i) const {
        return (static_cast<size_t>(row) * p.in + channel + i) * p.taps + tap;
    }
};

template <typename T>
__global__ void __launch_bounds__(kThreads) pack_plain_kernel(PackArgs p) {
    const size_t at = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (at >= static_cast<size_t>(p.rows) * p.taps * (p.padded / 8)) return;
    const Place place(p, at);
    float v[8];
    LATENT_UNROLL
    for (int i = 0; i < 8; ++i) v[i] = place.channel + i < p.in ? plain_value(p.source, p.type, place.stored(p, i)) : 0.0f;
    store8(static_cast<T *>(p.data) + at * 8, v);
}

__global__ void __launch_bounds__(kThreads) pack_quantised_kernel(PackArgs p) {
    const size_t at = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (at >= static_cast<size_t>(p.rows) * p.taps * (p.padded / 8)) return;
    const Place place(p, at);
    const auto * source = static_cast<const uint8_t *>(p.source);
    const bool bytes = p.type == LATENT_CUDA_Q8_0;
    uint32_t word[2] = {0, 0};
    LATENT_UNROLL
    for (int i = 0; i < 8; ++i) {
        const uint32_t q = static_cast<uint32_t>(quantised(source, p.type, place.stored(p, i))) & (bytes ? 255u : 15u);
        if (bytes)
            word[i / 4] |= q << (i % 4 * 8);
        else
            word[0] |= q << (i * 4);
    }
    uint32_t * to = static_cast<uint32_t *>(p.data) + at * (bytes ? 2 : 1);
    to[0] = word[0];
    if (bytes) to[1] = word[1];
}

__global__ void __launch_bounds__(kThreads) pack_scales_kernel(PackArgs p) {
    const size_t at = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (at >= static_cast<size_t>(p.rows) * p.in * p.taps / 32) return;
    const auto * source = static_cast<const uint8_t *>(p.source);
    if (p.type == LATENT_CUDA_Q8_0) {
        static_cast<f16 *>(p.scales)[at] = half_at(source + at * kBlock8);
        return;
    }
    float scale, minimum;
    group_scale(source, p.type, at, scale, minimum);
    static_cast<uint32_t *>(p.scales)[at] = pack<f16>(scale, minimum);
}

__global__ void __launch_bounds__(kThreads) pack_vector_kernel(const void * source, int type, float * data, int count) {
    const int at = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
    if (at < (count + 7) / 8 * 8) data[at] = at < count ? plain_value(source, type, static_cast<size_t>(at)) : 0.0f;
}

}  // namespace

WeightKind kind_of_type(int type) {
    if (type == LATENT_CUDA_Q8_0) return WeightKind::int8;
    return type == LATENT_CUDA_Q4_0 || type == LATENT_CUDA_Q4_K ? WeightKind::int4 : WeightKind::plain;
}

uint64_t row_bytes(int type, int64_t count) {
    const auto elements = static_cast<uint64_t>(count);
    switch (type) {
        case LATENT_CUDA_F32: return 4 * elements;
        case LATENT_CUDA_F16:
        case LATENT_CUDA_BF16: return 2 * elements;
        case LATENT_CUDA_Q8_0: return elements % 32 ? 0 : elements / 32 * kBlock8;
        case LATENT_CUDA_Q4_0: return elements % 32 ? 0 : elements / 32 * kBlock4;
        case LATENT_CUDA_Q4_K: return elements % 256 ? 0 : elements / 256 * kBlock4k;
        default: return 0;
    }
}

uint64_t packed_bytes(WeightKind kind, int64_t rows, int64_t padded, int64_t taps) {
    const auto count = static_cast<uint64_t>(rows * padded * taps);
    return kind == WeightKind::plain ? 2 * count : kind == WeightKind::int8 ? count : count / 2;
}

uint64_t scale_bytes(WeightKind kind, int64_t rows, int64_t elements) {
    const auto groups = static_cast<uint64_t>(rows * (elements / 32)) + kScalesPastEnd;
    return kind == WeightKind::plain ? 0 : kind == WeightKind::int8 ? 2 * groups : 4 * groups;
}

template <typename T>
void pack_matrix(const PackArgs & p, cudaStream_t stream) {
    const uint64_t eights = static_cast<uint64_t>(p.rows) * p.taps * (p.padded / 8);
    if (kind_of_type(p.type) == WeightKind::plain)
        return launch(pack_plain_kernel<T>, dim3(blocks_for(eights)), kThreads, 0, stream, p);
    launch(pack_quantised_kernel, dim3(blocks_for(eights)), kThreads, 0, stream, p);
    const uint64_t groups = static_cast<uint64_t>(p.rows) * p.in * p.taps / 32;
    launch(pack_scales_kernel, dim3(blocks_for(groups)), kThreads, 0, stream, p);
}

template void pack_matrix<bf16>(const PackArgs &, cudaStream_t);
template void pack_matrix<f16>(const PackArgs &, cudaStream_t);

void pack_vector(const void * source, int type, float * data, int count, cudaStream_t stream) {
    launch(pack_vector_kernel, dim3(blocks_for(static_cast<uint64_t>(count + 7))), kThreads, 0, stream, source, type, data,
           count);
}

}  // namespace latent::cuda
