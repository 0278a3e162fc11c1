#include "cuda/attention.h"

namespace latent::cuda {
namespace {

constexpr int kHeadWarps = 4, kHeadThreads = 32 * kHeadWarps;
constexpr float kNever = -1e30f;  // a masked score; finite, so that differences are finite

/// Copies rows of one head to shared memory, in rows of `stride`; elements beyond `rows` or `dim` become 0.
template <typename T>
LATENT_DEVICE void fetch_rows(T * to, int stride, int values, int count, const T * from, int from_stride, int rows, int dim) {
    const int eights = values / 8;
    for (int i = threadIdx.x; i < count * eights; i += kHeadThreads) {
        const int row = i / eights, column = i % eights * 8;
        const bool valid = row < rows && column < dim;
        cp_async16(to + row * stride + column, valid ? from + static_cast<size_t>(row) * from_stride + column : from, valid);
    }
}

/// The running softmax of one row of sixteen per half: a thread holds parts of rows lane / 4 and lane / 4 + 8.
struct RunningSoftmax {
    float highest[2] = {kNever, kNever};
    float sum[2] = {0, 0};  // only of this thread's scores

    /// Turns the scores of `tiles` tiles of eight keys into weights; earlier results have to be multiplied by `shrink`.
    template <int tiles>
    LATENT_DEVICE void take(float (*s)[4], float scale, float * shrink) {
        LATENT_UNROLL
        for (int half = 0; half < 2; ++half) {
            float top = kNever;
            LATENT_UNROLL
            for (int j = 0; j < tiles; ++j) top = fmaxf(top, fmaxf(s[j][half * 2], s[j][half * 2 + 1]));
            top = fmaxf(top, shuffle_xor(top, 1));
            top = fmaxf(top, shuffle_xor(top, 2));
            const float now = fmaxf(highest[half], top);
            shrink[half] = exp2_approx((highest[half] - now) * scale);
            highest[half] = now;
            const float base = now * scale;
            float added = 0;
            LATENT_UNROLL
            for (int j = 0; j < tiles; ++j) {
                LATENT_UNROLL
                for (int i = 0; i < 2; ++i) {
                    float & each = s[j][half * 2 + i];
                    each = exp2_approx(each * scale - base);
                    added += each;
                }
            }
            sum[half] = sum[half] * shrink[half] + added;
        }
    }
    LATENT_DEVICE float total(int half) const {
        float all = sum[half];
        all += shuffle_xor(all, 1);
        return all + shuffle_xor(all, 2);
    }
};

/// Masks keys beyond the end or after the query. `first_key`: of the tile; `query`: of row lane / 4.
template <int tiles>
LATENT_DEVICE void hide_keys(float (*s)[4], int first_key, int keys, bool causal, int query) {
    const int lane = threadIdx.x % 32;
    LATENT_UNROLL
    for (int j = 0; j < tiles; ++j) {
        LATENT_UNROLL
        for (int i = 0; i < 4; ++i) {
            const int key = first_key + j * 8 + lane % 4 * 2 + i % 2;
            if (key >= keys || (causal && key > query + i / 2 * 8)) s[j][i] = kNever;
        }
    }
}

/// Weights of sixteen keys as the left operand of the next product.
template <typename T>
LATENT_DEVICE void as_operand(const float (*s)[4], uint32_t * a) {
    a[0] = pack<T>(s[0][0], s[0][1]), a[1] = pack<T>(s[0][2], s[0][3]);
    a[2] = pack<T>(s[1][0], s[1][1]), a[3] = pack<T>(s[1][2], s[1][3]);
}

/// One row of sixteen of results to memory.
template <typename T, int tiles>
LATENT_DEVICE void write_rows(const AttentionArgs & p, const float (*o)[4], const RunningSoftmax & soft, T * y, int query,
                              int first, int dim) {
    const int lane = threadIdx.x % 32;
    LATENT_UNROLL
    for (int half = 0; half < 2; ++half) {
        const float all = soft.total(half), share = 1.0f / all;
        const int row = query + half * 8;
        if (row >= p.queries) continue;
        LATENT_UNROLL
        for (int j = 0; j < tiles; ++j) {
            const int column = first + j * 8 + lane % 4 * 2;
            if (column >= dim) continue;
            store(reinterpret_cast<uint32_t *>(y + static_cast<size_t>(row) * p.y_stride + column),
                  pack<T>(o[j][half * 2] * share, o[j][half * 2 + 1] * share));
        }
    }
}

/// Heads of width up to `Dim`. A warp handles `Rows` times sixteen queries; tiles of `Keys` keys and values are loaded one tile
/// ahead.
template <int Dim, int Rows, int Keys>
struct HeadShape {
    static constexpr int dim = Dim, rows = Rows, keys = Keys;
    static constexpr int queries = kHeadWarps * Rows * 16;
    static constexpr int stride = Dim + 8;  // an odd number of sixteen bytes: rows lie in different banks
    static constexpr int shared_bytes = (queries + 4 * Keys) * stride * 2;
};

template <typename T, typename Shape>
__global__ void __launch_bounds__(kHeadThreads) attention_kernel(AttentionArgs p) {
    LATENT_SHARED(shared);
    T * const qs = reinterpret_cast<T *>(shared);
    T * const ks = qs + Shape::queries * Shape::stride;  // two tiles
    T * const vs = ks + 2 * Shape::keys * Shape::stride;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int first_query = static_cast<int>(blockIdx.x) * Shape::queries, head = static_cast<int>(blockIdx.y);
    const size_t image = blockIdx.z;
    const T * q = static_cast<const T *>(p.q) + (image * p.queries + first_query) * p.q_stride + head * p.dim;
    const T * k = static_cast<const T *>(p.k) + image * p.keys * p.k_stride + head * p.dim;
    const T * v = static_cast<const T *>(p.v) + image * p.keys * p.v_stride + head * p.dim;
    const int seen = p.causal && first_query + Shape::queries < p.keys ? first_query + Shape::queries : p.keys;
    const int tiles = (seen + Shape::keys - 1) / Shape::keys;

    const auto fetch = [&](int tile) {
        const size_t key = static_cast<size_t>(tile) * Shape::keys;
        const int left = p.keys - tile * Shape::keys, at = tile % 2 * Shape::keys * Shape::stride;
        fetch_rows(ks + at, Shape::stride, Shape::dim, Shape::keys, k + key * p.k_stride, p.k_stride, left, p.dim);
        fetch_rows(vs + at, Shape::stride, Shape::dim, Shape::keys, v + key * p.v_stride, p.v_stride, left, p.dim);
    };
    fetch_rows(qs, Shape::stride, Shape::dim, Shape::queries, q, p.q_stride, p.queries - first_query, p.dim);
    fetch(0);
    cp_async_commit();
    cp_async_wait<0>();
    sync_threads();

    uint32_t fq[Shape::rows][Shape::dim / 16][4];
    const int warp_row = warp * Shape::rows * 16;
    LATENT_UNROLL
    for (int r = 0; r < Shape::rows; ++r) {
        LATENT_UNROLL
        for (int d = 0; d < Shape::dim / 16; ++d)
            ldmatrix_x4(fq[r][d], qs + (warp_row + r * 16 + lane % 16) * Shape::stride + d * 16 + lane / 16 * 8);
    }
    float o[Shape::rows][Shape::dim / 8][4] = {};
    RunningSoftmax soft[Shape::rows];
    const float scale = p.scale * kLog2e;

    for (int tile = 0; tile < tiles; ++tile) {
        if (tile > 0) {
            cp_async_wait<0>();
            sync_threads();
        }
        if (tile + 1 < tiles) fetch(tile + 1);
        cp_async_commit();
        const T * kt = ks + tile % 2 * Shape::keys * Shape::stride;
        const T * vt = vs + tile % 2 * Shape::keys * Shape::stride;
        float s[Shape::rows][Shape::keys / 8][4] = {};
        LATENT_UNROLL
        for (int d = 0; d < Shape::dim / 16; ++d) {
            LATENT_UNROLL
            for (int j = 0; j < Shape::keys / 16; ++j) {
                uint32_t fk[4];
                ldmatrix_x4(fk, kt + (j * 16 + lane / 16 * 8 + lane % 8) * Shape::stride + d * 16 + lane / 8 % 2 * 8);
                LATENT_UNROLL
                for (int r = 0; r < Shape::rows; ++r) {
                    mma(T{}, s[r][2 * j], fq[r][d], fk);
                    mma(T{}, s[r][2 * j + 1], fq[r][d], fk + 2);
                }
            }
        }
        const int first_key = tile * Shape::keys;
        const bool partial = first_key + Shape::keys > p.keys || (p.causal && first_key + Shape::keys > first_query);
        LATENT_UNROLL
        for (int r = 0; r < Shape::rows; ++r) {
            const int query = first_query + warp_row + r * 16 + lane / 4;
            if (partial) hide_keys<Shape::keys / 8>(s[r], first_key, p.keys, p.causal, query);
            float shrink[2];
            soft[r].template take<Shape::keys / 8>(s[r], scale, shrink);
            LATENT_UNROLL
            for (int j = 0; j < Shape::dim / 8; ++j) {
                o[r][j][0] *= shrink[0], o[r][j][1] *= shrink[0];
                o[r][j][2] *= shrink[1], o[r][j][3] *= shrink[1];
            }
        }
        LATENT_UNROLL
        for (int j = 0; j < Shape::keys / 16; ++j) {
            uint32_t weights[Shape::rows][4];
            LATENT_UNROLL
            for (int r = 0; r < Shape::rows; ++r) as_operand<T>(&s[r][2 * j], weights[r]);
            LATENT_UNROLL
            for (int d = 0; d < Shape::dim / 16; ++d) {
                uint32_t fv[4];
                ldmatrix_x4_trans(fv, vt + (j * 16 + lane % 16) * Shape::stride + d * 16 + lane / 16 * 8);
                LATENT_UNROLL
                for (int r = 0; r < Shape::rows; ++r) {
                    mma(T{}, o[r][2 * d], weights[r], fv);
                    mma(T{}, o[r][2 * d + 1], weights[r], fv + 2);
                }
            }
        }
    }
    T * y = static_cast<T *>(p.y) + image * p.queries * p.y_stride + head * p.dim;
    LATENT_UNROLL
    for (int r = 0; r < Shape::rows; ++r)
        write_rows<T, Shape::dim / 8>(p, o[r], soft[r], y, first_query + warp_row + r * 16 + lane / 4, 0, p.dim);
}

// ---- wide heads: 64 queries in shared memory, keys in pieces of 64 of a head, values in slices of 128, a block for each -----

constexpr int kWideQueries = 64, kWideKeys = 32, kWidePiece = 64, kWideSlice = 128;
constexpr int kPieceStride = kWidePiece + 8, kSliceStride = kWideSlice + 8;

int wide_shared_bytes(int dim) {
    const int padded = (dim + kWidePiece - 1) / kWidePiece * kWidePiece;
    return (kWideQueries * (padded + 8) + 2 * kWideKeys * kPieceStride + kWideKeys * kSliceStride) * 2;
}

template <typename T>
__global__ void __launch_bounds__(kHeadThreads) wide_attention_kernel(AttentionArgs p) {
    LATENT_SHARED(shared);
    const int pieces = (p.dim + kWidePiece - 1) / kWidePiece, slices = (p.dim + kWideSlice - 1) / kWideSlice;
    const int q_row = pieces * kWidePiece + 8;
    T * const qs = reinterpret_cast<T *>(shared);
    T * const ks = qs + kWideQueries * q_row;  // two pieces
    T * const vs = ks + 2 * kWideKeys * kPieceStride;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int first_query = static_cast<int>(blockIdx.x) * kWideQueries, head = static_cast<int>(blockIdx.y) / slices;
    const int slice = static_cast<int>(blockIdx.y) % slices * kWideSlice;
    const size_t image = blockIdx.z;
    const T * q = static_cast<const T *>(p.q) + (image * p.queries + first_query) * p.q_stride + head * p.dim;
    const T * k = static_cast<const T *>(p.k) + image * p.keys * p.k_stride + head * p.dim;
    const T * v = static_cast<const T *>(p.v) + image * p.keys * p.v_stride + head * p.dim + slice;
    const int seen = p.causal && first_query + kWideQueries < p.keys ? first_query + kWideQueries : p.keys;
    const int tiles = (seen + kWideKeys - 1) / kWideKeys, steps = tiles * pieces;

    const auto fetch_keys = [&](int step) {
        const int tile = step / pieces, piece = step % pieces * kWidePiece;
        fetch_rows(ks + step % 2 * kWideKeys * kPieceStride, kPieceStride, kWidePiece, kWideKeys,
                   k + static_cast<size_t>(tile) * kWideKeys * p.k_stride + piece, p.k_stride, p.keys - tile * kWideKeys,
                   p.dim - piece);
    };
    fetch_rows(qs, q_row, pieces * kWidePiece, kWideQueries, q, p.q_stride, p.queries - first_query, p.dim);
    fetch_keys(0);
    cp_async_commit();

    float o[kWideSlice / 8][4] = {}, s[kWideKeys / 8][4] = {};
    RunningSoftmax soft;
    const float scale = p.scale * kLog2e;
    for (int step = 0; step < steps; ++step) {
        const int tile = step / pieces, piece = step % pieces, first_key = tile * kWideKeys;
        cp_async_wait<0>();
        sync_threads();
        if (step + 1 < steps) fetch_keys(step + 1);
        // The previous tile's values are no longer needed; the new ones are ready at the next step.
        if (piece == 0)
            fetch_rows(vs, kSliceStride, kWideSlice, kWideKeys, v + static_cast<size_t>(first_key) * p.v_stride, p.v_stride,
                       p.keys - first_key, p.dim - slice);
        cp_async_commit();
        const T * kt = ks + step % 2 * kWideKeys * kPieceStride;
        LATENT_UNROLL
        for (int d = 0; d < kWidePiece / 16; ++d) {
            uint32_t fq[4];
            ldmatrix_x4(fq, qs + (warp * 16 + lane % 16) * q_row + piece * kWidePiece + d * 16 + lane / 16 * 8);
            LATENT_UNROLL
            for (int j = 0; j < kWideKeys / 16; ++j) {
                uint32_t fk[4];
                ldmatrix_x4(fk, kt + (j * 16 + lane / 16 * 8 + lane % 8) * kPieceStride + d * 16 + lane / 8 % 2 * 8);
                mma(T{}, s[2 * j], fq, fk);
                mma(T{}, s[2 * j + 1], fq, fk + 2);
            }
        }
        if (piece + 1 < pieces) continue;
        hide_keys<kWideKeys / 8>(s, first_key, p.keys, p.causal, first_query + warp * 16 + lane / 4);
        float shrink[2];
        soft.take<kWideKeys / 8>(s, scale, shrink);
        LATENT_UNROLL
        for (int j = 0; j < kWideSlice / 8; ++j) {
            o[j][0] *= shrink[0], o[j][1] *= shrink[0];
            o[j][2] *= shrink[1], o[j][3] *= shrink[1];
        }
        LATENT_UNROLL
        for (int j = 0; j < kWideKeys / 16; ++j) {
            uint32_t weights[4];
            as_operand<T>(&s[2 * j], weights);
            LATENT_UNROLL
            for (int d = 0; d < kWideSlice / 16; ++d) {
                uint32_t fv[4];
                ldmatrix_x4_trans(fv, vs + (j * 16 + lane % 16) * kSliceStride + d * 16 + lane / 16 * 8);
                mma(T{}, o[2 * d], weights, fv);
                mma(T{}, o[2 * d + 1], weights, fv + 2);
            }
        }
        LATENT_UNROLL
        for (int j = 0; j < kWideKeys / 8; ++j) s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0;
    }
    T * y = static_cast<T *>(p.y) + image * p.queries * p.y_stride + head * p.dim;
    write_rows<T, kWideSlice / 8>(p, o, soft, y, first_query + warp * 16 + lane / 4, slice, p.dim);
}

template <typename T, typename Shape>
void launch_heads(const AttentionArgs & p, cudaStream_t stream) {
    const dim3 grid(static_cast<unsigned>((p.queries + Shape::queries - 1) / Shape::queries), static_cast<unsigned>(p.heads),
                    static_cast<unsigned>(p.batch));
    launch(attention_kernel<T, Shape>, grid, kHeadThreads, Shape::shared_bytes, stream, p);
}

}  // namespace

template <typename T>
void attention(const AttentionArgs & p, cudaStream_t stream) {
    if (p.dim <= 32) return launch_heads<T, HeadShape<32, 2, 64>>(p, stream);
    if (p.dim <= 48) return launch_heads<T, HeadShape<48, 2, 64>>(p, stream);
    if (p.dim <= 64) return launch_heads<T, HeadShape<64, 2, 64>>(p, stream);
    if (p.dim <= 80) return launch_heads<T, HeadShape<80, 1, 64>>(p, stream);
    if (p.dim <= 96) return launch_heads<T, HeadShape<96, 1, 64>>(p, stream);
    if (p.dim <= 128) return launch_heads<T, HeadShape<128, 1, 32>>(p, stream);
    if (p.dim <= 160) return launch_heads<T, HeadShape<160, 1, 32>>(p, stream);
    const int slices = (p.dim + kWideSlice - 1) / kWideSlice;
    const dim3 grid(static_cast<unsigned>((p.queries + kWideQueries - 1) / kWideQueries), static_cast<unsigned>(p.heads * slices),
                    static_cast<unsigned>(p.batch));
    launch(wide_attention_kernel<T>, grid, kHeadThreads, static_cast<size_t>(wide_shared_bytes(p.dim)), stream, p);
}

template void attention<bf16>(const AttentionArgs &, cudaStream_t);
template void attention<f16>(const AttentionArgs &, cudaStream_t);

}  // namespace latent::cuda
