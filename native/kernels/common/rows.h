#pragma once

#include <cstdint>

#include "kernels/common/int8.h"
#include "kernels/common/share.h"
#include "kernels/common/tile.h"
#include "kernels/common/vectors.h"

namespace latent::kernels {

// Activations are rows of channels, one per pixel or token. Products read them in the form that their arithmetic needs.

enum class Form {
    f32,   // [rows][channels]
    bf16,  // [rows][channels rounded up to 2]
    int8,  // [rows][channels rounded up to 4] bytes, then, 64-byte aligned, [rows][blocks] scales
};

/// Rows in one form.
struct RowFormat {
    Form form = Form::f32;
    int64_t rows = 0, channels = 0;

    int64_t row_bytes() const;
    int64_t scales_at() const;  // byte offset of the scales (int8)
    int64_t bytes() const;
};

/// Float32 rows of one tensor, or of two side by side (a virtual concatenation of channels); or bfloat16 rows (Form::bf16), for
/// conversions.
struct RowSource {
    const float * data[2] = {nullptr, nullptr};
    int64_t channels[2] = {0, 0};
    const uint16_t * half = nullptr;

    int64_t total() const { return channels[0] + channels[1]; }
    /// The row itself if it is contiguous, else a copy in `buffer`.
    const float * row(const VectorSet & vectors, int64_t index, float * buffer) const;
};

/// The kernels used by the operations below.
struct RowKernels {
    const TileSet * tiles;  // for Form::bf16
    const Int8Set * int8;   // for Form::int8
    const VectorSet * vectors;
};

/// out = x in another form.
void convert_rows(const RowKernels & kernels, const RowSource & x, const RowFormat & format, void * out, Share share);

struct GroupNormShape {
    int64_t n = 1, channels = 0, pixels = 0;
    int groups = 32;
    float eps = 1e-5f;
    Gate gate = Gate::none;

    /// Pixels are processed in chunks, each with a mean and a sum of squared differences per group.
    int64_t chunk() const;
    int64_t chunks() const { return (pixels + chunk() - 1) / chunk(); }
    int64_t moments() const { return n * chunks() * groups * 2; }  // floats
};

/// moments[n, chunk, group, 2] of x.
void group_moments(const VectorSet & vectors, const GroupNormShape & shape, const RowSource & x, float * moments, Share share);

/// out = gate(group_norm(x) * weight + bias), with scale and shift [n, channels], the value before the gate is also multiplied by
/// (1 + scale) and increased by shift.
void group_norm(const RowKernels & kernels, const GroupNormShape & shape, const RowSource & x, const float * moments,
                const float * weight, const float * bias, const float * scale, const float * shift, Form form, void * out,
                Share share);

/// out = gate(x).
void activate_rows(const RowKernels & kernels, const float * x, Gate gate, const RowFormat & format, void * out, Share share);

/// out[row] = gate(x[row] * scale[row / pixels] + shift[row / pixels]); scale and shift: [images, channels].
void affine_rows(const RowKernels & kernels, const float * x, int64_t pixels, const float * scale, const float * shift, Gate gate,
                 const RowFormat & format, void * out, Share share);

/// out[row] = layer_norm(x[row]) * weight + bias.
void layer_norm(const RowKernels & kernels, const float * x, float eps, const float * weight, const float * bias,
                const RowFormat & format, void * out, Share share);

/// out[row] = x[row][0, channels) * gelu(x[row][channels, 2 channels)).
void geglu(const RowKernels & kernels, const float * x, const RowFormat & format, void * out, Share share);

/// [n, channels, pixels] to rows and back.
void planes_to_rows(const float * x, int64_t n, int64_t channels, int64_t pixels, float * out, Share share);
void rows_to_planes(const float * x, int64_t n, int64_t channels, int64_t pixels, float * out, Share share);

/// Size of a channels-last map.
struct MapShape {
    int64_t n = 1, height = 0, width = 0, channels = 0;
};

/// Means of 2x2 pixels, [n, height / 2, width / 2, channels]; an odd last row or column is dropped.
void average_pool2(const MapShape & shape, const float * x, float * out, Share share);
/// Nearest-neighbour upsampling, [n, 2 height, 2 width, channels].
void upsample2(const MapShape & shape, const float * x, float * out, Share share);

}  // namespace latent::kernels
