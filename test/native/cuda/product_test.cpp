#include "cuda/product.h"

#include <algorithm>

#include "check.h"
#include "stored_weights.h"

// Convolutions and linear layers against float64.

using namespace cuda_test;
using namespace latent::cuda;

namespace {

struct ProductCase {
    const char * what;
    int type, batch, height, width, c1, c2, out, kernel, stride;
    bool upsample, right_bottom, extras, gated;
    int activation, splits;
    ProductTile tile;
    int crop_height = 0, crop_width = 0, first_row = 0, rows = 0;
    bool f32_out = false;
    int rank = 0;  // of an adapter's side product
    bool gain = false;
};

/// An adapter's factors: rows of the lower product have channels of other layers before and after this one's.
struct ProductSide {
    static constexpr int first = 8;
    int rank = 0, stride = 0;
    std::vector<float> low, up;
    ProductSide(int of_rank, int pixels, int rows, Numbers & numbers) : rank(of_rank), stride(first + padded8(of_rank) + 8) {
        if (rank == 0) return;
        low = numbers.list(static_cast<size_t>(pixels) * stride, 3);
        for (size_t i = 0; i < low.size(); ++i) {
            const int channel = static_cast<int>(i % stride) - first;
            if (channel >= rank && channel < padded8(rank)) low[i] = 0;
        }
        up = numbers.list(static_cast<size_t>(rows) * rank, 0.7f / std::sqrt(static_cast<float>(rank)));
    }
    double sum(size_t pixel, int row) const {
        double v = 0;
        for (int r = 0; r < rank; ++r) v += static_cast<double>(low[pixel * stride + first + r]) * up[row * rank + r];
        return v;
    }
};

struct ProductShape {
    int pad, seen_height, seen_width, out_height, out_width;
    explicit ProductShape(const ProductCase & c) {
        pad = c.right_bottom ? 0 : (c.kernel - 1) / 2;
        const int both = c.right_bottom ? 1 : 2 * pad;
        seen_height = c.crop_height ? c.crop_height : c.height * (c.upsample ? 2 : 1);
        seen_width = c.crop_width ? c.crop_width : c.width * (c.upsample ? 2 : 1);
        out_height = (seen_height + both - c.kernel) / c.stride + 1;
        out_width = (seen_width + both - c.kernel) / c.stride + 1;
        if (c.rows) out_height = c.rows;
    }
};

/// By definition, in double.
std::vector<double> product_reference(const ProductCase & c, const ProductShape & s, const std::vector<float> & x1,
                                      const std::vector<float> & x2, const std::vector<float> & w,
                                      const std::vector<float> & gain, const std::vector<float> & bias,
                                      const std::vector<float> & add, const std::vector<float> & residual,
                                      const ProductSide & side) {
    const int in = c.c1 + c.c2, taps = c.kernel * c.kernel, rows = c.gated ? 2 * c.out : c.out;
    std::vector<double> y, sums(static_cast<size_t>(rows));
    for (int n = 0; n < c.batch; ++n) {
        for (int oy = 0; oy < s.out_height; ++oy) {
            for (int ox = 0; ox < s.out_width; ++ox) {
                for (int o = 0; o < rows; ++o) sums[o] = side.sum(y.size() / c.out, o);
                for (int t = 0; t < taps; ++t) {
                    const int iy = (oy + c.first_row) * c.stride + t / c.kernel - s.pad,
                              ix = ox * c.stride + t % c.kernel - s.pad;
                    if (iy < 0 || iy >= s.seen_height || ix < 0 || ix >= s.seen_width) continue;
                    const int pixel = (n * c.height + (c.upsample ? iy / 2 : iy)) * c.width + (c.upsample ? ix / 2 : ix);
                    for (int i = 0; i < in; ++i) {
                        const double v = i < c.c1 ? x1[pixel * c.c1 + i] : x2[pixel * c.c2 + i - c.c1];
                        for (int o = 0; o < rows; ++o) sums[o] += v * w[(static_cast<size_t>(o) * in + i) * taps + t];
                    }
                }
                for (int o = 0; o < rows; ++o) sums[o] = sums[o] * (c.gain ? gain[o] : 1) + bias[o];
                for (int o = 0; o < c.out; ++o) {
                    double v = sums[o];
                    if (c.gated) v *= gate(sums[c.out + o], 2);
                    if (c.extras) v += add[n * c.out + o];
                    v = gate(v, c.activation);
                    if (c.extras) v += residual[y.size()];
                    y.push_back(v);
                }
            }
        }
    }
    return y;
}

enum class SideMistake { none, left_out, wrong_rows, wrong_first, no_gain, other_gain, scaled_bias };

/// The error of a product, and that of its worst number, in units of what rounding may do.
struct ProductError {
    double all, worst;
    bool small() const { return all < 1 && worst < 8; }
};

template <typename T>
ProductError error_of_product(const ProductCase & c, unsigned seed, SideMistake mistake = SideMistake::none) {
    test_seed(seed);
    Numbers numbers(seed);
    const ProductShape s(c);
    const int in = c.c1 + c.c2, taps = c.kernel * c.kernel, rows = c.gated ? 2 * c.out : c.out;
    const int pixels = c.batch * c.height * c.width, m = c.batch * s.out_height * s.out_width, columns = padded8(c.out);
    const auto x1 = as<T>(numbers.list(static_cast<size_t>(pixels) * c.c1)),
               x2 = as<T>(numbers.list(static_cast<size_t>(pixels) * c.c2));
    StoredWeights w = StoredWeights::make(c.type, rows, in, taps, 1.7f / std::sqrt(static_cast<float>(in * taps)), numbers);
    auto bias = numbers.list(static_cast<size_t>(rows));
    const auto add = numbers.list(static_cast<size_t>(c.batch) * c.out);
    const auto residual = as<T>(numbers.list(static_cast<size_t>(m) * c.out));
    ProductSide side(c.rank, m, rows, numbers);
    side.low = as<T>(side.low), side.up = as<T>(side.up);
    auto gain = numbers.list(static_cast<size_t>(rows), 0.7f);
    for (float & each : gain) each += 1;
    // The tile holds weights as T.
    const auto expected = product_reference(c, s, x1, x2, as<T>(w.values), gain, bias, add, residual, side);
    if (mistake == SideMistake::other_gain) std::rotate(gain.begin(), gain.begin() + 1, gain.end());
    for (int o = 0; o < rows && mistake == SideMistake::scaled_bias; ++o) bias[o] *= gain[o];

    const PackedWeights packed = packed_weights<T>(w);
    const Bytes dx1 = to_device<T>(padded_rows(x1, c.c1, padded8(c.c1))), dx2 = to_device<T>(x2);
    const Bytes dbias = to_device<float>(padded_rows(bias, rows, padded8(rows)));
    const Bytes dgain = to_device<float>(padded_rows(gain, rows, padded8(rows)));
    const Bytes dadd = to_device<float>(padded_rows(add, c.out, columns));
    const Bytes dresidual = to_device<T>(padded_rows(residual, c.out, columns));
    const Bytes y = c.f32_out ? room<float>(static_cast<size_t>(m) * columns) : room<T>(static_cast<size_t>(m) * columns);
    const Bytes partial = room<float>(c.splits > 1 ? static_cast<size_t>(c.splits) * m * columns : 1);

    ProductArgs p;
    p.x1 = dx1.data(), p.x2 = dx2.data(), p.c1 = padded8(c.c1), p.c2 = c.c2;
    p.w = packed.view, p.bias = static_cast<const float *>(dbias.data()), p.y = y.data();
    if (c.gain && mistake != SideMistake::no_gain) p.gain = static_cast<const float *>(dgain.data());
    if (c.extras) p.channel_add = static_cast<const float *>(dadd.data()), p.residual = dresidual.data();
    p.partial = static_cast<float *>(partial.data());
    p.m = m, p.columns = columns, p.activation = c.activation, p.add_stride = columns, p.gated = c.gated, p.f32_out = c.f32_out;
    p.height = c.height, p.width = c.width, p.seen_height = s.seen_height, p.seen_width = s.seen_width;
    p.out_height = s.out_height, p.out_width = s.out_width, p.kernel = c.kernel, p.stride = c.stride;
    p.pad_top = s.pad - c.first_row * c.stride, p.pad_left = s.pad, p.upsample = c.upsample;
    p.spatial = c.kernel > 1 || c.stride > 1 || c.upsample, p.splits = c.splits;
    const Bytes dlow = to_device<T>(side.low);
    std::vector<float> upper = c.rank ? side.up : std::vector<float>(static_cast<size_t>(rows));
    if (mistake == SideMistake::wrong_rows) std::rotate(upper.begin(), upper.begin() + c.rank, upper.end());
    const PackedWeights up = packed_weights<T>(StoredWeights::of(upper, rows, c.rank ? c.rank : 1));
    if (c.rank && mistake != SideMistake::left_out) {
        const int first = mistake == SideMistake::wrong_first ? 0 : ProductSide::first;
        p.side.x1 = static_cast<const T *>(dlow.data()) + first, p.side.c1 = side.stride, p.side.w = up.view;
    }
    product<T>(p, c.tile, nullptr);

    const auto got = c.f32_out ? from_device<float>(y) : from_device<T>(y);
    std::vector<double> with_padding(got.size(), 0.0);
    for (size_t i = 0; i < expected.size(); ++i) with_padding[i / c.out * columns + i % c.out] = expected[i];
    const double unit = c.f32_out ? 1e-5 : std::is_same_v<T, bf16> ? 3e-3 : 4e-4;
    return {error_of(got, with_padding) / unit, worst_of(got, with_padding) / unit};
}

template <typename T>
void check_product(const ProductCase & c, unsigned seed) {
    const ProductError error = error_of_product<T>(c, seed);
    if (!error.small())
        check::fail(__FILE__, __LINE__,
                    std::string(c.what) + ": error " + std::to_string(error.all) + ", worst " + std::to_string(error.worst));
}

constexpr auto t1 = ProductTile::t128x128, t2 = ProductTile::t128x64, t3 = ProductTile::t64x64;
constexpr int bf = LATENT_CUDA_BF16, f = LATENT_CUDA_F32;

const ProductCase kCases[] = {
    // what, type, n, h, w, c1, c2, out, k, s, up, rb, extras, gated, act, splits, tile
    {"3x3", bf, 2, 7, 9, 32, 0, 64, 3, 1, false, false, true, false, 0, 1, t3},
    {"3x3, wide tile", bf, 2, 9, 11, 40, 0, 136, 3, 1, false, false, true, false, 0, 1, t1},
    {"3x3, long tile", bf, 1, 12, 11, 64, 0, 24, 3, 1, false, false, false, false, 1, 1, t2},
    {"3x3 of two sources", f, 2, 5, 6, 24, 40, 48, 3, 1, false, false, true, false, 0, 1, t3},
    {"few channels", LATENT_CUDA_F16, 1, 6, 5, 4, 0, 40, 3, 1, false, false, false, false, 0, 1, t3},
    {"few channels out, float32", bf, 1, 6, 5, 40, 0, 3, 3, 1, false, false, false, false, 0, 1, t3, 0, 0, 0, 0, true},
    {"stride 2", bf, 1, 8, 10, 32, 0, 32, 3, 2, false, false, false, false, 0, 1, t3},
    {"stride 2, padded at the right and bottom", bf, 1, 8, 8, 32, 0, 32, 3, 2, false, true, false, false, 0, 1, t2},
    {"upsampling", bf, 1, 4, 5, 32, 0, 32, 3, 1, true, false, true, false, 0, 1, t3},
    {"upsampling, cropped", bf, 1, 4, 4, 32, 0, 16, 3, 1, true, false, false, false, 0, 1, t3, 7, 7},
    {"a band of rows", bf, 1, 9, 5, 16, 0, 16, 3, 1, false, false, false, false, 0, 1, t3, 0, 0, 4, 3},
    {"split sum", bf, 2, 4, 4, 128, 0, 72, 3, 1, false, false, true, false, 1, 5, t3},
    {"split sum, wide tile", bf, 1, 4, 4, 96, 32, 72, 1, 1, false, false, true, false, 0, 2, t1},
    {"patches", bf, 1, 8, 8, 3, 0, 24, 4, 4, false, false, false, false, 0, 1, t3},
    {"linear", bf, 2, 1, 77, 72, 0, 120, 1, 1, false, false, true, false, 2, 1, t3},
    {"linear, wide tile", bf, 1, 1, 130, 64, 0, 128, 1, 1, false, false, true, false, 3, 1, t1},
    {"linear of two sources", bf, 1, 1, 40, 24, 16, 40, 1, 1, false, false, false, false, 0, 1, t2},
    {"gate", bf, 1, 1, 70, 64, 0, 72, 1, 1, false, false, false, true, 0, 1, t3},
    {"gate, wide tile", f, 1, 1, 33, 40, 0, 136, 1, 1, false, false, false, true, 0, 1, t1},
    {"int8", LATENT_CUDA_Q8_0, 1, 1, 70, 96, 0, 72, 1, 1, false, false, true, false, 0, 1, t3},
    {"int8, 3x3", LATENT_CUDA_Q8_0, 1, 6, 6, 64, 0, 40, 3, 1, false, false, false, false, 0, 1, t2},
    {"int8, split", LATENT_CUDA_Q8_0, 1, 3, 3, 160, 32, 40, 3, 1, false, false, true, false, 0, 3, t3},
    {"int8, gate", LATENT_CUDA_Q8_0, 1, 1, 33, 64, 0, 40, 1, 1, false, false, false, true, 0, 1, t2},
    {"int4", LATENT_CUDA_Q4_0, 1, 1, 33, 96, 0, 72, 1, 1, false, false, false, false, 0, 1, t2},
    {"int8, 5x5", LATENT_CUDA_Q8_0, 1, 5, 6, 32, 0, 24, 5, 1, false, false, false, false, 0, 1, t3},
    {"int8, 1x1 with a stride", LATENT_CUDA_Q8_0, 1, 6, 6, 64, 0, 40, 1, 2, false, false, false, false, 0, 1, t2},
    {"int4, 5x5", LATENT_CUDA_Q4_0, 1, 4, 5, 32, 0, 24, 5, 1, false, false, false, false, 0, 1, t2},
    {"int4, 3x3", LATENT_CUDA_Q4_0, 1, 6, 6, 64, 0, 40, 3, 1, false, false, false, false, 0, 1, t3},
    {"int8, 3x3, part of a step, odd width", LATENT_CUDA_Q8_0, 1, 5, 6, 32, 0, 5, 3, 1, false, false, false, false, 0, 1, t3},
    {"int4, 3x3, part of a step, odd width", LATENT_CUDA_Q4_0, 1, 5, 6, 32, 0, 67, 3, 1, false, false, false, false, 0, 1, t2},
    {"int4 of 256", LATENT_CUDA_Q4_K, 1, 1, 33, 256, 0, 24, 1, 1, false, false, false, false, 0, 1, t3},
    {"int4 of 256, 3x3", LATENT_CUDA_Q4_K, 1, 4, 4, 256, 0, 24, 3, 1, false, false, false, false, 0, 1, t3},
};

const ProductCase kAdapted[] = {
    // what, type, n, h, w, c1, c2, out, k, s, up, rb, extras, gated, act, splits, tile, crop, band, f32, rank
    {"linear", bf, 2, 1, 77, 72, 0, 120, 1, 1, false, false, true, false, 2, 1, t3, 0, 0, 0, 0, false, 16},
    {"linear, odd rank, wide tile", f, 1, 1, 130, 64, 0, 136, 1, 1, false, false, true, false, 0, 1, t1, 0, 0, 0, 0, false, 3},
    {"linear, large rank, float32", bf, 1, 1, 40, 24, 16, 40, 1, 1, false, false, false, false, 0, 1, t2, 0, 0, 0, 0, true, 200},
    {"1x1", bf, 2, 5, 6, 64, 0, 40, 1, 1, false, false, true, false, 1, 1, t3, 0, 0, 0, 0, false, 4},
    {"3x3", bf, 2, 7, 9, 32, 0, 64, 3, 1, false, false, true, false, 0, 1, t3, 0, 0, 0, 0, false, 8},
    {"3x3, long tile", bf, 1, 12, 11, 64, 0, 24, 3, 1, false, false, false, false, 1, 1, t2, 0, 0, 0, 0, false, 40},
    {"3x3 of two sources", f, 2, 5, 6, 24, 40, 48, 3, 1, false, false, true, false, 0, 1, t3, 0, 0, 0, 0, false, 70},
    {"stride 2", bf, 1, 8, 10, 32, 0, 32, 3, 2, false, false, false, false, 0, 1, t3, 0, 0, 0, 0, false, 8},
    {"upsampling", bf, 1, 4, 5, 32, 0, 32, 3, 1, true, false, true, false, 0, 1, t3, 0, 0, 0, 0, false, 8},
    {"split sum", bf, 2, 4, 4, 128, 0, 72, 3, 1, false, false, true, false, 1, 5, t3, 0, 0, 0, 0, false, 12},
    {"gate", bf, 1, 1, 70, 64, 0, 72, 1, 1, false, false, false, true, 0, 1, t3, 0, 0, 0, 0, false, 16},
    {"gate, wide tile", f, 1, 1, 33, 40, 0, 136, 1, 1, false, false, false, true, 0, 1, t1, 0, 0, 0, 0, false, 5},
    {"int8", LATENT_CUDA_Q8_0, 1, 1, 70, 96, 0, 72, 1, 1, false, false, true, false, 0, 1, t3, 0, 0, 0, 0, false, 16},
    {"int8, 3x3, split", LATENT_CUDA_Q8_0, 1, 3, 3, 160, 32, 40, 3, 1, false, false, true, false, 0, 3, t3, 0, 0, 0, 0, false, 8},
    {"int8, gate", LATENT_CUDA_Q8_0, 1, 1, 33, 64, 0, 40, 1, 1, false, false, false, true, 0, 1, t2, 0, 0, 0, 0, false, 130},
    {"int4", LATENT_CUDA_Q4_0, 1, 1, 33, 96, 0, 72, 1, 1, false, false, false, false, 0, 1, t2, 0, 0, 0, 0, false, 16},
    {"int4, 3x3", LATENT_CUDA_Q4_0, 1, 6, 6, 64, 0, 40, 3, 1, false, false, false, false, 0, 1, t3, 0, 0, 0, 0, false, 6},
    {"int4 of 256", LATENT_CUDA_Q4_K, 1, 1, 33, 256, 0, 24, 1, 1, false, false, false, false, 0, 1, t3, 0, 0, 0, 0, false, 72},
};

const ProductCase kScaled[] = {
    {"linear", bf, 2, 1, 77, 72, 0, 120, 1, 1, false, false, true, false, 2, 1, t3, 0, 0, 0, 0, false, 16, true},
    {"linear, odd width, wide tile",
     f,
     1,
     1,
     130,
     64,
     0,
     133,
     1,
     1,
     false,
     false,
     true,
     false,
     0,
     1,
     t1,
     0,
     0,
     0,
     0,
     false,
     0,
     true},
    {"3x3", bf, 2, 7, 9, 32, 0, 64, 3, 1, false, false, true, false, 1, 1, t3, 0, 0, 0, 0, false, 8, true},
    {"split sum, odd width", bf, 2, 4, 4, 128, 0, 71, 3, 1, false, false, true, false, 1, 5, t3, 0, 0, 0, 0, false, 12, true},
    {"gate, float32", bf, 1, 1, 70, 64, 0, 72, 1, 1, false, false, false, true, 0, 1, t3, 0, 0, 0, 0, true, 16, true},
    {"gate, wide tile", f, 1, 1, 33, 40, 0, 136, 1, 1, false, false, false, true, 0, 1, t1, 0, 0, 0, 0, true, 0, true},
    {"int8, float32",
     LATENT_CUDA_Q8_0,
     1,
     1,
     70,
     96,
     0,
     72,
     1,
     1,
     false,
     false,
     true,
     false,
     0,
     1,
     t3,
     0,
     0,
     0,
     0,
     true,
     0,
     true},
    {"int4, gate", LATENT_CUDA_Q4_0, 1, 1, 33, 96, 0, 40, 1, 1, false, false, false, true, 0, 1, t2, 0, 0, 0, 0, true, 3, true},
};

}  // namespace

/// Adapters: the sum goes on over the lower product and the upper factor.
TEST(product_of_adapted_layers) {
    unsigned seed = 100;
    for (const ProductCase & c : kAdapted) check_product<bf16>(c, seed++);
    for (const int i : {0, 4, 9, 10, 15}) check_product<f16>(kAdapted[i], 140);
}

/// Gains of adapters multiply the sum, with the side product, before the bias.
TEST(product_with_gains) {
    unsigned seed = 160;
    for (const ProductCase & c : kScaled) {
        check_product<bf16>(c, seed++);
        for (const SideMistake mistake : {SideMistake::no_gain, SideMistake::other_gain, SideMistake::scaled_bias})
            CHECK(!error_of_product<bf16>(c, seed, mistake).small());
    }
    check_product<f16>(kScaled[0], 180), check_product<f16>(kScaled[3], 181);
}

/// The bounds see a side that is missing, of other rows or of another layer.
TEST(wrong_sides_are_seen) {
    for (const int i : {0, 4, 9, 10, 12, 16}) {
        for (const SideMistake mistake : {SideMistake::left_out, SideMistake::wrong_rows, SideMistake::wrong_first})
            CHECK(!error_of_product<bf16>(kAdapted[i], 150, mistake).small());
    }
}

TEST(product_bf16) {
    unsigned seed = 1;
    for (const ProductCase & c : kCases) check_product<bf16>(c, seed++);
}

TEST(product_f16) {
    for (const int i : {0, 4, 18, 19, 23}) check_product<f16>(kCases[i], 40);
}

/// Rows of vectors in float32: time embeddings and what is made of them.
TEST(product_of_vectors) {
    for (const int type :
         {LATENT_CUDA_F32, LATENT_CUDA_F16, LATENT_CUDA_BF16, LATENT_CUDA_Q8_0, LATENT_CUDA_Q4_0, LATENT_CUDA_Q4_K}) {
        for (const bool gated : {false, true}) {
            const int rank = gated ? 5 : 300;  // of an adapter, behind another layer's channels
            test_seed(static_cast<unsigned>(type));
            Numbers numbers(static_cast<uint32_t>(type) + 7);
            const int rows = 10, in = type >= LATENT_CUDA_Q8_0 ? 512 : 300, out = 13, columns = padded8(out);
            const int weight_rows = gated ? 2 * out : out;
            StoredWeights w = StoredWeights::make(type, weight_rows, in, 1, 0.1f, numbers);
            const PackedWeights packed = packed_weights<bf16>(w);
            const auto x = numbers.list(static_cast<size_t>(rows) * in), bias = numbers.list(static_cast<size_t>(weight_rows)),
                       residual = numbers.list(static_cast<size_t>(rows) * out);
            const Bytes dx = to_device<float>(padded_rows(x, in, padded8(in)));
            const Bytes dbias = to_device<float>(padded_rows(bias, weight_rows, padded8(weight_rows)));
            const Bytes dresidual = to_device<float>(padded_rows(residual, out, columns)),
                        y = room<float>(static_cast<size_t>(rows) * columns);
            const ProductSide side(rank, rows, weight_rows, numbers);
            const Bytes dlow = to_device<float>(side.low);
            const PackedWeights up = packed_weights<bf16>(StoredWeights::of(side.up, weight_rows, rank));
            VectorProductArgs p;
            p.main.x = static_cast<const float *>(dx.data()), p.main.w = packed.view,
            p.bias = static_cast<const float *>(dbias.data());
            p.residual = static_cast<const float *>(dresidual.data()), p.y = static_cast<float *>(y.data());
            const auto gain = numbers.list(static_cast<size_t>(weight_rows), 2);
            const Bytes dgain = to_device<float>(padded_rows(gain, weight_rows, padded8(weight_rows)));
            const bool scaled = type % 2 == 0;
            if (scaled) p.gain = static_cast<const float *>(dgain.data());
            p.rows = rows, p.main.x_stride = padded8(in), p.columns = columns, p.activation = 1, p.gated = gated;
            p.side = {static_cast<const float *>(dlow.data()) + ProductSide::first, side.stride, up.view};
            vector_product<bf16>(p, nullptr);
            const auto values = type < LATENT_CUDA_Q8_0 ? as<bf16>(w.values) : w.values;
            ProductSide kept = side;
            kept.up = as<bf16>(side.up);
            std::vector<double> expected(static_cast<size_t>(rows) * columns, 0.0);
            for (int r = 0; r < rows; ++r) {
                for (int o = 0; o < out; ++o) {
                    double sum = kept.sum(r, o), other = gated ? kept.sum(r, out + o) : 0;
                    for (int i = 0; i < in; ++i) {
                        sum += static_cast<double>(x[r * in + i]) * values[o * in + i];
                        if (gated) other += static_cast<double>(x[r * in + i]) * values[(out + o) * in + i];
                    }
                    sum = sum * (scaled ? gain[o] : 1) + bias[o];
                    if (gated) sum *= gate(other * (scaled ? gain[out + o] : 1) + bias[out + o], 2);
                    expected[r * columns + o] = gate(sum, 1) + residual[r * out + o];
                }
            }
            CHECK(error_of(from_device<float>(y), expected) < 2e-6);
        }
    }
}

TEST(product_plan) {
    // A large map: no split, the widest tile. 8x8 of 1280 channels: every multiprocessor has work.
    const ProductPlan large = plan_product(2 * 64 * 64, 320, 2880, WeightKind::plain, false, 132);
    CHECK(large.splits == 1);
    const ProductPlan small = plan_product(2 * 8 * 8, 1280, 11520, WeightKind::plain, false, 132);
    CHECK(small.splits > 1);
    CHECK(product_workspace(small, 128, 1280) == static_cast<uint64_t>(small.splits) * 128 * 1280 * 4);
    CHECK(plan_product(128, 5120, 1280, WeightKind::plain, true, 132).splits == 1);
    CHECK(plan_product(8192, 320, 2880, WeightKind::int8, false, 132).tile != ProductTile::t128x128);
    for (int64_t k = 64; k < 3000; k += 64) {
        const ProductPlan plan = plan_product(64, 64, k, WeightKind::plain, false, 132);
        const int64_t steps = (k + 63) / 64, each = (steps + plan.splits - 1) / plan.splits;
        CHECK(each * (plan.splits - 1) < steps);
    }
}
