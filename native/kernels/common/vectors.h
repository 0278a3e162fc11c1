#pragma once

#include <cstdint>

namespace latent::kernels {

enum class Gate { none, silu, gelu, quick_gelu, relu };  // gelu is the exact (erf) form

/// A matrix of sums and what is done with it; null arrays are skipped.
struct Finishing {
    int64_t rows = 1, columns = 0;
    const float * sums = nullptr;      // [rows][stride]
    const float * scale = nullptr;     // [columns], as bias and add
    const float * bias = nullptr;      //
    const float * add = nullptr;       //
    const float * residual = nullptr;  // [rows][residual_stride]
    float * out = nullptr;             // [rows][out_stride]
    int64_t stride = 0, residual_stride = 0, out_stride = 0;
    Gate gate = Gate::none;
};

/// Elementwise operations and reductions of one instruction set, float32. y may be x.
struct VectorSet {
    const char * name;
    /// Mean and biased variance of `count` values, in two passes.
    void (*moments)(const float * x, int64_t count, float * mean, float * variance);
    /// For each of `count` columns of x[row * stride + column]: the mean over the rows and the sum of squared differences from
    /// it.
    void (*column_moments)(const float * x, int64_t stride, int64_t rows, int64_t count, float * mean, float * squares);
    /// y[i] = gate(x[i] * scale[i] + shift[i]).
    void (*affine)(const float * x, float * y, int64_t count, const float * scale, const float * shift, Gate gate);
    /// y[i] = (x[i] - mean) * factor * weight[i] + bias[i].
    void (*normalise)(const float * x, float * y, int64_t count, float mean, float factor, const float * weight,
                      const float * bias);
    /// y = value * gelu(gate), the exact (erf) form, absolute error below 1e-6.
    void (*geglu)(const float * value, const float * gate, float * y, int64_t count);
    /// out = gate(sums * scale + bias + add) + residual.
    void (*finish)(const Finishing & f);
    /// y[column * y_stride + row] = x[row * x_stride + column].
    void (*transpose)(const float * x, int64_t x_stride, int64_t rows, int64_t columns, float * y, int64_t y_stride);
    /// y[i] = the bfloat16 number x[i].
    void (*widen)(const uint16_t * x, float * y, int64_t count);
    /// If not null: halves[i] = x[i] as float16, after x[i] += add[i], also float16, if `add` is not null. False if a finite
    /// value is too large for float16.
    bool (*store_halves)(float * x, const uint16_t * add, uint16_t * halves, int64_t count) = nullptr;
};

/// The best set that this processor supports; LATENT_KERNELS limits it as for tiles.
const VectorSet & vector_set();

const VectorSet & vectors_portable();
const VectorSet & vectors_avx2();
const VectorSet & vectors_avx512();
const VectorSet & vectors_neon();
int runnable_vector_sets(const VectorSet ** sets, int capacity);

}  // namespace latent::kernels
