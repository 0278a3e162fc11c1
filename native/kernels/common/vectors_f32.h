#pragma once

// Elementwise operations over a vector type V (see tile_f32.h), compiled once per instruction set. Include from tile_*.cpp only.
// Tails are padded to a full vector, so that every element is computed by the same instructions.

#include <cstring>

#include "kernels/common/vectors.h"

namespace latent::kernels {
namespace {

template <typename V>
V load_part(const float * x, int64_t count) {
    float lanes[V::kLanes] = {};
    std::memcpy(lanes, x, static_cast<size_t>(count) * sizeof(float));
    return V::load(lanes);
}

template <typename V>
void store_part(V v, float * y, int64_t count) {
    float lanes[V::kLanes];
    v.store(lanes);
    std::memcpy(y, lanes, static_cast<size_t>(count) * sizeof(float));
}

/// y = f(x...) over whole vectors, then the rest.
template <typename V, typename F>
void for_each_vector(int64_t count, F f) {
    int64_t i = 0;
    for (; i + V::kLanes <= count; i += V::kLanes) f(i, static_cast<int64_t>(V::kLanes));
    if (i < count) f(i, count - i);
}

template <typename V>
V load_n(const float * x, int64_t count) {
    return count == V::kLanes ? V::load(x) : load_part<V>(x, count);
}

template <typename V>
void store_n(V v, float * y, int64_t count) {
    if (count == V::kLanes) {
        v.store(y);
    } else {
        store_part(v, y, count);
    }
}

template <typename V>
double total_of(V v) {
    float lanes[V::kLanes];
    v.store(lanes);
    double total = 0;
    for (const float lane : lanes) total += lane;
    return total;
}

template <typename V>
V sigmoid(V x) {
    return V::div(V::set1(1.0f), V::add(V::set1(1.0f), V::exp(V::sub(V::zero(), x))));
}

/// erf by Abramowitz & Stegun 7.1.26 on |x|: 1 - poly(t) exp(-x^2), absolute error below 1.5e-7 plus rounding.
template <typename V>
V gelu(V x) {
    const V half_root = V::set1(0.70710678f), z = V::mul(x, half_root), size = V::max(z, V::sub(V::zero(), z));
    const V t = V::div(V::set1(1.0f), V::fma(V::set1(0.3275911f), size, V::set1(1.0f)));
    V p = V::set1(1.061405429f);
    for (const float c : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) p = V::fma(p, t, V::set1(c));
    const V tail = V::mul(V::mul(p, t), V::exp(V::sub(V::zero(), V::mul(size, size))));  // erfc(|z|)
    // x * (1 + erf(z)) / 2 = max(x, 0) - |x| * erfc(|z|) / 2
    const V magnitude = V::max(x, V::sub(V::zero(), x));
    return V::sub(V::max(x, V::zero()), V::mul(V::mul(magnitude, V::set1(0.5f)), tail));
}

template <typename V>
V apply(V x, Gate gate) {
    switch (gate) {
        case Gate::silu: return V::mul(x, sigmoid(x));
        case Gate::quick_gelu: return V::mul(x, sigmoid(V::mul(x, V::set1(1.702f))));
        case Gate::gelu: return gelu(x);
        case Gate::relu: return V::max(V::zero(), x);  // with this order of operands NaN stays NaN
        case Gate::none: break;
    }
    return x;
}

/// Sums each block in float lanes and adds the blocks in double: the shorter the block, the more exact.
template <typename V, typename F>
double sum_blocks(const float * x, int64_t count, F f) {
    constexpr int64_t kBlock = 4096;
    double total = 0;
    for (int64_t first = 0; first < count; first += kBlock) {
        const int64_t size = count - first < kBlock ? count - first : kBlock;
        V sum = V::zero();
        const int64_t whole = size / V::kLanes * V::kLanes;
        for (int64_t i = 0; i < whole; i += V::kLanes) sum = V::add(sum, f(V::load(x + first + i)));
        total += total_of(sum);
        for (int64_t i = whole; i < size; ++i) {
            float lane[V::kLanes];
            f(V::set1(x[first + i])).store(lane);
            total += lane[0];
        }
    }
    return total;
}

template <typename V>
void moments_of(const float * x, int64_t count, float * mean, float * variance) {
    const double m = sum_blocks<V>(x, count, [](V v) { return v; }) / static_cast<double>(count);
    const V center = V::set1(static_cast<float>(m));
    const double squares = sum_blocks<V>(x, count, [center](V v) {
        const V d = V::sub(v, center);
        return V::mul(d, d);
    });
    *mean = static_cast<float>(m);
    *variance = static_cast<float>(squares / static_cast<double>(count));
}

template <typename V>
void affine_of(const float * x, float * y, int64_t count, const float * scale, const float * shift, Gate gate) {
    for_each_vector<V>(count, [&](int64_t i, int64_t n) {
        store_n(apply(V::fma(load_n<V>(x + i, n), load_n<V>(scale + i, n), load_n<V>(shift + i, n)), gate), y + i, n);
    });
}

template <typename V>
void column_moments_of(const float * x, int64_t stride, int64_t rows, int64_t count, float * mean, float * squares) {
    const V share = V::set1(1.0f / static_cast<float>(rows));
    for_each_vector<V>(count, [&](int64_t i, int64_t n) {
        V sum = V::zero(), spread = V::zero();
        for (int64_t r = 0; r < rows; ++r) sum = V::add(sum, load_n<V>(x + r * stride + i, n));
        const V center = V::mul(sum, share);
        for (int64_t r = 0; r < rows; ++r) {
            const V d = V::sub(load_n<V>(x + r * stride + i, n), center);
            spread = V::fma(d, d, spread);
        }
        store_n(center, mean + i, n);
        store_n(spread, squares + i, n);
    });
}

/// One vector of columns, all rows.
template <typename V, bool kScale, bool kAdd, bool kResidual>
void finish_column(const Finishing & f, int64_t i, int64_t n) {
    const V scale = kScale ? load_n<V>(f.scale + i, n) : V::zero();
    const V bias = f.bias ? load_n<V>(f.bias + i, n) : V::zero();
    const V add = kAdd ? load_n<V>(f.add + i, n) : V::zero();
    const float *sums = f.sums + i, *residual = kResidual ? f.residual + i : nullptr;
    float * out = f.out + i;
    for (int64_t r = 0; r < f.rows; ++r, sums += f.stride, out += f.out_stride) {
        V y = load_n<V>(sums, n);
        if (kScale) y = V::mul(y, scale);
        y = V::add(y, bias);
        if (kAdd) y = V::add(y, add);
        y = apply(y, f.gate);
        if (kResidual) {
            y = V::add(y, load_n<V>(residual, n));
            residual += f.residual_stride;
        }
        store_n(y, out, n);
    }
}

template <typename V>
void finish_of(const Finishing & f) {
    for_each_vector<V>(f.columns, [&](int64_t i, int64_t n) {
        const int kind = (f.scale ? 1 : 0) + (f.add ? 2 : 0) + (f.residual ? 4 : 0);
        switch (kind) {
            case 0: return finish_column<V, false, false, false>(f, i, n);
            case 1: return finish_column<V, true, false, false>(f, i, n);
            case 2: return finish_column<V, false, true, false>(f, i, n);
            case 3: return finish_column<V, true, true, false>(f, i, n);
            case 4: return finish_column<V, false, false, true>(f, i, n);
            case 5: return finish_column<V, true, false, true>(f, i, n);
            case 6: return finish_column<V, false, true, true>(f, i, n);
            default: return finish_column<V, true, true, true>(f, i, n);
        }
    });
}

template <typename V>
void normalise_of(const float * x, float * y, int64_t count, float mean, float factor, const float * weight, const float * bias) {
    const V m = V::set1(mean), f = V::set1(factor);
    for_each_vector<V>(count, [&](int64_t i, int64_t n) {
        const V z = V::mul(V::sub(load_n<V>(x + i, n), m), f);
        store_n(V::fma(z, load_n<V>(weight + i, n), load_n<V>(bias + i, n)), y + i, n);
    });
}

inline void transpose_plain(const float * x, int64_t x_stride, int64_t rows, int64_t columns, float * y, int64_t y_stride) {
    for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < columns; ++c) y[c * y_stride + r] = x[r * x_stride + c];
    }
}

/// A template, so that every instruction set has its own.
template <typename V>
void widen_of(const uint16_t * x, float * y, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        const uint32_t bits = static_cast<uint32_t>(x[i]) << 16;
        std::memcpy(y + i, &bits, sizeof(bits));
    }
}

template <typename V>
void geglu_of(const float * value, const float * gate, float * y, int64_t count) {
    for_each_vector<V>(
        count, [&](int64_t i, int64_t n) { store_n(V::mul(load_n<V>(value + i, n), gelu(load_n<V>(gate + i, n))), y + i, n); });
}

}  // namespace
}  // namespace latent::kernels
