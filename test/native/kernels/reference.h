#pragma once

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/tensor_source.h"
#include "kernels/common/attention.h"
#include "kernels/common/matmul.h"
#include "kernels/common/rows.h"
#include "kernels/common/vectors.h"

// Random data and plain float64 definitions for the tests of kernels.

namespace kernel_tests {

using namespace latent;
using namespace latent::kernels;

inline std::mt19937 & generator() {
    static std::mt19937 state(7);
    return state;
}

inline std::vector<float> random_values(int64_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> out(static_cast<size_t>(count));
    for (float & value : out) value = normal(generator());
    return out;
}

inline int64_t pick(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(generator());
}

struct Errors {
    double largest = 0, root_mean_square = 0;  // relative to the root mean square of the expectation; NaN counts as infinite
};

inline Errors errors(const std::vector<float> & actual, const std::vector<double> & expected) {
    double worst = 0, sum = 0, squares = 1e-30;
    for (size_t i = 0; i < expected.size(); ++i) {
        const double difference = std::isnan(actual[i]) ? 1e30 : std::fabs(actual[i] - expected[i]);
        worst = std::max(worst, difference);
        sum += difference * difference;
        squares += expected[i] * expected[i];
    }
    const double count = static_cast<double>(expected.size()), scale = std::sqrt(squares / count);
    return {worst / scale, std::sqrt(sum / count) / scale};
}

/// The largest error for float32, the root mean square for bfloat16, whose rounding is random.
inline double distance(const TileSet & tiles, const std::vector<float> & actual, const std::vector<double> & expected) {
    const Errors e = errors(actual, expected);
    return tiles.bf16 ? e.root_mean_square : e.largest;
}

inline double tolerance(const TileSet & tiles) {
    return tiles.bf16 ? 0.01 : 2e-5;
}

template <typename F>
void for_every_set(F run) {
    const TileSet * sets[8];
    const int count = runnable_tile_sets(sets, 8);
    for (int i = 0; i < count; ++i) run(*sets[i]);
}

template <typename F>
void for_every_vector_set(F run) {
    const VectorSet * sets[8];
    const int count = runnable_vector_sets(sets, 8);
    for (int i = 0; i < count; ++i) run(*sets[i]);
}

template <typename F>
void for_every_int8_set(F run) {
    const Int8Set * sets[8];
    const int count = runnable_int8_sets(sets, 8);
    for (int i = 0; i < count; ++i) run(*sets[i]);
}

inline double exact_gate(double x, Gate gate) {
    switch (gate) {
        case Gate::silu: return x / (1 + std::exp(-x));
        case Gate::gelu: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
        case Gate::quick_gelu: return x / (1 + std::exp(-1.702 * x));
        case Gate::relu: return x > 0 ? x : 0;
        case Gate::none: break;
    }
    return x;
}

/// A weight matrix in a type, random values of variance 1 / k.
struct StoredMatrix {
    std::vector<float> full;  // what the stored elements mean
    std::vector<uint8_t> bytes;
    Matrix matrix;
};

StoredMatrix stored(int64_t rows, int64_t k, Element type);

/// A convolution of random shape: kernels 1 to 5, strides, both paddings, upsampling and crops, batch, tails.
ConvShape random_conv(int round, int64_t most_channels);

/// conv(x, w) over channels-last maps, w[out][in * taps + tap].
std::vector<double> reference_conv(const ConvShape & shape, const std::vector<float> & x, const std::vector<float> & w);

/// softmax(q k^T / sqrt(dim)) v.
std::vector<double> reference_attention(const AttentionShape & shape, const std::vector<float> & q, const std::vector<float> & k,
                                        const std::vector<float> & v);

/// Adds the epilogue in float64.
void apply_epilogue(const ConvShape & shape, const Epilogue & epilogue, std::vector<double> & out);

/// Rows in the form that a product reads.
std::vector<uint8_t> in_form(const RowKernels & kernels, const std::vector<float> & x, int64_t channels, Form form);

}  // namespace kernel_tests
