#include "cuda/product.h"

#include <algorithm>

#include "cuda/product_kernel.h"

namespace latent::cuda {
namespace {

struct TileCost {
    ProductTile tile;
    int m, n;
    double step;  // time for 64 elements of the sum, relative to an SM's time for a 128x128 tile
};
constexpr TileCost kTiles[] = {
    {ProductTile::t128x128, 128, 128, 1.0}, {ProductTile::t128x64, 128, 64, 0.58}, {ProductTile::t64x64, 64, 64, 0.34}};
constexpr double kBlockSteps = 2.5;   // overhead of a block, in steps
constexpr double kJoinLaunch = 5.0;   // in steps of 128x128, about 0.5 us each
constexpr double kJoinBytes = 1.2e6;  // bytes of partial sums written and read per step, over all multiprocessors

int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

}  // namespace

ProductPlan plan_product(int64_t m, int64_t columns, int64_t k, WeightKind kind, bool gated, int multiprocessors) {
    const int64_t steps = ceil_div(k, 64), n = gated ? 2 * columns : columns;
    ProductPlan best;
    double best_time = 1e300;
    for (const TileCost & tile : kTiles) {
        if (kind != WeightKind::plain && tile.tile == ProductTile::t128x128) continue;
        const int64_t blocks = ceil_div(m, tile.m) * ceil_div(n, tile.n);
        for (int splits = 1; splits <= 32 && (splits == 1 || (!gated && steps / splits >= 4)); ++splits) {
            const int64_t each = ceil_div(steps, splits);
            if (splits > 1 && each * (splits - 1) >= steps) continue;  // a part without work
            const int64_t all = blocks * splits, deep = ceil_div(all, multiprocessors);
            // Blocks on one multiprocessor hide each other's latency.
            const double alone = deep == 1 ? 1.35 : 1.0;
            double time = static_cast<double>(deep) * (static_cast<double>(each) + kBlockSteps) * tile.step * alone;
            if (splits > 1) time += kJoinLaunch + 8.0 * static_cast<double>(m * columns) * splits / kJoinBytes;
            if (time < best_time) best_time = time, best = {tile.tile, splits};
        }
    }
    return best;
}

uint64_t product_workspace(const ProductPlan & plan, int64_t m, int64_t columns) {
    return plan.splits > 1 ? static_cast<uint64_t>(plan.splits) * static_cast<uint64_t>(m * columns) * 4 : 0;
}

template <typename T>
void product(const ProductArgs & p, ProductTile tile, cudaStream_t stream) {
    switch (p.w.kind) {
        case WeightKind::plain: return product_plain<T>(p, tile, stream);
        case WeightKind::int8: return product_int8<T>(p, tile, stream);
        case WeightKind::int4: return product_int4<T>(p, tile, stream);
    }
}

template void product<bf16>(const ProductArgs &, ProductTile, cudaStream_t);
template void product<f16>(const ProductArgs &, ProductTile, cudaStream_t);

// ---- a few rows --------------------------------------------------------------------------------------------------------

namespace {

constexpr int kVectorRows = 8, kVectorWarps = 8;

/// Adds this lane's part of the sums of eight rows with one row of weights.
template <typename T, WeightKind kind>
LATENT_DEVICE void add_vectors(const VectorProductArgs & p, const VectorProductArgs::Sources & s, int weight_row, int first_row,
                               float * sums) {
    const int lane = threadIdx.x % 32;
    for (int k = lane * 8; k < s.w.in; k += 256) {
        WeightChunk<T, kind, false> chunk;
        chunk.fetch(s.w, weight_row, 0, k);
        float w[8], x[8];
        chunk.template values<true>(s.w, weight_row, 0, k, w);
        LATENT_UNROLL
        for (int r = 0; r < kVectorRows; ++r) {
            if (first_row + r >= p.rows) break;
            load8(s.x + static_cast<size_t>(first_row + r) * s.x_stride + k, x);
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) sums[r] += w[i] * x[i];
        }
    }
}

/// Sums of eight rows with one row of weights, over the lanes of a warp.
template <typename T, WeightKind kind>
LATENT_DEVICE void vector_sums(const VectorProductArgs & p, int weight_row, int first_row, float * sums) {
    LATENT_UNROLL
    for (int r = 0; r < kVectorRows; ++r) sums[r] = 0;
    add_vectors<T, kind>(p, p.main, weight_row, first_row, sums);
    if (p.side.w.in > 0) add_vectors<T, WeightKind::plain>(p, p.side, weight_row, first_row, sums);
    LATENT_UNROLL
    for (int r = 0; r < kVectorRows; ++r) {
        LATENT_UNROLL
        for (int mask = 16; mask > 0; mask /= 2) sums[r] += shuffle_xor(sums[r], mask);
    }
}

LATENT_DEVICE float scaled_and_shifted(const VectorProductArgs & p, int row, float sum) {
    if (p.gain) sum *= p.gain[row];
    return p.bias ? sum + p.bias[row] : sum;
}

template <typename T, WeightKind kind>
__global__ void __launch_bounds__(kVectorWarps * 32) vector_product_kernel(VectorProductArgs p) {
    const int column = static_cast<int>(blockIdx.x) * kVectorWarps + static_cast<int>(threadIdx.x) / 32;
    const int first_row = static_cast<int>(blockIdx.y) * kVectorRows;
    const int real = p.gated ? p.main.w.rows / 2 : p.main.w.rows;
    float sums[kVectorRows], gates[kVectorRows];
    vector_sums<T, kind>(p, column < real ? column : 0, first_row, sums);
    if (p.gated) vector_sums<T, kind>(p, (column < real ? column : 0) + real, first_row, gates);
    if (threadIdx.x % 32 != 0 || column >= p.columns) return;
    for (int r = 0; r < kVectorRows && first_row + r < p.rows; ++r) {
        float v = 0;
        if (column < real) {
            v = scaled_and_shifted(p, column, sums[r]);
            if (p.gated) v *= gelu(scaled_and_shifted(p, real + column, gates[r]));
            v = activate(v, p.activation);
            const size_t at = static_cast<size_t>(first_row + r) * p.columns + column;
            if (p.residual) v += p.residual[at];
        }
        p.y[static_cast<size_t>(first_row + r) * p.columns + column] = v;
    }
}

}  // namespace

template <typename T>
void vector_product(const VectorProductArgs & p, cudaStream_t stream) {
    const dim3 grid(static_cast<unsigned>((p.columns + kVectorWarps - 1) / kVectorWarps),
                    static_cast<unsigned>((p.rows + kVectorRows - 1) / kVectorRows));
    switch (p.main.w.kind) {
        case WeightKind::plain: return launch(vector_product_kernel<T, WeightKind::plain>, grid, kVectorWarps * 32, 0, stream, p);
        case WeightKind::int8: return launch(vector_product_kernel<T, WeightKind::int8>, grid, kVectorWarps * 32, 0, stream, p);
        case WeightKind::int4: return launch(vector_product_kernel<T, WeightKind::int4>, grid, kVectorWarps * 32, 0, stream, p);
    }
}

template void vector_product<bf16>(const VectorProductArgs &, cudaStream_t);
template void vector_product<f16>(const VectorProductArgs &, cudaStream_t);

}  // namespace latent::cuda
