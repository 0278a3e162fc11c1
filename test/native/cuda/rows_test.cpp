#include "cuda/rows.h"

#include "check.h"
#include "cuda/cuda_api.h"
#include "device_values.h"

using namespace cuda_test;
using namespace latent::cuda;

namespace {

/// Up to the rounding of a result.
template <typename T>
void expect_rows(const char * what, const Bytes & y, const std::vector<double> & expected) {
    const double error = error_of(from_device<T>(y), expected), bound = std::is_same_v<T, float>  ? 3e-6
                                                                        : std::is_same_v<T, bf16> ? 3e-3
                                                                                                  : 4e-4;
    if (!(error < bound)) check::fail(__FILE__, __LINE__, std::string(what) + ": " + std::to_string(error));
}

std::vector<double> wide(const std::vector<float> & v) {
    return {v.begin(), v.end()};
}

template <typename T>
void check_pointwise() {
    Numbers numbers(3);
    const auto a = as<T>(numbers.list(400, 3)), b = as<T>(numbers.list(400, 3));
    const Bytes da = to_device<T>(a), db = to_device<T>(b), y = room<T>(400);
    add<T>(da.data(), db.data(), y.data(), 400, nullptr);
    std::vector<double> expected(400);
    for (int i = 0; i < 400; ++i) expected[i] = static_cast<double>(a[i]) + b[i];
    expect_rows<T>("add", y, expected);
    for (int kind = 0; kind < 4; ++kind) {
        const Bytes z = room<T>(400);
        activation<T>(da.data(), z.data(), 400, kind, nullptr);
        for (int i = 0; i < 400; ++i) expected[i] = gate(a[i], kind);
        expect_rows<T>("activation", z, expected);
    }
    // 2 pictures of 5 pixels, 20 channels in rows of 24.
    const auto x = as<T>(numbers.list(200)), scale = numbers.list(40), shift = numbers.list(40);
    const Bytes dx = to_device<T>(padded_rows(x, 20, 24)), ds = to_device<float>(padded_rows(scale, 20, 24)),
                dt = to_device<float>(padded_rows(shift, 20, 24)), z = room<T>(240);
    affine<T>(
        {dx.data(), static_cast<const float *>(ds.data()), static_cast<const float *>(dt.data()), z.data(), 10, 5, 20, 24, 24, 1},
        nullptr);
    std::vector<double> scaled(240, 0.0);
    for (int i = 0; i < 200; ++i)
        scaled[i / 20 * 24 + i % 20] =
            gate(static_cast<double>(x[i]) * scale[i / 100 * 20 + i % 20] + shift[i / 100 * 20 + i % 20], 1);
    expect_rows<T>("affine", z, scaled);
    const Bytes shifted = room<T>(240);
    affine<T>({dx.data(), nullptr, static_cast<const float *>(dt.data()), shifted.data(), 10, 5, 20, 24, 24, 0}, nullptr);
    for (int i = 0; i < 200; ++i) scaled[i / 20 * 24 + i % 20] = static_cast<double>(x[i]) + shift[i / 100 * 20 + i % 20];
    expect_rows<T>("shift", shifted, scaled);
}

template <typename T>
void check_moves() {
    Numbers numbers(4);
    const auto a = as<T>(numbers.list(6 * 5)), b = as<T>(numbers.list(6 * 6));
    const Bytes da = to_device<T>(padded_rows(a, 5, 8)), db = to_device<T>(padded_rows(b, 6, 8)), y = room<T>(6 * 16);
    concat_channels<T>({da.data(), db.data(), y.data(), 6, 5, 8, 6, 8, 16}, nullptr);
    std::vector<double> expected(6 * 16, 0.0);
    for (int r = 0; r < 6; ++r) {
        for (int c = 0; c < 11; ++c) expected[r * 16 + c] = c < 5 ? a[r * 5 + c] : b[r * 6 + c - 5];
    }
    expect_rows<T>("concat", y, expected);

    // Three heads of 6 with q, k and v side by side: the keys, each head padded to 8.
    const auto qkv = as<T>(numbers.list(2 * 54));
    const Bytes dqkv = to_device<T>(padded_rows(qkv, 54, 56)), keys = room<T>(2 * 24);
    pick_channels<T>({dqkv.data(), keys.data(), 2, 3, 6, 6, 18, 8, 56, 24}, nullptr);
    std::vector<double> picked(2 * 24, 0.0);
    for (int i = 0; i < 36; ++i) picked[i / 18 * 24 + i % 18 / 6 * 8 + i % 6] = qkv[i / 18 * 54 + i % 18 / 6 * 18 + 6 + i % 6];
    expect_rows<T>("keys", keys, picked);

    // Tokens of 8: one, then three, for two pictures.
    const auto first = as<T>(numbers.list(2 * 8)), more = as<T>(numbers.list(2 * 24));
    const Bytes df = to_device<T>(first), dm = to_device<T>(more), joined = room<T>(2 * 32);
    concat_tokens<T>({df.data(), dm.data(), joined.data(), 2, 1, 3, 8}, nullptr);
    std::vector<double> tokens(64);
    for (int i = 0; i < 64; ++i) tokens[i] = i % 32 < 8 ? first[i / 32 * 8 + i % 32] : more[i / 32 * 24 + i % 32 - 8];
    expect_rows<T>("tokens", joined, tokens);
}

template <typename T>
void check_resampling() {
    Numbers numbers(5);
    const int height = 5, width = 6;
    const auto x = as<T>(numbers.list(2 * height * width * 8));
    const Bytes dx = to_device<T>(x), half = room<T>(2 * 2 * 3 * 8), twice = room<T>(2 * 10 * 12 * 8);
    avg_pool2<T>({dx.data(), half.data(), 2, height, width, 8}, nullptr);
    upsample2<T>({dx.data(), twice.data(), 2, height, width, 8}, nullptr);
    const auto at = [&](int n, int y, int c, int i) { return static_cast<double>(x[((n * height + y) * width + c) * 8 + i]); };
    std::vector<double> means, copies;
    for (int n = 0; n < 2; ++n) {
        for (int y = 0; y < 2; ++y) {
            for (int i = 0; i < 3 * 8; ++i) {
                const int c = i / 8 * 2;
                means.push_back((at(n, 2 * y, c, i % 8) + at(n, 2 * y, c + 1, i % 8) + at(n, 2 * y + 1, c, i % 8) +
                                 at(n, 2 * y + 1, c + 1, i % 8)) /
                                4);
            }
        }
        for (int y = 0; y < 10; ++y) {
            for (int i = 0; i < 12 * 8; ++i) copies.push_back(at(n, y / 2, i / 16, i % 8));
        }
    }
    expect_rows<T>("average", half, means);
    expect_rows<T>("upsampling", twice, copies);
}

template <typename T>
void check_host_layouts() {
    Numbers numbers(6);
    for (const bool planes : {false, true}) {
        const auto x = as<T>(numbers.list(2 * 7 * 5));
        const Bytes dx = to_device<float>(x), rows = room<T>(2 * 7 * 8), back = room<float>(70);
        from_host_layout<T>({dx.data(), rows.data(), 2, 7, 5, 8, planes}, nullptr);
        std::vector<double> expected(2 * 7 * 8, 0.0);
        for (int i = 0; i < 70; ++i) {
            const int n = i / 35, pixel = planes ? i % 7 : i % 35 / 5, channel = planes ? i % 35 / 7 : i % 5;
            expected[(n * 7 + pixel) * 8 + channel] = x[i];
        }
        CHECK(error_of(from_device<T>(rows), expected) == 0);
        to_host_layout<T>({rows.data(), back.data(), 2, 7, 5, 8, planes}, nullptr);
        CHECK(error_of(from_device<float>(back), wide(x)) == 0);
    }
}

template <typename T>
void check_tables() {
    Numbers numbers(7);
    const auto table = as<f16>(numbers.list(9 * 5)), x = as<T>(numbers.list(2 * 3 * 5));
    const std::vector<int32_t> ids = {8, 0, 3, 3, 7, 1};
    const Bytes dtable = to_device<f16>(table), dids(ids.data(), ids.size() * 4), y = room<T>(6 * 8), z = room<T>(6 * 8);
    const Bytes dx = to_device<T>(padded_rows(x, 5, 8));
    embed<T>({static_cast<const int32_t *>(dids.data()), nullptr, dtable.data(), LATENT_CUDA_F16, y.data(), 6, 3, 5, 8}, nullptr);
    embed<T>({nullptr, dx.data(), dtable.data(), LATENT_CUDA_F16, z.data(), 6, 3, 5, 8}, nullptr);
    std::vector<double> found(48, 0.0), added(48, 0.0);
    for (int i = 0; i < 30; ++i) {
        found[i / 5 * 8 + i % 5] = table[ids[i / 5] * 5 + i % 5];
        added[i / 5 * 8 + i % 5] = static_cast<double>(x[i]) + table[i / 5 % 3 * 5 + i % 5];
    }
    expect_rows<T>("embedding", y, found);
    expect_rows<T>("positions", z, added);
}

template <typename T>
void check_all_rows() {
    check_pointwise<T>();
    check_moves<T>();
    check_resampling<T>();
    check_host_layouts<T>();
    check_tables<T>();
}

}  // namespace

TEST(rows) {
    check_all_rows<bf16>();
    check_all_rows<f16>();
    check_all_rows<float>();
}

TEST(conversions) {
    Numbers numbers(8);
    const auto x = numbers.list(64, 100);
    const Bytes dx = to_device<float>(x), y = room<bf16>(64), z = room<f16>(64), back = room<float>(64);
    convert<float, bf16>(dx.data(), y.data(), 64, nullptr);
    convert<float, f16>(dx.data(), z.data(), 64, nullptr);
    CHECK(from_device<bf16>(y) == as<bf16>(x));
    CHECK(from_device<f16>(z) == as<f16>(x));
    convert<f16, float>(z.data(), back.data(), 64, nullptr);
    CHECK(from_device<float>(back) == as<f16>(x));
    convert<bf16, float>(y.data(), back.data(), 64, nullptr);
    CHECK(from_device<float>(back) == as<bf16>(x));
}
