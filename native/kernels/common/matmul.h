#pragma once

#include <cstdint>

#include "kernels/common/int8.h"
#include "kernels/common/share.h"
#include "kernels/common/tile.h"
#include "kernels/common/vectors.h"

namespace latent::kernels {

/// A weight matrix in memory: `rows` rows of `k` elements, row-major, `row_bytes` apart; in a convolution, k = channel * taps +
/// tap. Types unknown to the kernels (quantised blocks) come with a function that converts whole blocks of a row to float32.
struct Matrix {
    const void * data = nullptr;
    int64_t rows = 0, k = 0, row_bytes = 0;
    Element type = Element::f32;
    // For Element::other:
    void (*to_float)(const void * blocks, float * out, int64_t count) = nullptr;
    int64_t block = 1, block_bytes = 0;  // elements and bytes of a block; k is a multiple of the former
    Block blocks = Block::unknown;

    /// Offset in bytes of element `at`, the first of a block, in a row.
    int64_t offset(int64_t at) const {
        return type == Element::f32 ? at * 4 : type == Element::other ? at / block * block_bytes : at * 2;
    }
};

/// Shape of a 2-D convolution over channels-last maps [n, height, width, channels]. Sides are those of the stored input, before
/// `upsample`. A linear layer is a convolution of one tap over an image of one row.
struct ConvShape {
    int64_t n = 1, in = 0, height = 0, width = 0;
    int64_t out = 0, out_height = 0, out_width = 0;
    int kernel = 3, stride = 1;
    int pad_left = 1, pad_top = 1;            // right and bottom padding follow from the output's size
    bool upsample = false;                    // nearest-neighbour, twice the size, before the convolution
    int64_t crop_width = 0, crop_height = 0;  // of the upsampled input, 0: all of it

    int taps() const { return kernel * kernel; }
    int64_t pixels() const { return n * out_height * out_width; }
    static ConvShape linear(int64_t tokens, int64_t in, int64_t out);
};

/// A second product of the same output pixels, added to the sums: rows x[pixel][0, w.k) times w. x has the form of the product's
/// input; its rows lie `row_bytes` apart.
struct SideProduct {
    const void * x = nullptr;
    int64_t row_bytes = 0;
    Matrix w;

    explicit operator bool() const { return x != nullptr; }
};

/// Applied when results are written; every part is optional: gate((sum + side) * gain + bias + channel_add) + residual.
struct Epilogue {
    const float * bias = nullptr;         // [out]
    const float * channel_add = nullptr;  // [n, out]
    const float * residual = nullptr;     // same shape as the output, float32
    Gate activation = Gate::none;
    /// Instead of the gate and the residual: out / 2 channels, the first half times gelu of the second. out / 2 is a multiple
    /// of 64.
    bool geglu = false;
    SideProduct side;              // not for products in 8-bit integers
    const float * gain = nullptr;  // [out]

    int64_t width(int64_t out) const { return geglu ? out / 2 : out; }
};

/// The destination of results: rows of float32 or bfloat16 (Form::bf16 of rows.h).
struct ProductOutput {
    void * data = nullptr;
    bool bf16 = false;
};

/// out[n, oh, ow, out] = conv(x, w) + epilogue. x: rows of the tile set's element type (rows.h), (plain float32 rows for float32
/// sets).
void conv2d(const TileSet & tiles, const VectorSet & vectors, const ConvShape & shape, const void * x, const Matrix & w,
            const Epilogue & epilogue, const ProductOutput & out, Share share);

/// The same in 8-bit integers. x: quantised rows (rows.h). `tiles` converts results to bfloat16.
void conv2d(const Int8Set & set, const TileSet & tiles, const VectorSet & vectors, const ConvShape & shape, const void * x,
            const Int8Matrix & w, const Epilogue & epilogue, const ProductOutput & out, Share share);

/// Scratch bytes per thread; `side`: the k of a side product, or 0.
int64_t conv_scratch(const TileSet & tiles, const ConvShape & shape, int64_t side = 0);

}  // namespace latent::kernels
