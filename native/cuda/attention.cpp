#include "cuda/attention.h"

namespace latent::cuda {
namespace {

constexpr int kHeadWarps = 4, kHeadThreads = 32 * kHeadWarps;
constexpr float kNever = -1e30f;  // a masked score; finite, so that differences are finite

/// Rows of a head in shared memory, of `Values` numbers. Neither eight rows that ldmatrix reads nor eight neighbours that are
/// copied share banks: rows of whole 128 bytes are a sixteenth longer, in others, eights of columns change places by the row.
template <int Values>
struct HeadRows {
    static constexpr int eights = Values / 8, swaps = eights % 8 == 0 ? 1 : eights % 4 == 0 ? 4 : 2;
    static constexpr int stride = swaps == 1 ? Values + 8 : Values;
    static_assert(eights % 2 == 0, "of whole sixteens");
    LATENT_DEVICE static int place(int row, int eight) { return row * stride + (eight ^ (row / (8 / swaps) & (swaps - 1))) * 8; }
    /// From a place in the first two eights to the one 16 `d` columns on.
    LATENT_DEVICE static int across(int place, int d) {
        return swaps == 4 ? (place ^ (d % 2 * 16)) + d / 2 * 32 : place + d * 16;
    }
};

/// Copies eight numbers of a row, or zeros.
template <typename T>
LATENT_DEVICE void fetch_eight(T * to, const T * from, int stride, int row, int eight, int rows, int dim) {
    const bool valid = row < rows && eight * 8 < dim;
    cp_async16(to, from + (valid ? row * stride + eight * 8 : 0), valid);
}

/// Copies rows of one head to shared memory; elements beyond `rows` or `dim` become 0.
template <int values, int count, typename T>
LATENT_DEVICE void fetch_rows(int thread, T * to, const T * from, int stride, int rows, int dim) {
    using Rows = HeadRows<values>;
    static_assert(count * Rows::eights % kHeadThreads == 0, "each thread copies as much");
    LATENT_UNROLL
    for (int n = 0; n < count * Rows::eights / kHeadThreads; ++n) {
        const auto i = static_cast<unsigned>(thread + n * kHeadThreads);
        const int row = static_cast<int>(i / Rows::eights), eight = static_cast<int>(i % Rows::eights);
        fetch_eight(to + Rows::place(row, eight), from, stride, row, eight, rows, dim);
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

/// Sixteen rows of results to rows of shared memory.
template <typename T, int values, int tiles>
LATENT_DEVICE void keep_results(T * rows, const float (*o)[4], const RunningSoftmax & soft) {
    const int lane = threadIdx.x % 32;
    LATENT_UNROLL
    for (int half = 0; half < 2; ++half) {
        const float share = 1.0f / soft.total(half);
        LATENT_UNROLL
        for (int j = 0; j < tiles; ++j)
            store(reinterpret_cast<uint32_t *>(rows + HeadRows<values>::place(half * 8 + lane / 4, j) + lane % 4 * 2),
                  pack<T>(o[j][half * 2] * share, o[j][half * 2 + 1] * share));
    }
}

/// From there to memory, 16 bytes at a time, as far as there are rows.
template <int values, int count, typename T>
LATENT_DEVICE void write_results(T * to, int stride, const T * from, int rows, int dim) {
    using Rows = HeadRows<values>;
    LATENT_UNROLL
    for (int n = 0; n < count * Rows::eights / kHeadThreads; ++n) {
        const unsigned i = threadIdx.x + static_cast<unsigned>(n * kHeadThreads);
        const int row = static_cast<int>(i / Rows::eights), eight = static_cast<int>(i % Rows::eights);
        if (row < rows && eight * 8 < dim)
            store_global(to + row * stride + eight * 8, load(reinterpret_cast<const Chunk *>(from + Rows::place(row, eight))));
    }
}

/// Heads of width up to `Dim`. A warp handles `Rows` times sixteen queries; tiles of `Keys` keys and values are loaded one tile
/// ahead. `Blocks`: per multiprocessor, for the registers.
template <int Dim, int Rows, int Keys, int Blocks>
struct HeadShape {
    static constexpr int dim = (Dim + 15) / 16 * 16, tiles = Dim / 8;  // of sums of products, and of results
    static constexpr int rows = Rows, keys = Keys, blocks = Blocks;
    static constexpr int queries = kHeadWarps * Rows * 16;
    static constexpr int stride = HeadRows<dim>::stride;
    static constexpr int shared_bytes = (queries + 4 * Keys) * stride * 2;
};

template <typename T, typename Shape>
__global__ void __launch_bounds__(kHeadThreads, Shape::blocks) attention_kernel(AttentionArgs p) {
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
        // Of wider heads, more is in registers already.
        const int thread = Shape::dim < 64 ? static_cast<int>(threadIdx.x) : opaque(threadIdx.x);
        const size_t key = static_cast<size_t>(tile) * Shape::keys;
        const int left = p.keys - tile * Shape::keys, at = tile % 2 * Shape::keys * Shape::stride;
        fetch_rows<Shape::dim, Shape::keys>(thread, ks + at, k + key * p.k_stride, p.k_stride, left, p.dim);
        fetch_rows<Shape::dim, Shape::keys>(thread, vs + at, v + key * p.v_stride, p.v_stride, left, p.dim);
    };
    fetch_rows<Shape::dim, Shape::queries>(threadIdx.x, qs, q, p.q_stride, p.queries - first_query, p.dim);
    fetch(0);
    cp_async_commit();
    cp_async_wait<0>();
    sync_threads();

    uint32_t fq[Shape::rows][Shape::dim / 16][4];
    const int warp_row = warp * Shape::rows * 16;
    using Rows = HeadRows<Shape::dim>;
    // This thread's row of ldmatrix: of queries and values, and of keys.
    const int value_place = Rows::place(lane % 16, lane / 16), key_place = Rows::place(lane / 16 * 8 + lane % 8, lane / 8 % 2);
    LATENT_UNROLL
    for (int r = 0; r < Shape::rows; ++r) {
        LATENT_UNROLL
        for (int d = 0; d < Shape::dim / 16; ++d)
            ldmatrix_x4(fq[r][d], qs + (warp_row + r * 16) * Shape::stride + Rows::across(value_place, d));
    }
    float o[Shape::rows][Shape::tiles][4] = {};
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
                ldmatrix_x4(fk, kt + j * 16 * Shape::stride + Rows::across(key_place, d));
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
            for (int j = 0; j < Shape::tiles; ++j) {
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
                ldmatrix_x4_trans(fv, vt + j * 16 * Shape::stride + Rows::across(value_place, d));
                LATENT_UNROLL
                for (int r = 0; r < Shape::rows; ++r) {
                    mma(T{}, o[r][2 * d], weights[r], fv);
                    if (2 * d + 1 < Shape::tiles) mma(T{}, o[r][2 * d + 1], weights[r], fv + 2);
                }
            }
        }
    }
    sync_threads();  // the results take the place of the queries
    LATENT_UNROLL
    for (int r = 0; r < Shape::rows; ++r)
        keep_results<T, Shape::dim, Shape::tiles>(qs + (warp_row + r * 16) * Shape::stride, o[r], soft[r]);
    sync_threads();
    T * const y = static_cast<T *>(p.y) + (image * p.queries + first_query) * p.y_stride + head * p.dim;
    write_results<Shape::dim, Shape::queries>(y, p.y_stride, qs, p.queries - first_query, p.dim);
}

// ---- wide heads: 64 queries in shared memory, keys in pieces of 64 of a head, values in slices of 128, a block for each -----

constexpr int kWideQueries = 64, kWideKeys = 32, kWidePiece = 64, kWideSlice = 128;
constexpr int kPieceStride = HeadRows<kWidePiece>::stride, kSliceStride = HeadRows<kWideSlice>::stride;
static_assert(HeadRows<kWidePiece>::swaps == 1 && HeadRows<kWideSlice>::swaps == 1, "places in a row follow each other");

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
        fetch_rows<kWidePiece, kWideKeys>(threadIdx.x, ks + step % 2 * kWideKeys * kPieceStride,
                                          k + static_cast<size_t>(tile) * kWideKeys * p.k_stride + piece, p.k_stride,
                                          p.keys - tile * kWideKeys, p.dim - piece);
    };
    for (int i = threadIdx.x; i < kWideQueries * pieces * 8; i += kHeadThreads) {
        const int row = i / (pieces * 8), eight = i % (pieces * 8);
        fetch_eight(qs + row * q_row + eight * 8, q, p.q_stride, row, eight, p.queries - first_query, p.dim);
    }
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
            fetch_rows<kWideSlice, kWideKeys>(threadIdx.x, vs, v + static_cast<size_t>(first_key) * p.v_stride, p.v_stride,
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
    if (p.dim <= 32) return launch_heads<T, HeadShape<32, 2, 64, 3>>(p, stream);
    if (p.dim <= 40) return launch_heads<T, HeadShape<40, 2, 64, 2>>(p, stream);
    if (p.dim <= 48) return launch_heads<T, HeadShape<48, 2, 64, 2>>(p, stream);
    if (p.dim <= 64) return launch_heads<T, HeadShape<64, 2, 64, 2>>(p, stream);
    if (p.dim <= 80) return launch_heads<T, HeadShape<80, 1, 64, 3>>(p, stream);
    if (p.dim <= 96) return launch_heads<T, HeadShape<96, 1, 64, 2>>(p, stream);
    if (p.dim <= 128) return launch_heads<T, HeadShape<128, 1, 32, 3>>(p, stream);
    if (p.dim <= 160) return launch_heads<T, HeadShape<160, 1, 32, 2>>(p, stream);
    const int slices = (p.dim + kWideSlice - 1) / kWideSlice;
    const dim3 grid(static_cast<unsigned>((p.queries + kWideQueries - 1) / kWideQueries), static_cast<unsigned>(p.heads * slices),
                    static_cast<unsigned>(p.batch));
    launch(wide_attention_kernel<T>, grid, kHeadThreads, static_cast<size_t>(wide_shared_bytes(p.dim)), stream, p);
}

template void attention<bf16>(const AttentionArgs &, cudaStream_t);
template void attention<f16>(const AttentionArgs &, cudaStream_t);

}  // namespace latent::cuda
