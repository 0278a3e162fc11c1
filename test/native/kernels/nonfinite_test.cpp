#include <cmath>
#include <vector>

#include "reference.h"

// NaN and infinities: results are not finite where float64 says so, so that the check of latents and pixels hears of it, and
// nothing else is touched.

using namespace kernel_tests;

namespace {

constexpr float kOdd[] = {NAN, INFINITY, -INFINITY};

/// Finite in the same places, and there the same numbers but for rounding.
void same_places(const char * set, const std::string & what, const std::vector<float> & out, const std::vector<double> & expected,
                 double most) {
    for (size_t i = 0; i < out.size(); ++i) {
        const bool finite = std::isfinite(expected[i]);
        if (std::isfinite(out[i]) == finite && (!finite || std::fabs(out[i] - expected[i]) <= most)) continue;
        check::fail(set, static_cast<int>(i),
                    what + ": " + std::to_string(out[i]) + " in place of " + std::to_string(expected[i]));
        return;
    }
}

void put(StoredMatrix & w, Element type, size_t at, float value) {
    w.full[at] = value;
    uint16_t * half = reinterpret_cast<uint16_t *>(w.bytes.data());
    if (type == Element::f16) {
        half[at] = float_to_half(value);
    } else if (type == Element::bf16) {
        half[at] = float_to_bfloat(value);
    } else {
        reinterpret_cast<float *>(w.bytes.data())[at] = value;
    }
}

struct Product {
    const TileSet & tiles;
    ConvShape s;
    std::vector<float> x, bias, add, residual;
    StoredMatrix w;
    Gate gate;

    Product(const TileSet & set, const ConvShape & shape, Element type, Gate gate_)
        : tiles(set),
          s(shape),
          x(random_values(s.n * s.in * s.height * s.width)),
          bias(random_values(s.out)),
          add(random_values(s.n * s.out)),
          residual(random_values(s.pixels() * s.out)),
          w(stored(s.out, s.in * s.taps(), type)),
          gate(gate_) {}

    Epilogue epilogue() const {
        Epilogue e;
        e.bias = bias.data(), e.channel_add = add.data(), e.residual = residual.data(), e.activation = gate;
        return e;
    }
    std::vector<float> run() const {
        const auto rows = in_form({&tiles, nullptr, &vector_set()}, x, s.in, tiles.bf16 ? Form::bf16 : Form::f32);
        std::vector<float> out(static_cast<size_t>(s.pixels() * s.out), 0.0f);
        for (int t = 0; t < 2; ++t) conv2d(tiles, vector_set(), s, rows.data(), w.matrix, epilogue(), {out.data()}, {t, 2});
        return out;
    }
    std::vector<double> expected() const {
        auto out = reference_conv(s, x, w.full);
        apply_epilogue(s, epilogue(), out);
        return out;
    }
    void check(const std::string & what) const { same_places(tiles.name, what, run(), expected(), tiles.bf16 ? 0.2 : 1e-4); }
};

/// A linear layer and 3x3 convolutions with tails, the second of stride 2.
std::vector<ConvShape> shapes() {
    ConvShape conv;
    conv.in = 11, conv.height = 5, conv.width = 9, conv.out = 70, conv.out_height = 5, conv.out_width = 9;
    ConvShape half = conv;
    half.stride = 2, half.out_height = 3, half.out_width = 5;
    return {ConvShape::linear(15, 37, 70), conv, half};
}

/// Norms and gates in both forms; the bfloat16 rows read back as float32.
template <typename F>
void for_every_form(F run) {
    for_every_vector_set([&](const VectorSet & vectors) {
        for_every_set([&](const TileSet & tiles) { run(RowKernels{&tiles, &int8_portable(), &vectors}); });
    });
}

struct Rows {
    RowFormat format;
    std::vector<uint8_t> bytes;

    Rows(const RowKernels & kernels, int64_t rows, int64_t channels) {
        format.form = kernels.tiles->bf16 ? Form::bf16 : Form::f32, format.rows = rows, format.channels = channels;
        bytes.resize(static_cast<size_t>(format.bytes()));
    }
    std::vector<float> values() const {
        std::vector<float> out;
        for (int64_t i = 0; i < format.rows * format.channels; ++i) {
            const uint8_t * row = bytes.data() + i / format.channels * format.row_bytes();
            const int64_t c = i % format.channels;
            out.push_back(format.form == Form::bf16 ? bfloat_to_float(reinterpret_cast<const uint16_t *>(row)[c])
                                                    : reinterpret_cast<const float *>(row)[c]);
        }
        return out;
    }
};

/// Not finite exactly where `struck` says, and unchanged everywhere else.
template <typename F>
void only_where(const RowKernels & kernels, const char * what, const std::vector<float> & out, const std::vector<float> & clean,
                F struck) {
    for (size_t i = 0; i < out.size(); ++i) {
        const bool wrong = struck(static_cast<int64_t>(i)) ? std::isfinite(out[i]) : out[i] != clean[i];
        if (!wrong) continue;
        check::fail((std::string(kernels.vectors->name) + " " + kernels.tiles->name).c_str(), static_cast<int>(i),
                    std::string(what) + ": " + std::to_string(out[i]));
        return;
    }
}

}  // namespace

TEST(products_pass_on_what_is_not_finite_and_nothing_else) {
    constexpr Element types[] = {Element::f32, Element::f16, Element::bf16, Element::other};
    for_every_set([&](const TileSet & tiles) {
        int round = 0;
        for (const ConvShape & s : shapes()) {
            for (const float odd : kOdd) {
                const Element type = types[round % 4];
                const Product clean(tiles, s, type, static_cast<Gate>(round++ % 4));
                Product product = clean;
                product.w.matrix.data = product.w.bytes.data();
                product.x[static_cast<size_t>(pick(0, static_cast<int64_t>(product.x.size()) - 1))] = odd;
                product.check("activation");
                product.x = clean.x;
                product.residual[17] = odd;
                product.check("residual");
                product.residual = clean.residual;
                product.add[9] = odd;
                product.check("added channel");
                product.add = clean.add;
                product.bias[66] = odd;
                product.check("bias");
                product.bias = clean.bias;
                // The middle tap, which no pixel's window leaves out: outside of the picture a weight is multiplied by zero.
                put(product.w, type, static_cast<size_t>((65 * s.in + s.in - 1) * s.taps() + s.taps() / 2), odd);
                product.check("weight");
            }
        }
    });
}

TEST(attention_passes_on_what_is_not_finite_and_nothing_else) {
    for_every_set([](const TileSet & tiles) {
        for (const float odd : kOdd) {
            for (const int64_t keys : {5, 77, 401}) {
                AttentionShape s;
                s.batch = 2, s.heads = 2, s.dim = 33, s.queries = 67, s.keys = keys;
                const int64_t width = s.heads * s.dim;
                const auto q = random_values(s.batch * s.queries * width), k = random_values(s.batch * keys * width),
                           v = random_values(s.batch * keys * width);
                for (int side = 0; side < 3; ++side) {
                    std::vector<float> in[3] = {q, k, v};
                    in[side][static_cast<size_t>(pick(0, static_cast<int64_t>(in[side].size()) - 1))] = odd;
                    std::vector<float> out(q.size(), 0.0f);
                    attention(tiles, nullptr, s, in[0].data(), in[1].data(), in[2].data(), out.data(), {0, 1});
                    const std::string what = std::string(1, "qkv"[side]) + " of " + std::to_string(keys) + " keys";
                    same_places(tiles.name, what, out, reference_attention(s, in[0], in[1], in[2]), tiles.bf16 ? 0.1 : 1e-4);
                }
            }
        }
    });
}

// Scores of -infinity weigh nothing, even where a whole block of keys has no other; where no key has another, there is no mean.
TEST(attention_with_scores_of_minus_infinity) {
    for_every_set([](const TileSet & tiles) {
        for (const auto & [dim, finite] :
             std::vector<std::pair<int64_t, int64_t>>{{8, 0}, {8, 3}, {33, 0}, {64, 0}, {64, 3}, {160, 0}, {512, 0}}) {
            AttentionShape s;
            s.dim = dim, s.queries = 3, s.keys = 400;
            const std::vector<float> q(static_cast<size_t>(s.queries * s.dim), 1.0f);
            auto k = random_values(s.keys * s.dim);
            const auto v = random_values(s.keys * s.dim);
            for (int64_t key = 0; key < s.keys - finite; ++key) k[static_cast<size_t>(key * s.dim + key % s.dim)] = -INFINITY;
            std::vector<float> out(q.size(), 0.0f);
            attention(tiles, nullptr, s, q.data(), k.data(), v.data(), out.data(), {0, 1});
            same_places(tiles.name, std::to_string(finite) + " finite", out, reference_attention(s, q, k, v),
                        tiles.bf16 ? 0.1 : 1e-4);
        }
    });
}

TEST(group_norm_passes_on_what_is_not_finite_and_nothing_else) {
    for_every_form([](const RowKernels & kernels) {
        GroupNormShape s;
        s.n = 2, s.groups = 3, s.channels = 3 * 7, s.pixels = 130;
        const auto x = random_values(s.n * s.pixels * s.channels), w = random_values(s.channels), b = random_values(s.channels);
        const auto run = [&](const std::vector<float> & in, const std::vector<float> & weight) {
            RowSource source;
            source.data[0] = in.data(), source.channels[0] = s.channels;
            std::vector<float> moments(static_cast<size_t>(s.moments()));
            Rows out(kernels, s.n * s.pixels, s.channels);
            for (int t = 0; t < 2; ++t) group_moments(*kernels.vectors, s, source, moments.data(), {t, 2});
            for (int t = 0; t < 2; ++t)
                group_norm(kernels, s, source, moments.data(), weight.data(), b.data(), nullptr, nullptr, out.format.form,
                           out.bytes.data(), {t, 2});
            return out.values();
        };
        for (int gate = 0; gate < 4; ++gate) {
            s.gate = static_cast<Gate>(gate);
            const auto clean = run(x, w);
            for (const float odd : kOdd) {
                const int64_t at = pick(0, static_cast<int64_t>(x.size()) - 1);
                auto in = x, weight = w;
                in[static_cast<size_t>(at)] = odd;
                const auto group = [&](int64_t i) { return i / (s.pixels * s.channels) * s.groups + i % s.channels / 7; };
                only_where(kernels, "group norm", run(in, w), clean, [&](int64_t i) { return group(i) == group(at); });
                weight[10] = NAN;
                only_where(kernels, "weight", run(x, weight), clean, [&](int64_t i) { return i % s.channels == 10; });
            }
        }
    });
}

TEST(layer_norm_and_geglu_pass_on_what_is_not_finite_and_nothing_else) {
    for_every_form([](const RowKernels & kernels) {
        const int64_t rows = 5, dim = 37;
        const auto x = random_values(rows * 2 * dim), w = random_values(dim), b = random_values(dim);
        const auto norm = [&](const std::vector<float> & in) {
            Rows out(kernels, rows, dim);
            layer_norm(kernels, in.data(), 1e-5f, w.data(), b.data(), out.format, out.bytes.data(), {0, 1});
            return out.values();
        };
        const auto gated = [&](const std::vector<float> & in) {
            Rows out(kernels, rows, dim);
            geglu(kernels, in.data(), out.format, out.bytes.data(), {0, 1});
            return out.values();
        };
        const auto clean = norm(x), clean_gated = gated(x);
        for (const float odd : kOdd) {
            auto in = x;
            in[2 * dim + 36] = odd;
            only_where(kernels, "layer norm", norm(in), clean, [&](int64_t i) { return i / dim == 2; });
            in = x;
            in[2 * (2 * dim) + 36] = odd;  // a value
            only_where(kernels, "geglu", gated(in), clean_gated, [&](int64_t i) { return i == 2 * dim + 36; });
            in = x;
            in[2 * (2 * dim) + dim] = odd;  // a gate
            only_where(kernels, "geglu", gated(in), clean_gated, [&](int64_t i) { return i == 2 * dim; });
        }
    });
}
