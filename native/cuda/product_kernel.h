#pragma once

#include "cuda/swizzle.h"
#include "cuda/weight_chunk.h"

namespace latent::cuda {

/// A block's tile of the result, its division among warps, and the number of steps of the sum in flight.
template <int M, int N, int WarpsM, int WarpsN, int Stages, int Blocks>
struct Tile {
    static constexpr int m = M, n = N, k = 64;
    static constexpr int warps_m = WarpsM, warps_n = WarpsN, threads = 32 * WarpsM * WarpsN;
    static constexpr int warp_m = M / WarpsM, warp_n = N / WarpsN;
    static constexpr int stages = Stages, blocks = Blocks;  // blocks: per multiprocessor, for the registers
    static constexpr int result_stride = N + 8;             // floats; rows of the finished tile in shared memory
    static constexpr int pipeline_bytes = Stages * (M + N) * k * 2;
    static constexpr int result_bytes = M * result_stride * 4;
    static constexpr int shared_bytes = pipeline_bytes > result_bytes ? pipeline_bytes : result_bytes;
};

/// Applies the gain and the bias of eight rows of the matrix to their sums.
LATENT_DEVICE void scale_and_shift(const ProductArgs & p, int row, float * v) {
    float more[8];
    if (p.gain) {
        load8(p.gain + row, more);
        LATENT_UNROLL
        for (int i = 0; i < 8; ++i) v[i] *= more[i];
    }
    if (p.bias) {
        load8(p.bias + row, more);
        LATENT_UNROLL
        for (int i = 0; i < 8; ++i) v[i] += more[i];
    }
}

/// Applies gain, bias, time embedding, activation and residual to eight channels of one pixel and writes them to y. Those of a
/// gate have gain and bias already.
template <typename T>
LATENT_DEVICE void finish_chunk(const ProductArgs & p, int m, int column, float * v) {
    float more[8];
    if (!p.gated) scale_and_shift(p, column, v);
    if (p.channel_add) {
        const int image = m / (p.out_height * p.out_width);
        load8(p.channel_add + static_cast<size_t>(image) * p.add_stride + column, more);
        LATENT_UNROLL
        for (int i = 0; i < 8; ++i) v[i] += more[i];
    }
    if (p.activation) {
        LATENT_UNROLL
        for (int i = 0; i < 8; ++i) v[i] = activate(v[i], p.activation);
    }
    const size_t at = static_cast<size_t>(m) * p.columns + column;
    if (p.residual) {
        if (p.f32_extra)
            load8(static_cast<const float *>(p.residual) + at, more);
        else
            load8(static_cast<const T *>(p.residual) + at, more);
        LATENT_UNROLL
        for (int i = 0; i < 8; ++i) v[i] += more[i];
    }
    if (p.f32_out)
        store8(static_cast<float *>(p.y) + at, v);
    else
        store8(static_cast<T *>(p.y) + at, v);
}

/// The data that a thread loads: the same eight columns of some rows, step after step.
template <typename T, WeightKind kind, typename Tile, bool spatial>
struct Fetcher {
    static constexpr int rows_at_once = Tile::threads / 8;
    static constexpr int a_rows = Tile::m / rows_at_once, b_rows = Tile::n / rows_at_once;

    int eight, first_row;                                         // of this thread
    int to;                                                       // their place in a stage
    int channel, tap, dy, dx;                                     // position of its eight columns in the sum
    int base[spatial ? a_rows : 1], place[spatial ? a_rows : 1];  // first pixel of the image; y and x of the first tap
    int pixel[spatial ? a_rows : 1];                              // of this tap; -1: padding. Else that of the first row
    int weight_row[b_rows];
    WeightChunk<T, kind, spatial> ahead[kind == WeightKind::plain ? 1 : b_rows];

    LATENT_DEVICE void begin(const ProductArgs & p, const ProductSources & s, int m0, int n0, int step) {
        eight = threadIdx.x % 8, first_row = threadIdx.x / 8, to = swizzled(first_row, eight);
        const int k = step * Tile::k + eight * 8;
        tap = spatial ? k / s.w.in : 0;
        channel = k - tap * s.w.in;
        dy = spatial ? tap / p.kernel : 0, dx = spatial ? tap % p.kernel : 0;
        LATENT_UNROLL
        for (int i = 0; i < a_rows; ++i) {
            const int m = m0 + first_row + i * rows_at_once;
            if constexpr (spatial) {
                const int pixels = p.out_height * p.out_width, image = m / pixels, inside = m - image * pixels;
                const int y = inside / p.out_width, x = inside - y * p.out_width;
                base[i] = image * p.height * p.width;
                const int top = m < p.m ? y * p.stride - p.pad_top : -20000, left = x * p.stride - p.pad_left;
                place[i] = top * 65536 + (left & 0xffff);
            } else if (i == 0) {
                pixel[0] = m;
            }
        }
        LATENT_UNROLL
        for (int i = 0; i < b_rows; ++i) {
            const int row = n0 + first_row + i * rows_at_once;
            // With a gate, groups of eight values and eight gates alternate.
            const int gated = (row / 16 * 8 + row % 8) + (row / 8 % 2) * (s.w.rows / 2);
            const int within = p.gated ? row / 16 * 8 + row % 8 : row, bound = p.gated ? s.w.rows / 2 : s.w.rows;
            weight_row[i] = within < bound ? (p.gated ? gated : row) : 0;  // columns without a row: write_tile() discards them
        }
        if constexpr (spatial) move(p, s);
    }

    /// The pixel of a row, -1: none. Without taps they follow each other, so that they need no registers.
    LATENT_DEVICE int pixel_of(const ProductArgs & p, int i) const {
        if constexpr (spatial) return pixel[i];
        const int m = pixel[0] + i * rows_at_once;
        return m < p.m ? m : -1;
    }

    /// The pixels under the current tap.
    LATENT_DEVICE void move(const ProductArgs & p, const ProductSources & s) {
        if constexpr (spatial) {
            LATENT_UNROLL
            for (int i = 0; i < a_rows; ++i) {
                const int y = (place[i] >> 16) + dy, x = static_cast<int16_t>(place[i] & 0xffff) + dx;
                const bool inside = y >= 0 && y < p.seen_height && x >= 0 && x < p.seen_width && tap < s.w.taps;
                pixel[i] = inside ? base[i] + (y >> p.upsample) * p.width + (x >> p.upsample) : -1;
            }
        }
    }

    /// Starts this thread's copies for its current step; quantised weights are loaded into registers.
    LATENT_DEVICE void fetch(const ProductArgs & p, const ProductSources & s, T * a, T * b) {
        const bool inside = in_sum(s);
        const bool second = inside && channel >= s.c1;
        const int c = second ? channel - s.c1 : inside ? channel : 0, a_bytes = (second ? s.c2 : s.c1) * 2;
        const T * from = static_cast<const T *>(second ? s.x2 : s.x1) + c;
        LATENT_UNROLL
        for (int i = 0; i < a_rows; ++i) {
            const int at = pixel_of(p, i);
            cp_async16(a + to + i * rows_at_once * Tile::k, row_at(from, at < 0 ? 0 : at, a_bytes), inside && at >= 0);
        }
        const int k = inside ? tap * s.w.in + channel : 0, b_bytes = s.w.taps * s.w.in * 2;
        LATENT_UNROLL
        for (int i = 0; i < b_rows; ++i) {
            if constexpr (kind == WeightKind::plain)
                cp_async16(b + to + i * rows_at_once * Tile::k,
                           row_at(static_cast<const T *>(s.w.data) + k, weight_row[i], b_bytes), inside);
            else
                ahead[i].fetch(s.w, weight_row[i], inside ? tap : 0, inside ? channel : 0);
        }
    }

    /// Dequantises the weights of the last load. Past the end of the sum these are any weights: what they are multiplied by is 0.
    LATENT_DEVICE void settle(const ProductSources & s, T * b) {
        if constexpr (kind != WeightKind::plain) {
            if (!spatial || s.w.taps == kUsualTaps)
                settle_rows<true>(s, b);
            else
                settle_rows<false>(s, b);
        }
        (void)s, (void)b;
    }
    template <bool usual_taps>
    LATENT_DEVICE void settle_rows(const ProductSources & s, T * b) {
        const bool inside = in_sum(s);
        LATENT_UNROLL
        for (int i = 0; i < b_rows; ++i) {
            float v[8];
            ahead[i].template values<usual_taps>(s.w, weight_row[i], inside ? tap : 0, inside ? channel : 0, v);
            store_shared(b + to + i * rows_at_once * Tile::k, packed<T>(v));
        }
    }

    LATENT_DEVICE bool in_sum(const ProductSources & s) const { return spatial ? tap < s.w.taps : channel < s.w.in; }

    LATENT_DEVICE void advance(const ProductArgs & p, const ProductSources & s) {
        channel += Tile::k;
        if constexpr (spatial) {
            if (channel < s.w.in) return;
            while (channel >= s.w.in) {
                channel -= s.w.in, ++tap, ++dx;
                if (dx == p.kernel) dx = 0, ++dy;
            }
            move(p, s);
        }
    }
};

/// The sum of one block, in the layout of mma: sums[i][j] is the 16x8 piece (i, j) of the warp's tile. `a` and `b` are the
/// thread's first places: those of other columns differ in bits of the swizzle, those of rows by whole eights of rows.
template <typename T, typename Tile>
LATENT_DEVICE void multiply_stage(const T * as, const T * bs, int a, int b, float (*sums)[Tile::warp_n / 8][4]) {
    LATENT_UNROLL
    for (int k = 0; k < Tile::k; k += 16) {
        uint32_t fa[Tile::warp_m / 16][4], fb[Tile::warp_n / 16][4];
        LATENT_UNROLL
        for (int i = 0; i < Tile::warp_m / 16; ++i) ldmatrix_x4(fa[i], as + (a ^ k) + i * 16 * Tile::k);
        LATENT_UNROLL
        for (int j = 0; j < Tile::warp_n / 16; ++j) ldmatrix_x4(fb[j], bs + (b ^ k) + j * 16 * Tile::k);
        LATENT_UNROLL
        for (int i = 0; i < Tile::warp_m / 16; ++i) {
            LATENT_UNROLL
            for (int j = 0; j < Tile::warp_n / 8; ++j) mma(T{}, sums[i][j], fa[i], &fb[j / 2][j % 2 * 2]);
        }
    }
}

/// Writes sums to shared memory, from where rows are finished eight channels at a time.
template <typename T, typename Tile>
LATENT_DEVICE void write_tile(const ProductArgs & p, float * result, int m0, int n0, int split) {
    constexpr int eights = Tile::n / 8;
    const int each = p.gated ? 2 : 1, rows = p.w.rows / each;
    for (int at = threadIdx.x * each; at < Tile::m * eights; at += Tile::threads * each) {
        const int row = at / eights, eight = at % eights, m = m0 + row;
        const int column = p.gated ? (n0 / 8 + eight) / 2 * 8 : n0 + eight * 8;
        if (m >= p.m || column >= p.columns) continue;
        float v[8];
        load_result(result + row * Tile::result_stride, eight * 8, v);
        if (p.gated) {
            float gate[8];
            load_result(result + row * Tile::result_stride, eight * 8 + 8, gate);
            scale_and_shift(p, column, v), scale_and_shift(p, p.w.rows / 2 + column, gate);
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) v[i] *= gelu(gate[i]);
        }
        // Channels that pad the last eight have no row.
        if (column + 8 > rows) {
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) v[i] = column + i < rows ? v[i] : 0.0f;
        }
        if (p.splits > 1)
            store_halves(p.partial + (static_cast<size_t>(split) * p.m + m) * p.columns, p.columns, column, v);
        else
            finish_chunk<T>(p, m, column, v);
    }
}

/// Adds `steps` blocks of a sum from the block `first`, as a pipeline of copies and products through shared memory, which is free
/// again afterwards.
template <typename T, WeightKind kind, typename Tile, bool spatial>
LATENT_DEVICE void add_blocks(const ProductArgs & p, const ProductSources & s, T * as, T * bs, int m0, int n0, int first,
                              int steps, float (*sums)[Tile::warp_n / 8][4]) {
    constexpr int a_size = Tile::m * Tile::k, b_size = Tile::n * Tile::k;
    const int warp = threadIdx.x / 32, warp_m = warp / Tile::warps_n * Tile::warp_m, warp_n = warp % Tile::warps_n * Tile::warp_n;
    Fetcher<T, kind, Tile, spatial> fetcher;
    fetcher.begin(p, s, m0, n0, first);
    LATENT_UNROLL
    for (int stage = 0; stage < Tile::stages - 1; ++stage) {
        if (stage < steps) {
            fetcher.fetch(p, s, as + stage * a_size, bs + stage * b_size);
            fetcher.settle(s, bs + stage * b_size);
            fetcher.advance(p, s);
        }
        cp_async_commit();
    }
    const int lane = threadIdx.x % 32;
    const int a = opaque(swizzled(warp_m + lane % 16, lane / 16));
    const int b = opaque(swizzled(warp_n + lane / 16 * 8 + lane % 8, lane / 8 % 2));
    int stage = 0, next = Tile::stages - 1;
    for (int step = 0; step < steps; ++step) {
        cp_async_wait<Tile::stages - 2>();
        sync_threads();
        const bool more = step + Tile::stages - 1 < steps;
        if (more) fetcher.fetch(p, s, as + next * a_size, bs + next * b_size);
        cp_async_commit();
        multiply_stage<T, Tile>(as + stage * a_size, bs + stage * b_size, a, b, sums);
        if (more) {
            fetcher.settle(s, bs + next * b_size);
            fetcher.advance(p, s);
        }
        stage = stage + 1 == Tile::stages ? 0 : stage + 1;
        next = next + 1 == Tile::stages ? 0 : next + 1;
    }
    cp_async_wait<0>();
    sync_threads();
}

template <typename T, WeightKind kind, typename Tile, bool spatial>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks) product_kernel(ProductArgs p) {
    LATENT_SHARED(shared);
    T * const as = reinterpret_cast<T *>(shared);
    T * const bs = as + Tile::stages * Tile::m * Tile::k;
    const int m0 = static_cast<int>(blockIdx.x) * Tile::m, n0 = static_cast<int>(blockIdx.y) * Tile::n;
    const int split = static_cast<int>(blockIdx.z);
    const int all = (p.w.taps * p.w.in + Tile::k - 1) / Tile::k, each = (all + p.splits - 1) / p.splits;
    const int first = split * each, steps = (first + each < all ? first + each : all) - first;
    float sums[Tile::warp_m / 16][Tile::warp_n / 8][4] = {};
    // An adapter's columns of the sum, in one part of a split one. First, because then fewer numbers are in registers.
    if (p.side.w.in > 0 && split == 0) {
        const int side_steps = (p.side.w.in + Tile::k - 1) / Tile::k;
        add_blocks<T, WeightKind::plain, Tile, false>(p, p.side, as, bs, m0, n0, 0, side_steps, sums);
    }
    add_blocks<T, kind, Tile, spatial>(p, p, as, bs, m0, n0, first, steps, sums);

    const int warp = threadIdx.x / 32, warp_m = warp / Tile::warps_n * Tile::warp_m, warp_n = warp % Tile::warps_n * Tile::warp_n;
    float * const result = reinterpret_cast<float *>(shared);
    const int lane = threadIdx.x % 32;
    LATENT_UNROLL
    for (int i = 0; i < Tile::warp_m / 16; ++i) {
        LATENT_UNROLL
        for (int j = 0; j < Tile::warp_n / 8; ++j) {
            LATENT_UNROLL
            for (int half = 0; half < 2; ++half) {
                float * const row = result + (warp_m + i * 16 + half * 8 + lane / 4) * Tile::result_stride;
                const int column = result_column(warp_n + j * 8 + lane % 4 * 2);
                store_shared(row + column, sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
            }
        }
    }
    sync_threads();
    write_tile<T, Tile>(p, result, m0, n0, split);
}

/// Adds the parts of a split sum and finishes them, eight channels per thread.
template <typename T>
__global__ void __launch_bounds__(256) join_kernel(ProductArgs p) {
    const size_t eights = static_cast<size_t>(p.m) * (p.columns / 8);
    const size_t at = static_cast<size_t>(blockIdx.x) * 256 + threadIdx.x;
    if (at >= eights) return;
    const int m = static_cast<int>(at / (p.columns / 8)), column = static_cast<int>(at % (p.columns / 8)) * 8;
    float v[8] = {}, more[8];
    for (int split = 0; split < p.splits; ++split) {
        load_halves(p.partial + (static_cast<size_t>(split) * p.m + m) * p.columns, p.columns, column, more);
        LATENT_UNROLL
        for (int i = 0; i < 8; ++i) v[i] += more[i];
    }
    finish_chunk<T>(p, m, column, v);
}

using Tile128x128 = Tile<128, 128, 2, 4, 3, 2>;
using Tile128x64 = Tile<128, 64, 4, 2, 3, 2>;
using Tile64x64 = Tile<64, 64, 2, 2, 4, 3>;

template <typename T, WeightKind kind, typename Tile, bool spatial>
void launch_product(const ProductArgs & p, cudaStream_t stream) {
    const int columns = p.gated ? 2 * p.columns : p.columns;
    const dim3 grid(static_cast<unsigned>((p.m + Tile::m - 1) / Tile::m),
                    static_cast<unsigned>((columns + Tile::n - 1) / Tile::n), static_cast<unsigned>(p.splits));
    launch(product_kernel<T, kind, Tile, spatial>, grid, Tile::threads, Tile::shared_bytes, stream, p);
    if (p.splits > 1) {
        const auto blocks = static_cast<unsigned>((static_cast<size_t>(p.m) * (p.columns / 8) + 255) / 256);
        launch(join_kernel<T>, dim3(blocks), 256, 0, stream, p);
    }
}

template <typename T, WeightKind kind, typename Tile>
void launch_product(const ProductArgs & p, cudaStream_t stream) {
    if (p.spatial)
        launch_product<T, kind, Tile, true>(p, stream);
    else
        launch_product<T, kind, Tile, false>(p, stream);
}

/// Each kind of weights is compiled separately.
template <typename T>
void product_plain(const ProductArgs & p, ProductTile tile, cudaStream_t stream);
template <typename T>
void product_int8(const ProductArgs & p, ProductTile tile, cudaStream_t stream);
template <typename T>
void product_int4(const ProductArgs & p, ProductTile tile, cudaStream_t stream);

}  // namespace latent::cuda
