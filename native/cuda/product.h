#pragma once

#include <cstdint>

#include "cuda/device_code.h"

namespace latent::cuda {

// Convolutions and linear layers are one product, [pixels, taps * in] x [out, taps * in]^T: without unfolding; the taps of a row
// are addresses. Values are rows of channels, padded to 8.

enum class WeightKind {
    plain,  // the element type, [rows][taps][in]
    int8,   // signed bytes in the same order; scale f16 per 32 of the stored order [in][taps]
    int4,   // nibbles in the same order, low one first; scale and minimum, f16 each, per 32: value = q * scale - minimum
};

/// Scales allocated past those of the last row. Kernels may load this many past a row; they do not use them.
constexpr int kScalesPastEnd = 2;

/// The layout of a matrix on the device.
struct WeightView {
    WeightKind kind = WeightKind::plain;
    const void * data = nullptr;
    const void * scales = nullptr;
    int rows = 0;    // out, or 2 * out with a gate
    int in = 0;      // channels per tap, padded to 8
    int taps = 1;    // kernel * kernel
    int groups = 0;  // of 32 per row
};

/// The operands of a sum.
struct ProductSources {
    const void *x1 = nullptr, *x2 = nullptr;  // channels of the first, then of the second
    int c1 = 0, c2 = 0;                       // padded channels, and the distance of rows; c2 0: one source
    WeightView w;
};

struct ProductArgs : ProductSources {
    ProductSources side;                  // of an adapter: the sum goes on over low x up^T, row by row; w.in 0: none, else plain
    const float * gain = nullptr;         // [rows], padded: of an adapter, multiplies the whole sum
    const float * bias = nullptr;         // [rows], padded
    const float * channel_add = nullptr;  // [batch, add_stride]
    const void * residual = nullptr;      // like y
    void * y = nullptr;
    float * partial = nullptr;  // [splits, m, columns] where splits > 1, rows by store_halves()
    int m = 0;                  // pixels of the result, of all images
    int columns = 0;            // channels of the result, padded to 8
    int activation = 0;
    int add_stride = 0;
    bool gated = false;      // rows of w: values, then gates
    bool f32_out = false;    // y is float
    bool f32_extra = false;  // residual is float
    // Of convolutions.
    int height = 0, width = 0;            // of x
    int seen_height = 0, seen_width = 0;  // after upsampling and cropping
    int out_height = 1, out_width = 1;
    int kernel = 1, stride = 1, pad_top = 0, pad_left = 0, upsample = 0;
    bool spatial = false;  // not 1x1 with stride 1
    int splits = 1;        // of the sum
};

enum class ProductTile { t128x128, t128x64, t64x64 };

struct ProductPlan {
    ProductTile tile = ProductTile::t64x64;
    int splits = 1;
};

/// Chooses the tile and the split of the sum that should be fastest, estimated from waves of blocks.
ProductPlan plan_product(int64_t m, int64_t columns, int64_t k, WeightKind kind, bool gated, int multiprocessors);
/// Bytes of `partial`.
uint64_t product_workspace(const ProductPlan & plan, int64_t m, int64_t columns);

/// y = activation(gain (x w^T + low up^T) + bias + channel_add) + residual.
template <typename T>
void product(const ProductArgs & p, ProductTile tile, cudaStream_t stream);

/// The same for a few rows in float32: x [rows, k], y [rows, columns]; one warp per column.
struct VectorProductArgs {
    struct Sources {
        const float * x = nullptr;
        int x_stride = 0;
        WeightView w;
    };
    Sources main, side;  // side: of an adapter; w.in 0: none, else plain
    const float * gain = nullptr;
    const float * bias = nullptr;
    const float * residual = nullptr;
    float * y = nullptr;
    int rows = 0, columns = 0, activation = 0;
    bool gated = false;
};
template <typename T>
void vector_product(const VectorProductArgs & p, cudaStream_t stream);

}  // namespace latent::cuda
