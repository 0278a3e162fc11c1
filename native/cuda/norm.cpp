#include "cuda/norm.h"

#include <algorithm>

namespace latent::cuda {
namespace {

constexpr int kNormThreads = 256;

/// Mean and sum of squared distances of some numbers.
struct Moments {
    float count, mean, squares;
    LATENT_DEVICE void merge(float n, float m, float s) {
        const float all = count + n;
        if (all == 0.0f) return;
        const float away = m - mean, share = n / all;
        mean += away * share;
        squares += s + away * away * count * share;
        count = all;
    }
};

LATENT_DEVICE void shuffle_merge(Moments & m, int mask) {
    const float n = shuffle_xor(m.count, mask), mean = shuffle_xor(m.mean, mask), squares = shuffle_xor(m.squares, mask);
    // Both sides use the same order, so that both get the same result.
    if ((threadIdx.x & static_cast<unsigned>(mask)) == 0) {
        m.merge(n, mean, squares);
    } else {
        Moments other{n, mean, squares};
        other.merge(m.count, m.mean, m.squares);
        m = other;
    }
}

/// The range of pixels of a slice.
LATENT_DEVICE int slice_begin(int slice, int slices, int pixels) {
    return static_cast<int>(static_cast<int64_t>(pixels) * slice / slices);
}

template <typename T>
LATENT_DEVICE const T * eight_of(const GroupNormArgs & p, size_t pixel, int channel) {
    return channel < p.c1 ? static_cast<const T *>(p.x1) + pixel * p.c1 + channel
                          : static_cast<const T *>(p.x2) + pixel * p.c2 + channel - p.c1;
}

/// The place of a channel's moments in shared memory, [rows][8][eights]: threads, which have eight channels each, write side by
/// side. An odd number of eights puts neighbouring channels into different banks.
LATENT_DEVICE int found_place(int row, int channel, int stride) {
    return (row * 8 + channel % 8) * (stride / 8 | 1) + channel / 8;
}

/// One block per slice of an image. Each thread handles eight channels; sums are relative to the first value, so that a mean far
/// from zero costs no precision.
template <typename T>
__global__ void __launch_bounds__(kNormThreads) group_moments_kernel(GroupNormArgs p) {
    LATENT_SHARED(shared);
    float * const found = reinterpret_cast<float *>(shared);  // by found_place(), mean and sum of squared distances
    const int slice = static_cast<int>(blockIdx.x), image = static_cast<int>(blockIdx.y), thread = threadIdx.x;
    const int stride = p.c1 + p.c2, eights = stride / 8;
    const int across = eights < kNormThreads ? eights : kNormThreads, rows = kNormThreads / across;
    const int first = slice_begin(slice, p.slices, p.pixels), last = slice_begin(slice + 1, p.slices, p.pixels);
    const int row = thread / across;
    for (int eight = thread % across; eight < eights && row < rows; eight += across) {
        float origin[8] = {}, sum[8] = {}, squares[8] = {};
        const int begin = first + row, count = last > begin ? (last - begin + rows - 1) / rows : 0;
        if (count > 0) load8(eight_of<T>(p, static_cast<size_t>(image) * p.pixels + begin, eight * 8), origin);
        LATENT_UNROLL_4
        for (int pixel = begin; pixel < last; pixel += rows) {
            float v[8];
            load8(eight_of<T>(p, static_cast<size_t>(image) * p.pixels + pixel, eight * 8), v);
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) {
                const float away = v[i] - origin[i];
                sum[i] += away, squares[i] += away * away;
            }
        }
        LATENT_UNROLL
        for (int i = 0; i < 8; ++i) {
            const float mean = count ? sum[i] / static_cast<float>(count) : 0.0f;
            store_shared(found + found_place(row, eight * 8 + i, stride) * 2, count ? origin[i] + mean : 0.0f,
                         count ? squares[i] - sum[i] * mean : 0.0f);
        }
    }
    sync_threads();
    const int each = p.channels / p.groups;
    for (int base = 0; base < p.groups; base += kNormThreads / 8) {
        const int group = base + thread / 8;
        Moments m{0, 0, 0};
        for (int i = thread % 8; group < p.groups && i < rows * each; i += 8) {
            const int r = i / each, count = (last - first - r + rows - 1) / rows;
            const float * from = found + found_place(r, group * each + i % each, stride) * 2;
            if (last - first > r) m.merge(static_cast<float>(count), from[0], from[1]);
        }
        LATENT_UNROLL
        for (int mask = 1; mask < 8; mask *= 2) shuffle_merge(m, mask);
        if (group < p.groups && thread % 8 == 0) {
            float * to = p.moments + ((static_cast<size_t>(image) * p.slices + slice) * p.groups + group) * 2;
            to[0] = m.mean, to[1] = m.squares;
        }
    }
}

/// y = activation(x * factor + offset) with a factor and an offset for every channel of the image.
template <typename T>
__global__ void __launch_bounds__(kNormThreads) group_apply_kernel(GroupNormArgs p) {
    LATENT_SHARED(shared);
    const int image = static_cast<int>(blockIdx.y), thread = threadIdx.x;
    const int stride = p.c1 + p.c2, each = p.channels / p.groups;
    float * const factor = reinterpret_cast<float *>(shared);
    float * const offset = factor + stride;
    float * const group = offset + stride;  // mean, 1 / deviation
    for (int base = 0; base < p.groups; base += kNormThreads / 8) {
        const int g = base + thread / 8;
        Moments m{0, 0, 0};
        for (int slice = thread % 8; g < p.groups && slice < p.slices; slice += 8) {
            const int count = slice_begin(slice + 1, p.slices, p.pixels) - slice_begin(slice, p.slices, p.pixels);
            const float * from = p.moments + ((static_cast<size_t>(image) * p.slices + slice) * p.groups + g) * 2;
            m.merge(static_cast<float>(count) * static_cast<float>(each), from[0], from[1]);
        }
        LATENT_UNROLL
        for (int mask = 1; mask < 8; mask *= 2) shuffle_merge(m, mask);
        if (g < p.groups && thread % 8 == 0) group[2 * g] = m.mean, group[2 * g + 1] = rsqrt_approx(m.squares / m.count + p.eps);
    }
    sync_threads();
    for (int c = thread; c < stride; c += kNormThreads) {
        float f = 0, o = 0;
        if (c < p.channels) {
            f = group[c / each * 2 + 1] * p.weight[c];
            o = p.bias[c] - group[c / each * 2] * f;
            if (p.scale) {
                const size_t at = static_cast<size_t>(image) * p.extra_stride + c;
                const float s = 1.0f + p.scale[at];
                f *= s, o = o * s + p.shift[at];
            }
        }
        const int at = halves_place(stride, c);
        factor[at] = f, offset[at] = o;
    }
    sync_threads();
    const int eights = stride / 8;
    const int first = static_cast<int>(blockIdx.x) * kNormThreads + thread, step = p.blocks * kNormThreads;
    int eight = first % eights;
    LATENT_UNROLL_4
    for (int row = first / eights; row < p.pixels; row += step / eights) {
        const size_t pixel = static_cast<size_t>(image) * p.pixels + row;
        const int channel = eight * 8;
        eight += step % eights;
        if (eight >= eights) eight -= eights, ++row;
        float v[8], f[8], o[8];
        load8(eight_of<T>(p, pixel, channel), v);
        load_halves(factor, stride, channel, f), load_halves(offset, stride, channel, o);
        LATENT_UNROLL
        for (int i = 0; i < 8; ++i) v[i] = activate(v[i] * f[i] + o[i], p.activation);
        store8(static_cast<T *>(p.y) + pixel * stride + channel, v);
    }
}

LATENT_DEVICE float warp_sum(float v) {
    LATENT_UNROLL
    for (int mask = 16; mask > 0; mask /= 2) v += shuffle_xor(v, mask);
    return v;
}

/// One warp per row, which is read three times and stays in the first-level cache.
template <typename T>
__global__ void __launch_bounds__(kNormThreads) layer_norm_kernel(LayerNormArgs p) {
    const int row = static_cast<int>(blockIdx.x) * (kNormThreads / 32) + static_cast<int>(threadIdx.x) / 32;
    if (row >= p.rows) return;
    const int lane = threadIdx.x % 32;
    const T * x = static_cast<const T *>(p.x) + static_cast<size_t>(row) * p.stride;
    T * y = static_cast<T *>(p.y) + static_cast<size_t>(row) * p.stride;
    float v[4], w[4], b[4], sum = 0, squares = 0;
    for (int at = lane * 4; at < p.dim; at += 128) {
        load4(x + at, v);
        LATENT_UNROLL
        for (int i = 0; i < 4; ++i) sum += v[i];  // padding is 0
    }
    const float mean = warp_sum(sum) / static_cast<float>(p.dim);
    for (int at = lane * 4; at < p.dim; at += 128) {
        load4(x + at, v);
        LATENT_UNROLL
        for (int i = 0; i < 4; ++i) {
            const float away = at + i < p.dim ? v[i] - mean : 0.0f;
            squares += away * away;
        }
    }
    const float scale = rsqrt_approx(warp_sum(squares) / static_cast<float>(p.dim) + p.eps);
    for (int at = lane * 4; at < (p.dim + 7) / 8 * 8; at += 128) {
        load4(x + at, v), load4(p.weight + at, w), load4(p.bias + at, b);
        LATENT_UNROLL
        for (int i = 0; i < 4; ++i) v[i] = (v[i] - mean) * scale * w[i] + b[i];
        store4(y + at, v);
    }
}

int moments_rows(const GroupNormArgs & p) {
    return kNormThreads / std::min((p.c1 + p.c2) / 8, kNormThreads);
}

}  // namespace

void plan_group_norm(GroupNormArgs & p, int multiprocessors) {
    const int wanted = std::max(1, 3 * multiprocessors / p.batch);
    p.slices = std::clamp(std::min(wanted, p.pixels / (4 * moments_rows(p))), 1, 256);
    const int64_t eights = static_cast<int64_t>(p.pixels) * ((p.c1 + p.c2) / 8);
    p.blocks = static_cast<int>(std::clamp<int64_t>(std::min<int64_t>(2 * wanted, eights / (2 * kNormThreads)), 1, 65535));
}

uint64_t group_norm_workspace(const GroupNormArgs & p) {
    return static_cast<uint64_t>(p.batch) * p.slices * p.groups * 2 * sizeof(float);
}

template <typename T>
void group_norm(const GroupNormArgs & p, cudaStream_t stream) {
    const size_t stride = static_cast<size_t>(p.c1 + p.c2);
    launch(group_moments_kernel<T>, dim3(static_cast<unsigned>(p.slices), static_cast<unsigned>(p.batch)), kNormThreads,
           static_cast<size_t>(moments_rows(p)) * (stride / 8 | 1) * 64, stream, p);
    launch(group_apply_kernel<T>, dim3(static_cast<unsigned>(p.blocks), static_cast<unsigned>(p.batch)), kNormThreads,
           (stride * 2 + static_cast<size_t>(p.groups) * 2) * sizeof(float), stream, p);
}

template <typename T>
void layer_norm(const LayerNormArgs & p, cudaStream_t stream) {
    constexpr int rows = kNormThreads / 32;
    launch(layer_norm_kernel<T>, dim3(static_cast<unsigned>((p.rows + rows - 1) / rows)), kNormThreads, 0, stream, p);
}

template void group_norm<bf16>(const GroupNormArgs &, cudaStream_t);
template void group_norm<f16>(const GroupNormArgs &, cudaStream_t);
template void layer_norm<bf16>(const LayerNormArgs &, cudaStream_t);
template void layer_norm<f16>(const LayerNormArgs &, cudaStream_t);
template void layer_norm<float>(const LayerNormArgs &, cudaStream_t);

}  // namespace latent::cuda
