#pragma once

#include <cstdint>

#include "kernels/tile.h"

namespace latent::kernels {

/// A weight matrix as it is resident: `rows` rows of `k` elements, row-major, `row_bytes` apart. Types that kernels do not know
/// (quantised blocks) bring a function that turns one row into float32.
struct Matrix {
    const void * data = nullptr;
    int64_t rows = 0, k = 0, row_bytes = 0;
    Element type = Element::f32;
    void (*to_float)(const void * row, float * out, int64_t k) = nullptr;  // for Element::other
};

/// Shape of a 2-D convolution over [n, in, height, width] float32. Sides are those of the stored input, before `upsample`.
struct ConvShape {
    int64_t n = 1, in = 0, height = 0, width = 0;
    int64_t out = 0, out_height = 0, out_width = 0;
    int kernel = 3, stride = 1;
    int pad_left = 1, pad_top = 1;            // right and bottom follow from the output's size
    bool upsample = false;                    // nearest, twice the size, before the kernel
    int64_t crop_width = 0, crop_height = 0;  // of the doubled input, 0: all of it
};

/// What is added where results are written, none of it required.
struct ConvEpilogue {
    const float * bias = nullptr;         // [out]
    const float * channel_add = nullptr;  // [n, out]
    const float * residual = nullptr;     // as the output
};

enum class Gate { none, silu, gelu, quick_gelu };

struct LinearEpilogue {
    const float * bias = nullptr;      // [rows]
    Gate activation = Gate::none;      // gelu is the exact (erf) form
    const float * residual = nullptr;  // as the output, added after the activation
};

/// Parts of one operation, to be run by `threads` threads, thread = 0 ... threads - 1, in any order, without synchronisation.
struct Part {
    int thread = 0, threads = 1;
};

/// out[n, out, oh, ow] = conv(x, w) + epilogue, an implicit GEMM: no unfolded copy of x is made beyond a panel of 64 pixels.
void conv2d(const TileSet & tiles, const ConvShape & shape, const float * x, const Matrix & w, const ConvEpilogue & epilogue,
            float * out, Part part);

/// out[token][row] = w x + epilogue, x[token][k] with `x_stride` floats from token to token.
void linear(const TileSet & tiles, const float * x, int64_t tokens, int64_t x_stride, const Matrix & w,
            const LinearEpilogue & epilogue, float * out, Part part);

}  // namespace latent::kernels
