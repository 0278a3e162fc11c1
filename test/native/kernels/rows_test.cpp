#include <cmath>
#include <vector>

#include "reference.h"

// Norms, gates and changes of form over rows of channels.

using namespace kernel_tests;

namespace {

double worst(const std::vector<float> & actual, const std::vector<double> & expected) {
    double out = 0;
    for (size_t i = 0; i < expected.size(); ++i)
        out = std::max(out, std::isnan(actual[i]) ? 1e30 : std::fabs(actual[i] - expected[i]));
    return out;
}

RowKernels plain(const VectorSet & vectors) {
    return {&tiles_portable(), &int8_portable(), &vectors};
}

RowFormat rows_of(int64_t rows, int64_t channels, Form form = Form::f32) {
    RowFormat format;
    format.form = form, format.rows = rows, format.channels = channels;
    return format;
}

}  // namespace

TEST(gates_hold_over_the_whole_range) {
    for_every_vector_set([](const VectorSet & vectors) {
        std::vector<float> x, y;
        for (double at = -120; at <= 120; at += 0.0317) x.push_back(static_cast<float>(at));
        y.resize(x.size());
        const std::vector<float> ones(x.size(), 1.0f), zeros(x.size(), 0.0f);
        for (const Gate gate : {Gate::none, Gate::silu, Gate::gelu, Gate::quick_gelu, Gate::relu}) {
            vectors.affine(x.data(), y.data(), static_cast<int64_t>(x.size()), ones.data(), zeros.data(), gate);
            for (size_t i = 0; i < x.size(); ++i) {
                const double expected = exact_gate(x[i], gate);
                if (!(std::fabs(y[i] - expected) <= 2e-6 + 1e-6 * std::fabs(expected)))
                    check::fail(vectors.name, static_cast<int>(i), "gate at " + std::to_string(x[i]));
            }
        }
        float odd[3] = {NAN, INFINITY, 1.0f};
        vectors.affine(odd, odd, 3, ones.data(), zeros.data(), Gate::silu);
        CHECK(std::isnan(odd[0]));
        CHECK(std::isinf(odd[1]));
        CHECK_NEAR(odd[2], 0.7310586, 1e-6);
    });
}

TEST(transposing_moves_each_value_and_writes_nothing_else) {
    for_every_vector_set([](const VectorSet & vectors) {
        for (int round = 0; round < 40; ++round) {
            const int64_t rows = pick(1, 70), columns = pick(1, 70), x_stride = columns + pick(0, 5),
                          y_stride = rows + pick(0, 5);
            const auto x = random_values(rows * x_stride);
            std::vector<float> y(static_cast<size_t>(columns * y_stride), -7.0f);
            vectors.transpose(x.data(), x_stride, rows, columns, y.data(), y_stride);
            for (int64_t i = 0; i < columns * y_stride; ++i) {
                const int64_t column = i / y_stride, row = i % y_stride;
                const float expected = row < rows ? x[static_cast<size_t>(row * x_stride + column)] : -7.0f;
                if (y[static_cast<size_t>(i)] != expected) check::fail(vectors.name, static_cast<int>(i), "transposed");
            }
        }
    });
}

TEST(float16_rows_round_to_even_and_report_what_is_too_large) {
    for_every_vector_set([](const VectorSet & vectors) {
        if (!vectors.store_halves) return;
        for (int64_t count = 1; count <= 40; ++count) {
            auto x = random_values(count);
            const auto before = x;
            std::vector<uint16_t> add(x.size()), halves(x.size() + 1, 0x1234);
            for (size_t i = 0; i < add.size(); ++i) add[i] = static_cast<uint16_t>(0x3c00 + i);  // from 1 up
            CHECK(vectors.store_halves(x.data(), add.data(), halves.data(), count));
            CHECK(halves.back() == 0x1234);
            for (size_t i = 0; i < x.size(); ++i) {
                const float sum = before[i] + latent::half_to_float(add[i]);
                CHECK(x[i] == sum);
                const float stored = latent::half_to_float(halves[i]), step = std::ldexp(1.0f, std::ilogb(sum) - 10);
                CHECK(std::fabs(stored - sum) <= step / 2);
            }
            CHECK(vectors.store_halves(x.data(), nullptr, halves.data(), count));
            const size_t place = static_cast<size_t>(count - 1);
            for (const float fits : {65519.9f, -65504.0f, INFINITY, -INFINITY, NAN, 0.0f, 1e-9f}) {
                x[place] = fits;
                CHECK(vectors.store_halves(x.data(), nullptr, halves.data(), count));
            }
            CHECK(halves[place] == 0);
            for (const float large : {65520.0f, -1e6f, 3e38f}) {
                x[place] = large;
                CHECK(!vectors.store_halves(x.data(), nullptr, halves.data(), count));
            }
        }
    });
}

TEST(group_norm_matches_the_definition) {
    for_every_vector_set([](const VectorSet & vectors) {
        for (int round = 0; round < 16; ++round) {
            GroupNormShape s;
            s.n = pick(1, 2), s.groups = static_cast<int>(pick(1, 4)), s.channels = s.groups * pick(1, 9),
            s.pixels = pick(1, 300);
            s.gate = static_cast<Gate>(round % 4);
            auto x = random_values(s.n * s.pixels * s.channels);
            for (float & value : x) value = value * 3 + 100;  // a mean far from zero must not cost digits
            const auto w = random_values(s.channels), b = random_values(s.channels), scale = random_values(s.n * s.channels),
                       shift = random_values(s.n * s.channels);
            const bool modulated = round % 2 == 1;
            std::vector<double> expected(x.size());
            const int64_t per_group = s.channels / s.groups;
            for (int64_t n = 0; n < s.n; ++n)
                for (int64_t g = 0; g < s.groups; ++g) {
                    double mean = 0, variance = 0;
                    const double size = static_cast<double>(per_group * s.pixels);
                    const auto each = [&](const auto & action) {
                        for (int64_t p = 0; p < s.pixels; ++p)
                            for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c)
                                action(static_cast<size_t>((n * s.pixels + p) * s.channels + c), static_cast<size_t>(c));
                    };
                    each([&](size_t at, size_t) { mean += x[at] / size; });
                    each([&](size_t at, size_t) { variance += (x[at] - mean) * (x[at] - mean) / size; });
                    each([&](size_t at, size_t c) {
                        const size_t row = static_cast<size_t>(n * s.channels) + c;
                        double value = (x[at] - mean) / std::sqrt(variance + s.eps) * w[c] + b[c];
                        if (modulated) value = value * (1 + scale[row]) + shift[row];
                        expected[at] = exact_gate(value, s.gate);
                    });
                }
            // One tensor, or two side by side.
            RowSource source;
            std::vector<float> left, right;
            const int64_t split = round % 3 == 0 && s.channels > 1 ? pick(1, s.channels - 1) : s.channels;
            for (size_t i = 0; i < x.size(); ++i) (static_cast<int64_t>(i) % s.channels < split ? left : right).push_back(x[i]);
            source.data[0] = left.data(), source.channels[0] = split;
            if (split < s.channels) source.data[1] = right.data(), source.channels[1] = s.channels - split;

            const int threads = static_cast<int>(pick(1, 4));
            std::vector<float> out(x.size(), NAN), moments(static_cast<size_t>(s.moments()), NAN);
            for (int t = 0; t < threads; ++t) group_moments(vectors, s, source, moments.data(), {t, threads});
            for (int t = 0; t < threads; ++t) {
                group_norm(plain(vectors), s, source, moments.data(), w.data(), b.data(), modulated ? scale.data() : nullptr,
                           modulated ? shift.data() : nullptr, Form::f32, out.data(), {t, threads});
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
                layer_norm(plain(vectors), x.data(), 1e-5f, w.data(), b.data(), rows_of(rows, dim), out.data(), {t, threads});
            CHECK(worst(out, normal) < 1e-5);
            for (int t = 0; t < threads; ++t) geglu(plain(vectors), x.data(), rows_of(rows, dim), out.data(), {t, threads});
            CHECK(worst(out, gated) < 1e-5);
        }
    });
}

TEST(geglu_matches_the_definition_for_gates_of_every_size) {
    for_every_vector_set([](const VectorSet & vectors) {
        std::vector<float> gate;
        for (int i = -6000; i <= 6000; ++i) gate.push_back(static_cast<float>(i) / 499.0f);
        for (const float large : {30.0f, 1e4f, 1e30f}) gate.insert(gate.end(), {large, -large});
        const std::vector<float> value(gate.size(), 1.0f);
        std::vector<float> out(gate.size(), NAN);
        vectors.geglu(value.data(), gate.data(), out.data(), static_cast<int64_t>(gate.size()));
        double error = 0;
        for (size_t i = 0; i < gate.size(); ++i) {
            const double difference = std::fabs(out[i] - exact_gate(gate[i], Gate::gelu));
            error = std::fmax(error, std::isfinite(out[i]) ? difference / std::fmax(1.0, std::fabs(gate[i])) : INFINITY);
        }
        if (!(error < 1e-6)) check::fail(vectors.name, 0, "error of geglu " + std::to_string(error));
    });
}

// What norms write at once in another form is what a conversion of their float32 rows gives.
TEST(forms_hold_the_same_rows) {
    const TileSet * tiles[8];
    const Int8Set * int8[8];
    const RowKernels best = {tiles[runnable_tile_sets(tiles, 8) - 1], int8[runnable_int8_sets(int8, 8) - 1], &vector_set()};
    const int64_t rows = 7;
    for (const int64_t dim : {1, 3, 37, 320, 700}) {
        const auto x = random_values(rows * dim), w = random_values(dim), b = random_values(dim);
        std::vector<float> full(x.size());
        layer_norm(best, x.data(), 1e-5f, w.data(), b.data(), rows_of(rows, dim), full.data(), {0, 1});
        for (const Form form : {Form::bf16, Form::int8}) {
            if (form == Form::bf16 && !best.tiles->bf16) continue;
            const RowFormat format = rows_of(rows, dim, form);
            std::vector<uint8_t> direct(static_cast<size_t>(format.bytes()));
            layer_norm(best, x.data(), 1e-5f, w.data(), b.data(), format, direct.data(), {0, 1});
            CHECK(direct == in_form(best, full, dim, form));
        }
    }
}

TEST(planes_pools_and_doubling) {
    const int64_t n = 2, channels = 3, height = 5, width = 4;
    const auto planes = random_values(n * channels * height * width);
    std::vector<float> rows(planes.size()), back(planes.size());
    for (int t = 0; t < 3; ++t) planes_to_rows(planes.data(), n, channels, height * width, rows.data(), {t, 3});
    const auto plane = [&](int64_t i, int64_t c, int64_t y, int64_t x) {
        return planes[static_cast<size_t>(((i * channels + c) * height + y) * width + x)];
    };
    for (int t = 0; t < 3; ++t) rows_to_planes(rows.data(), n, channels, height * width, back.data(), {t, 3});
    CHECK(back == planes);
    const MapShape shape{n, height, width, channels};
    std::vector<float> half(static_cast<size_t>(n * channels * (height / 2) * (width / 2))), twice(planes.size() * 4);
    for (int t = 0; t < 2; ++t) average_pool2(shape, rows.data(), half.data(), {t, 2});
    for (int t = 0; t < 2; ++t) upsample2(shape, rows.data(), twice.data(), {t, 2});
    for (int64_t i = 0; i < n; ++i)
        for (int64_t c = 0; c < channels; ++c) {
            for (int64_t y = 0; y < height / 2; ++y)
                for (int64_t x = 0; x < width / 2; ++x)
                    CHECK_NEAR(half[static_cast<size_t>(((i * (height / 2) + y) * (width / 2) + x) * channels + c)],
                               (plane(i, c, 2 * y, 2 * x) + plane(i, c, 2 * y, 2 * x + 1) + plane(i, c, 2 * y + 1, 2 * x) +
                                plane(i, c, 2 * y + 1, 2 * x + 1)) /
                                   4,
                               1e-6);
            for (int64_t y = 0; y < 2 * height; ++y)
                for (int64_t x = 0; x < 2 * width; ++x)
                    CHECK(twice[static_cast<size_t>(((i * 2 * height + y) * 2 * width + x) * channels + c)] ==
                          plane(i, c, y / 2, x / 2));
        }
}
