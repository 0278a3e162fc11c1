#include <atomic>
#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "core/tensor_source.h"
#include "kernels/attention.h"
#include "kernels/matmul.h"
#include "kernels/pool.h"
#include "kernels/vectors.h"

using namespace latent;
using namespace latent::kernels;

namespace {

std::mt19937 generator(7);

std::vector<float> random_values(int64_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> out(static_cast<size_t>(count));
    for (float & value : out) value = normal(generator);
    return out;
}

int64_t pick(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(generator);
}

/// Error relative to the root mean square of the expectation: the largest one for float32, the root mean square for bfloat16,
/// whose rounding is random. NaN counts as infinite.
double distance(const TileSet & tiles, const std::vector<float> & actual, const std::vector<double> & expected) {
    double worst = 0, errors = 0, squares = 1e-30;
    for (size_t i = 0; i < expected.size(); ++i) {
        const double difference = std::isnan(actual[i]) ? 1e30 : std::fabs(actual[i] - expected[i]);
        worst = std::max(worst, difference);
        errors += difference * difference;
        squares += expected[i] * expected[i];
    }
    const double scale = std::sqrt(squares / static_cast<double>(expected.size()));
    return (tiles.bf16 ? std::sqrt(errors / static_cast<double>(expected.size())) : worst) / scale;
}

double tolerance(const TileSet & tiles) {
    return tiles.bf16 ? 0.01 : 2e-5;
}

template <typename F>
void for_every_set(F run) {
    const TileSet * sets[8];
    const int count = runnable_tile_sets(sets, 8);
    for (int i = 0; i < count; ++i) run(*sets[i]);
}

struct StoredMatrix {
    std::vector<float> full;  // what the stored elements mean
    std::vector<uint8_t> bytes;
    Matrix matrix;
};

StoredMatrix stored(int64_t rows, int64_t k, Element type) {
    StoredMatrix out;
    out.full = random_values(rows * k);
    for (float & value : out.full) value /= std::sqrt(static_cast<float>(k));
    const int64_t size = type == Element::f16 || type == Element::bf16 ? 2 : 4;
    out.bytes.resize(static_cast<size_t>(rows * k * size));
    for (size_t i = 0; i < out.full.size(); ++i) {
        if (size == 2) {
            const uint16_t bits = type == Element::f16 ? float_to_half(out.full[i]) : float_to_bfloat(out.full[i]);
            reinterpret_cast<uint16_t *>(out.bytes.data())[i] = bits;
            out.full[i] = type == Element::f16 ? half_to_float(bits) : bfloat_to_float(bits);
        } else {
            reinterpret_cast<float *>(out.bytes.data())[i] = out.full[i];
        }
    }
    out.matrix = {out.bytes.data(), rows, k, k * size, type, nullptr};
    if (type == Element::other) {
        out.matrix.to_float = [](const void * row, float * target, int64_t count) {
            for (int64_t i = 0; i < count; ++i) target[i] = static_cast<const float *>(row)[i];
        };
    }
    return out;
}

constexpr Element kElements[] = {Element::f32, Element::f16, Element::bf16, Element::other};

std::vector<double> reference_conv(const ConvShape & s, const std::vector<float> & x, const std::vector<float> & w) {
    std::vector<double> out(static_cast<size_t>(s.n * s.out * s.out_height * s.out_width));
    const int scale = s.upsample ? 2 : 1;
    size_t at = 0;
    for (int64_t n = 0; n < s.n; ++n)
        for (int64_t o = 0; o < s.out; ++o)
            for (int64_t y = 0; y < s.out_height; ++y)
                for (int64_t px = 0; px < s.out_width; ++px, ++at)
                    for (int64_t c = 0; c < s.in; ++c)
                        for (int ky = 0; ky < s.kernel; ++ky)
                            for (int kx = 0; kx < s.kernel; ++kx) {
                                const int64_t iy = y * s.stride + ky - s.pad_top, ix = px * s.stride + kx - s.pad_left;
                                if (iy < 0 || ix < 0 || iy >= (s.crop_height ? s.crop_height : s.height * scale) ||
                                    ix >= (s.crop_width ? s.crop_width : s.width * scale))
                                    continue;
                                out[at] +=
                                    static_cast<double>(
                                        x[static_cast<size_t>(((n * s.in + c) * s.height + iy / scale) * s.width + ix / scale)]) *
                                    w[static_cast<size_t>(((o * s.in + c) * s.kernel + ky) * s.kernel + kx)];
                            }
    return out;
}

}  // namespace

TEST(conv_matches_the_definition) {
    for_every_set([](const TileSet & tiles) {
        for (int round = 0; round < 24; ++round) {
            ConvShape s;
            s.n = pick(1, 2), s.in = pick(1, 9), s.out = pick(1, 15);
            s.height = pick(2, 13), s.width = pick(2, 21);
            s.kernel = round % 3 == 0 ? 1 : 3;
            s.stride = round % 4 == 1 ? 2 : 1;
            s.upsample = s.stride == 1 && round % 5 == 2;
            s.pad_left = s.pad_top = round % 8 == 5 ? 0 : (s.kernel - 1) / 2;  // 0 with stride 2: padded right and bottom only
            if (s.upsample && round % 2 == 0) s.crop_width = 2 * s.width - 1, s.crop_height = 2 * s.height - 1;
            const int64_t height = s.crop_height ? s.crop_height : s.height * (s.upsample ? 2 : 1);
            const int64_t width = s.crop_width ? s.crop_width : s.width * (s.upsample ? 2 : 1);
            s.out_height = (height - 1) / s.stride + 1, s.out_width = (width - 1) / s.stride + 1;
            const auto x = random_values(s.n * s.in * s.height * s.width);
            const StoredMatrix w = stored(s.out, s.in * s.kernel * s.kernel, kElements[round % 4]);
            const auto bias = random_values(s.out), add = random_values(s.n * s.out),
                       residual = random_values(s.n * s.out * s.out_height * s.out_width);
            auto expected = reference_conv(s, x, w.full);
            ConvEpilogue epilogue;
            const int64_t plane = s.out_height * s.out_width;
            if (round % 2 == 0) epilogue = {bias.data(), add.data(), residual.data()};
            for (size_t i = 0; epilogue.bias && i < expected.size(); ++i) {
                const size_t row = i / static_cast<size_t>(plane);
                expected[i] += bias[row % static_cast<size_t>(s.out)] + add[row] + residual[i];
            }
            const int threads = static_cast<int>(pick(1, 5));
            std::vector<float> out(expected.size(), NAN);
            for (int t = 0; t < threads; ++t) conv2d(tiles, s, x.data(), w.matrix, epilogue, out.data(), {t, threads});
            const double error = distance(tiles, out, expected);
            if (!(error <= tolerance(tiles))) check::fail(tiles.name, round, "conv error " + std::to_string(error));
        }
    });
}

TEST(linear_matches_the_definition) {
    for_every_set([](const TileSet & tiles) {
        for (int round = 0; round < 24; ++round) {
            const int64_t tokens = pick(1, 200), rows = pick(1, 70), k = pick(1, 150);
            const auto x = random_values(tokens * k);
            const StoredMatrix w = stored(rows, k, kElements[round % 4]);
            const auto bias = random_values(rows), residual = random_values(tokens * rows);
            LinearEpilogue epilogue;
            epilogue.activation = static_cast<Gate>(round / 4 % 4);
            if (round % 2) epilogue.bias = bias.data(), epilogue.residual = residual.data();
            std::vector<double> expected(static_cast<size_t>(tokens * rows));
            for (int64_t t = 0; t < tokens; ++t)
                for (int64_t r = 0; r < rows; ++r) {
                    double sum = epilogue.bias ? bias[static_cast<size_t>(r)] : 0.0;
                    for (int64_t i = 0; i < k; ++i)
                        sum += static_cast<double>(x[static_cast<size_t>(t * k + i)]) * w.full[static_cast<size_t>(r * k + i)];
                    if (epilogue.activation == Gate::silu) sum = sum / (1 + std::exp(-sum));
                    if (epilogue.activation == Gate::gelu) sum = 0.5 * sum * (1 + std::erf(sum / std::sqrt(2.0)));
                    if (epilogue.activation == Gate::quick_gelu) sum = sum / (1 + std::exp(-1.702 * sum));
                    expected[static_cast<size_t>(t * rows + r)] =
                        sum + (epilogue.residual ? residual[static_cast<size_t>(t * rows + r)] : 0.0f);
                }
            const int threads = static_cast<int>(pick(1, 5));
            std::vector<float> out(expected.size(), NAN);
            for (int t = 0; t < threads; ++t) linear(tiles, x.data(), tokens, k, w.matrix, epilogue, out.data(), {t, threads});
            const double error = distance(tiles, out, expected);
            if (!(error <= tolerance(tiles))) check::fail(tiles.name, round, "linear error " + std::to_string(error));
        }
    });
}

TEST(attention_matches_the_definition) {
    for_every_set([](const TileSet & tiles) {
        for (int round = 0; round < 16; ++round) {
            AttentionShape s;
            s.batch = pick(1, 2), s.heads = pick(1, 3), s.dim = pick(1, 70);
            s.queries = pick(1, 150), s.keys = round % 3 == 0 ? pick(257, 700) : pick(1, 90);
            const int64_t width = s.heads * s.dim;
            const auto q = random_values(s.batch * s.queries * width), k = random_values(s.batch * s.keys * width),
                       v = random_values(s.batch * s.keys * width);
            std::vector<double> expected(q.size());
            for (int64_t b = 0; b < s.batch; ++b)
                for (int64_t h = 0; h < s.heads; ++h)
                    for (int64_t i = 0; i < s.queries; ++i) {
                        std::vector<double> scores(static_cast<size_t>(s.keys));
                        double highest = -1e300, total = 0;
                        for (int64_t j = 0; j < s.keys; ++j) {
                            double dot = 0;
                            for (int64_t d = 0; d < s.dim; ++d)
                                dot += static_cast<double>(q[static_cast<size_t>((b * s.queries + i) * width + h * s.dim + d)]) *
                                       k[static_cast<size_t>((b * s.keys + j) * width + h * s.dim + d)];
                            scores[static_cast<size_t>(j)] = dot / std::sqrt(static_cast<double>(s.dim));
                            highest = std::max(highest, scores[static_cast<size_t>(j)]);
                        }
                        for (double & score : scores) total += score = std::exp(score - highest);
                        for (int64_t d = 0; d < s.dim; ++d) {
                            double sum = 0;
                            for (int64_t j = 0; j < s.keys; ++j)
                                sum += scores[static_cast<size_t>(j)] *
                                       v[static_cast<size_t>((b * s.keys + j) * width + h * s.dim + d)];
                            expected[static_cast<size_t>((b * s.queries + i) * width + h * s.dim + d)] = sum / total;
                        }
                    }
            const int threads = static_cast<int>(pick(1, 5));
            std::vector<float> out(expected.size(), NAN);
            for (int t = 0; t < threads; ++t) attention(tiles, s, q.data(), k.data(), v.data(), out.data(), {t, threads});
            const double error = distance(tiles, out, expected);
            if (!(error <= tolerance(tiles))) check::fail(tiles.name, round, "attention error " + std::to_string(error));
        }
    });
}

namespace {

double exact_gate(double x, Gate gate) {
    switch (gate) {
        case Gate::silu: return x / (1 + std::exp(-x));
        case Gate::gelu: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
        case Gate::quick_gelu: return x / (1 + std::exp(-1.702 * x));
        case Gate::none: break;
    }
    return x;
}

template <typename F>
void for_every_vector_set(F run) {
    const VectorSet * sets[8];
    const int count = runnable_vector_sets(sets, 8);
    for (int i = 0; i < count; ++i) run(*sets[i]);
}

double worst(const std::vector<float> & actual, const std::vector<double> & expected) {
    double out = 0;
    for (size_t i = 0; i < expected.size(); ++i)
        out = std::max(out, std::isnan(actual[i]) ? 1e30 : std::fabs(actual[i] - expected[i]));
    return out;
}

}  // namespace

TEST(gates_hold_over_the_whole_range) {
    for_every_vector_set([](const VectorSet & vectors) {
        std::vector<float> x, y;
        for (double at = -120; at <= 120; at += 0.0317) x.push_back(static_cast<float>(at));
        y.resize(x.size());
        for (const Gate gate : {Gate::none, Gate::silu, Gate::gelu, Gate::quick_gelu}) {
            vectors.affine(x.data(), y.data(), static_cast<int64_t>(x.size()), 1.0f, 0.0f, gate);
            for (size_t i = 0; i < x.size(); ++i) {
                const double expected = exact_gate(x[i], gate);
                if (!(std::fabs(y[i] - expected) <= 2e-6 + 1e-6 * std::fabs(expected)))
                    check::fail(vectors.name, static_cast<int>(i), "gate at " + std::to_string(x[i]));
            }
        }
        float odd[3] = {NAN, INFINITY, 1.0f};
        vectors.affine(odd, odd, 3, 1.0f, 0.0f, Gate::silu);
        CHECK(std::isnan(odd[0]));
        CHECK(std::isinf(odd[1]));
        CHECK_NEAR(odd[2], 0.7310586, 1e-6);
    });
}

TEST(norms_match_the_definition) {
    for_every_vector_set([](const VectorSet & vectors) {
        for (int round = 0; round < 12; ++round) {
            GroupNormShape s;
            s.n = pick(1, 2), s.groups = static_cast<int>(pick(1, 4)), s.channels = s.groups * pick(1, 5), s.pixels = pick(1, 70);
            s.gate = static_cast<Gate>(round % 4);
            auto x = random_values(s.n * s.channels * s.pixels);
            for (float & value : x) value = value * 3 + 100;  // a mean far from zero must not cost digits
            const auto w = random_values(s.channels), b = random_values(s.channels), scale = random_values(s.n * s.channels),
                       shift = random_values(s.n * s.channels);
            const bool modulated = round % 2 == 1;
            std::vector<double> expected(x.size());
            const int64_t size = s.channels / s.groups * s.pixels;
            for (int64_t g = 0; g < s.n * s.groups; ++g) {
                double mean = 0, variance = 0;
                for (int64_t i = 0; i < size; ++i) mean += x[static_cast<size_t>(g * size + i)];
                mean /= static_cast<double>(size);
                for (int64_t i = 0; i < size; ++i) variance += std::pow(x[static_cast<size_t>(g * size + i)] - mean, 2);
                variance /= static_cast<double>(size);
                for (int64_t i = 0; i < size; ++i) {
                    const size_t at = static_cast<size_t>(g * size + i), row = at / static_cast<size_t>(s.pixels),
                                 c = row % static_cast<size_t>(s.channels);
                    double value = (x[at] - mean) / std::sqrt(variance + s.eps) * w[c] + b[c];
                    if (modulated) value = value * (1 + scale[row]) + shift[row];
                    expected[at] = exact_gate(value, s.gate);
                }
            }
            const int threads = static_cast<int>(pick(1, 4));
            std::vector<float> out(x.size(), NAN);
            for (int t = 0; t < threads; ++t) {
                group_norm(vectors, s, x.data(), w.data(), b.data(), modulated ? scale.data() : nullptr,
                           modulated ? shift.data() : nullptr, out.data(), {t, threads});
            }
            CHECK(worst(out, expected) < 2e-3);
        }
    });
}

TEST(layer_norm_and_geglu_match_the_definition) {
    for_every_vector_set([](const VectorSet & vectors) {
        const int64_t rows = 9, dim = 37;
        const auto x = random_values(rows * 2 * dim), w = random_values(dim), b = random_values(dim);
        std::vector<double> normal(static_cast<size_t>(rows * dim)), gated(static_cast<size_t>(rows * dim));
        for (int64_t r = 0; r < rows; ++r) {
            double mean = 0, variance = 0;
            for (int64_t i = 0; i < dim; ++i) mean += x[static_cast<size_t>(r * dim + i)] / static_cast<double>(dim);
            for (int64_t i = 0; i < dim; ++i)
                variance += std::pow(x[static_cast<size_t>(r * dim + i)] - mean, 2) / static_cast<double>(dim);
            for (int64_t i = 0; i < dim; ++i) {
                const size_t at = static_cast<size_t>(r * dim + i);
                normal[at] = (x[at] - mean) / std::sqrt(variance + 1e-5) * w[static_cast<size_t>(i)] + b[static_cast<size_t>(i)];
                const size_t value = static_cast<size_t>(r * 2 * dim + i);
                gated[at] = x[value] * exact_gate(x[value + static_cast<size_t>(dim)], Gate::gelu);
            }
        }
        for (const int threads : {1, 3}) {
            std::vector<float> out(normal.size(), NAN);
            for (int t = 0; t < threads; ++t)
                layer_norm(vectors, x.data(), rows, dim, 1e-5f, w.data(), b.data(), out.data(), {t, threads});
            CHECK(worst(out, normal) < 1e-5);
            for (int t = 0; t < threads; ++t) geglu(vectors, x.data(), rows, dim, out.data(), {t, threads});
            CHECK(worst(out, gated) < 1e-5);
        }
    });
}

TEST(pool_runs_every_part_once_and_passes_errors_on) {
    for (const int threads : {1, 2, 5}) {
        Pool pool(threads);
        for (int round = 0; round < 2000; ++round) {
            const int count = static_cast<int>(pick(0, 12));
            std::vector<std::atomic<int>> hits(12);
            pool.run(count, [&](int part) { hits[static_cast<size_t>(part)].fetch_add(1); });
            for (int i = 0; i < 12; ++i) CHECK(hits[static_cast<size_t>(i)].load() == (i < count ? 1 : 0));
        }
        bool thrown = false;
        std::atomic<int> ran{0};
        try {
            pool.run(8, [&](int part) {
                ran.fetch_add(1);
                if (part == 3) throw std::runtime_error("part 3");
            });
        } catch (const std::runtime_error &) {
            thrown = true;
        }
        CHECK(thrown);
        int after = 0;
        pool.run(1, [&](int) { ++after; });
        CHECK(after == 1);
    }
}
