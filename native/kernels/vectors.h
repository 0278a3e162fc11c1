#pragma once

#include <cstdint>

#include "kernels/matmul.h"

namespace latent::kernels {

/// Elementwise operations and reductions of one instruction set, float32.
struct VectorSet {
    const char * name;
    /// Mean and biased variance of `count` values, in two passes.
    void (*moments)(const float * x, int64_t count, float * mean, float * variance);
    /// y = gate(x * scale + shift); y may be x.
    void (*affine)(const float * x, float * y, int64_t count, float scale, float shift, Gate gate);
    /// y[i] = (x[i] - mean) * factor * weight[i] + bias[i]; y may be x.
    void (*normalise)(const float * x, float * y, int64_t count, float mean, float factor, const float * weight,
                      const float * bias);
    /// y = value * gelu(gate), the exact (erf) form, absolute error below 1e-6.
    void (*geglu)(const float * value, const float * gate, float * y, int64_t count);
};

/// The best set of this processor; LATENT_KERNELS forces it down as for tiles.
const VectorSet & vector_set();

const VectorSet & vectors_portable();
const VectorSet & vectors_avx2();
const VectorSet & vectors_avx512();
int runnable_vector_sets(const VectorSet ** sets, int capacity);

struct GroupNormShape {
    int64_t n = 1, channels = 0, pixels = 0;
    int groups = 32;
    float eps = 1e-5f;
    Gate gate = Gate::none;
};

/// out = gate(group_norm(x) * weight + bias) over [n, channels, pixels]; with scale and shift [n, channels] the normalised and
/// affine value is further multiplied by (1 + scale) and moved by shift before the gate.
void group_norm(const VectorSet & vectors, const GroupNormShape & shape, const float * x, const float * weight,
                const float * bias, const float * scale, const float * shift, float * out, Part part);

/// out[row] = layer_norm(x[row]) * weight + bias over rows of `dim`.
void layer_norm(const VectorSet & vectors, const float * x, int64_t rows, int64_t dim, float eps, const float * weight,
                const float * bias, float * out, Part part);

/// out[token][dim] = x[token][0, dim) * gelu(x[token][dim, 2 dim)).
void geglu(const VectorSet & vectors, const float * x, int64_t tokens, int64_t dim, float * out, Part part);

}  // namespace latent::kernels
