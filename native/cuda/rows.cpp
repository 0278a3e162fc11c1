#include "cuda/rows.h"

#include "cuda/cuda_api.h"
#include "cuda/row_items.h"

namespace latent::cuda {
namespace {

template <typename From, typename To>
__global__ void __launch_bounds__(kRowThreads) convert_kernel(const void * x, void * y, size_t eights) {
    for (size_t at = first_item(); at < eights; at += item_step()) {
        float v[8];
        load8(static_cast<const From *>(x) + at * 8, v);
        store8(static_cast<To *>(y) + at * 8, v);
    }
}

template <typename T>
__global__ void __launch_bounds__(kRowThreads) add_kernel(const void * a, const void * b, void * y, size_t eights) {
    for (size_t at = first_item(); at < eights; at += item_step()) {
        float v[8], w[8];
        load8(static_cast<const T *>(a) + at * 8, v), load8(static_cast<const T *>(b) + at * 8, w);
        LATENT_UNROLL
        for (int i = 0; i < 8; ++i) v[i] += w[i];
        store8(static_cast<T *>(y) + at * 8, v);
    }
}

template <typename T>
__global__ void __launch_bounds__(kRowThreads) activation_kernel(const void * x, void * y, size_t eights, int kind) {
    for (size_t at = first_item(); at < eights; at += item_step()) {
        float v[8];
        load8(static_cast<const T *>(x) + at * 8, v);
        LATENT_UNROLL
        for (int i = 0; i < 8; ++i) v[i] = activate(v[i], kind);
        store8(static_cast<T *>(y) + at * 8, v);
    }
}

template <typename T>
__global__ void __launch_bounds__(kRowThreads) affine_kernel(AffineArgs p) {
    const int eights = p.stride / 8;
    for (size_t at = first_item(); at < p.rows * eights; at += item_step()) {
        const size_t row = at / eights;
        const int channel = static_cast<int>(at % eights) * 8;
        const size_t extra = row / p.pixels * p.extra_stride + channel;
        float v[8], s[8], t[8];
        load8(static_cast<const T *>(p.x) + row * p.stride + channel, v);
        load8(p.shift + extra, t);
        if (p.scale) {
            load8(p.scale + extra, s);
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) v[i] *= s[i];
        }
        LATENT_UNROLL
        for (int i = 0; i < 8; ++i) v[i] = channel + i < p.channels ? activate(v[i] + t[i], p.activation) : 0.0f;
        store8(static_cast<T *>(p.y) + row * p.stride + channel, v);
    }
}

template <typename T>
__global__ void __launch_bounds__(kRowThreads) concat_kernel(ConcatArgs p) {
    for (size_t at = first_item(); at < p.rows * p.stride; at += item_step()) {
        const size_t row = at / p.stride;
        const int channel = static_cast<int>(at % p.stride);
        T v = zero<T>();
        if (channel < p.a_channels)
            v = static_cast<const T *>(p.a)[row * p.a_stride + channel];
        else if (channel < p.a_channels + p.b_channels)
            v = static_cast<const T *>(p.b)[row * p.b_stride + channel - p.a_channels];
        static_cast<T *>(p.y)[at] = v;
    }
}

template <typename T>
__global__ void __launch_bounds__(kRowThreads) pick_kernel(PickArgs p) {
    for (size_t at = first_item(); at < p.rows * p.out_stride; at += item_step()) {
        const size_t row = at / p.out_stride;
        const int channel = static_cast<int>(at % p.out_stride), piece = channel / p.out_piece, i = channel % p.out_piece;
        T v = zero<T>();
        if (piece < p.pieces && i < p.count)
            v = static_cast<const T *>(p.x)[row * p.in_stride + piece * p.in_piece + p.first + i];
        static_cast<T *>(p.y)[at] = v;
    }
}

template <typename T>
__global__ void __launch_bounds__(kRowThreads) join_tokens_kernel(JoinTokensArgs p) {
    const int eights = p.stride / 8, length = p.a_length + p.b_length;
    for (size_t at = first_item(); at < static_cast<size_t>(p.batch) * length * eights; at += item_step()) {
        const size_t row = at / eights;
        const int channel = static_cast<int>(at % eights) * 8, token = static_cast<int>(row % length);
        const size_t image = row / length;
        const T * from = token < p.a_length ? static_cast<const T *>(p.a) + (image * p.a_length + token) * p.stride
                                            : static_cast<const T *>(p.b) + (image * p.b_length + token - p.a_length) * p.stride;
        float v[8];
        load8(from + channel, v);
        store8(static_cast<T *>(p.y) + row * p.stride + channel, v);
    }
}

template <typename T, bool up>
__global__ void __launch_bounds__(kRowThreads) resample_kernel(ResampleArgs p) {
    const int eights = p.stride / 8, height = up ? p.height * 2 : p.height / 2, width = up ? p.width * 2 : p.width / 2;
    const T * x = static_cast<const T *>(p.x);
    for (size_t at = first_item(); at < static_cast<size_t>(p.batch) * height * width * eights; at += item_step()) {
        const size_t pixel = at / eights;
        const int channel = static_cast<int>(at % eights) * 8, column = static_cast<int>(pixel % width);
        const int row = static_cast<int>(pixel / width % height);
        const size_t image = pixel / width / height * p.height;
        float v[8];
        if constexpr (up) {
            load8(x + ((image + row / 2) * p.width + column / 2) * p.stride + channel, v);
        } else {
            float sum[8] = {};
            for (int i = 0; i < 4; ++i) {
                load8(x + ((image + row * 2 + i / 2) * p.width + column * 2 + i % 2) * p.stride + channel, v);
                LATENT_UNROLL
                for (int j = 0; j < 8; ++j) sum[j] += v[j];
            }
            LATENT_UNROLL
            for (int j = 0; j < 8; ++j) v[j] = 0.25f * sum[j];
        }
        store8(static_cast<T *>(p.y) + pixel * p.stride + channel, v);
    }
}

LATENT_DEVICE size_t host_place(const LayoutArgs & p, size_t row, int channel) {
    if (!p.planes) return row * p.channels + channel;
    return (row / p.pixels * p.channels + channel) * p.pixels + row % p.pixels;
}

template <typename T>
__global__ void __launch_bounds__(kRowThreads) from_host_kernel(LayoutArgs p) {
    for (size_t at = first_item(); at < static_cast<size_t>(p.batch) * p.pixels * p.stride; at += item_step()) {
        const int channel = static_cast<int>(at % p.stride);
        T v = zero<T>();
        if (channel < p.channels) from_float(static_cast<const float *>(p.x)[host_place(p, at / p.stride, channel)], v);
        static_cast<T *>(p.y)[at] = v;
    }
}

template <typename T>
__global__ void __launch_bounds__(kRowThreads) to_host_kernel(LayoutArgs p) {
    for (size_t at = first_item(); at < static_cast<size_t>(p.batch) * p.pixels * p.channels; at += item_step()) {
        // Neighbouring threads write neighbouring elements of the host's layout.
        const size_t row = p.planes ? at / p.pixels / p.channels * p.pixels + at % p.pixels : at / p.channels;
        const int channel = static_cast<int>(p.planes ? at / p.pixels % p.channels : at % p.channels);
        static_cast<float *>(p.y)[at] = to_float(static_cast<const T *>(p.x)[row * p.stride + channel]);
    }
}

template <typename T>
__global__ void __launch_bounds__(kRowThreads) embed_kernel(EmbedArgs p) {
    for (size_t at = first_item(); at < p.rows * p.stride; at += item_step()) {
        const size_t row = at / p.stride;
        const int channel = static_cast<int>(at % p.stride);
        float v = 0;
        if (channel < p.channels) {
            const size_t entry = p.x ? row % p.length : static_cast<size_t>(p.ids[row]);
            const size_t from = entry * p.channels + channel;
            v = p.type == LATENT_CUDA_F16    ? to_float(static_cast<const f16 *>(p.table)[from])
                : p.type == LATENT_CUDA_BF16 ? to_float(static_cast<const bf16 *>(p.table)[from])
                                             : static_cast<const float *>(p.table)[from];
            if (p.x) v += to_float(static_cast<const T *>(p.x)[at]);
        }
        T typed;
        from_float(v, typed);
        static_cast<T *>(p.y)[at] = typed;
    }
}

}  // namespace

template <typename From, typename To>
void convert(const void * x, void * y, size_t count, cudaStream_t stream) {
    launch(convert_kernel<From, To>, dim3(row_blocks(count / 8)), kRowThreads, 0, stream, x, y, count / 8);
}
template <typename T>
void add(const void * a, const void * b, void * y, size_t count, cudaStream_t stream) {
    launch(add_kernel<T>, dim3(row_blocks(count / 8)), kRowThreads, 0, stream, a, b, y, count / 8);
}
template <typename T>
void activation(const void * x, void * y, size_t count, int kind, cudaStream_t stream) {
    launch(activation_kernel<T>, dim3(row_blocks(count / 8)), kRowThreads, 0, stream, x, y, count / 8, kind);
}
template <typename T>
void affine(const AffineArgs & p, cudaStream_t stream) {
    launch(affine_kernel<T>, dim3(row_blocks(p.rows * p.stride / 8)), kRowThreads, 0, stream, p);
}
template <typename T>
void concat_channels(const ConcatArgs & p, cudaStream_t stream) {
    launch(concat_kernel<T>, dim3(row_blocks(p.rows * p.stride)), kRowThreads, 0, stream, p);
}
template <typename T>
void pick_channels(const PickArgs & p, cudaStream_t stream) {
    launch(pick_kernel<T>, dim3(row_blocks(p.rows * p.out_stride)), kRowThreads, 0, stream, p);
}
template <typename T>
void concat_tokens(const JoinTokensArgs & p, cudaStream_t stream) {
    const size_t eights = static_cast<size_t>(p.batch) * (p.a_length + p.b_length) * (p.stride / 8);
    launch(join_tokens_kernel<T>, dim3(row_blocks(eights)), kRowThreads, 0, stream, p);
}
template <typename T>
void avg_pool2(const ResampleArgs & p, cudaStream_t stream) {
    const size_t eights = static_cast<size_t>(p.batch) * (p.height / 2) * (p.width / 2) * (p.stride / 8);
    launch(resample_kernel<T, false>, dim3(row_blocks(eights)), kRowThreads, 0, stream, p);
}
template <typename T>
void upsample2(const ResampleArgs & p, cudaStream_t stream) {
    const size_t eights = static_cast<size_t>(p.batch) * p.height * 4 * p.width * (p.stride / 8);
    launch(resample_kernel<T, true>, dim3(row_blocks(eights)), kRowThreads, 0, stream, p);
}
template <typename T>
void from_host_layout(const LayoutArgs & p, cudaStream_t stream) {
    launch(from_host_kernel<T>, dim3(row_blocks(static_cast<size_t>(p.batch) * p.pixels * p.stride)), kRowThreads, 0, stream, p);
}
template <typename T>
void to_host_layout(const LayoutArgs & p, cudaStream_t stream) {
    launch(to_host_kernel<T>, dim3(row_blocks(static_cast<size_t>(p.batch) * p.pixels * p.channels)), kRowThreads, 0, stream, p);
}
template <typename T>
void embed(const EmbedArgs & p, cudaStream_t stream) {
    launch(embed_kernel<T>, dim3(row_blocks(p.rows * p.stride)), kRowThreads, 0, stream, p);
}

#define LATENT_ROWS(T)                                                              \
    template void add<T>(const void *, const void *, void *, size_t, cudaStream_t); \
    template void activation<T>(const void *, void *, size_t, int, cudaStream_t);   \
    template void affine<T>(const AffineArgs &, cudaStream_t);                      \
    template void concat_channels<T>(const ConcatArgs &, cudaStream_t);             \
    template void pick_channels<T>(const PickArgs &, cudaStream_t);                 \
    template void concat_tokens<T>(const JoinTokensArgs &, cudaStream_t);           \
    template void avg_pool2<T>(const ResampleArgs &, cudaStream_t);                 \
    template void upsample2<T>(const ResampleArgs &, cudaStream_t);                 \
    template void from_host_layout<T>(const LayoutArgs &, cudaStream_t);            \
    template void to_host_layout<T>(const LayoutArgs &, cudaStream_t);              \
    template void embed<T>(const EmbedArgs &, cudaStream_t);
LATENT_ROWS(bf16)
LATENT_ROWS(f16)
LATENT_ROWS(float)
#undef LATENT_ROWS

template void convert<float, bf16>(const void *, void *, size_t, cudaStream_t);
template void convert<float, f16>(const void *, void *, size_t, cudaStream_t);
template void convert<bf16, float>(const void *, void *, size_t, cudaStream_t);
template void convert<f16, float>(const void *, void *, size_t, cudaStream_t);

}  // namespace latent::cuda
