#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "check.h"
#include "core/error.h"
#include "core/tensor_source.h"

using namespace latent;

namespace {

uint32_t bits_of(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

float float_of(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

/// What a small float of this layout is worth, from the definition. Infinity and NaN are not asked for.
double defined_value(unsigned bits, int exponent_bits, int mantissa_bits) {
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = static_cast<int>(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
    const int mantissa = static_cast<int>(bits) & ((1 << mantissa_bits) - 1);
    const bool negative = bits >> (exponent_bits + mantissa_bits) & 1;
    const double magnitude = exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                                           : std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
    return negative ? -magnitude : magnitude;
}

bool same(float a, double b) {
    return a == b && std::signbit(a) == std::signbit(b);
}

}  // namespace

TEST(half_to_float_is_exact_for_every_half) {
    int wrong = 0;
    for (unsigned h = 0; h < 65536; ++h) {
        const float value = half_to_float(static_cast<uint16_t>(h));
        if ((h & 0x7c00) != 0x7c00) {
            wrong += !same(value, defined_value(h, 5, 10));
        } else if ((h & 0x3ff) == 0) {
            wrong += !(std::isinf(value) && std::signbit(value) == (h >= 0x8000));
        } else {
            wrong += !std::isnan(value) || (bits_of(value) >> 13 & 0x3ff) != (h & 0x3ff);  // the payload stays
        }
    }
    CHECK(wrong == 0);
}

TEST(float_to_half_rounds_to_nearest_even) {
    int wrong = 0;
    for (unsigned h = 0; h < 0x7c00; ++h) {
        const float low = half_to_float(static_cast<uint16_t>(h));
        const double high = h == 0x7bff ? 65536.0 : half_to_float(static_cast<uint16_t>(h + 1));
        const float middle = static_cast<float>((low + high) / 2);  // exact: one more bit
        const unsigned even = h % 2 == 0 ? h : h + 1;
        wrong += float_to_half(low) != h || float_to_half(-low) != (h | 0x8000);
        wrong += float_to_half(middle) != even || float_to_half(-middle) != (even | 0x8000);
        wrong += float_to_half(std::nextafterf(middle, 0.0f)) != h;
        wrong += float_to_half(std::nextafterf(middle, 1e9f)) != h + 1;
    }
    CHECK(wrong == 0);
    CHECK(float_to_half(std::numeric_limits<float>::infinity()) == 0x7c00);
    CHECK(float_to_half(-1e30f) == 0xfc00);
    CHECK(float_to_half(std::numeric_limits<float>::denorm_min()) == 0);
    const uint16_t nan = float_to_half(float_of(0x7f800001));
    CHECK((nan & 0x7c00) == 0x7c00 && (nan & 0x3ff) != 0);
}

TEST(bfloat_conversions) {
    int wrong = 0;
    for (unsigned b = 0; b < 65536; ++b) {
        const float value = bfloat_to_float(static_cast<uint16_t>(b));
        wrong += bits_of(value) != b << 16;
        const bool nan = (b & 0x7f80) == 0x7f80 && (b & 0x7f) != 0;
        if (!nan) wrong += float_to_bfloat(value) != b;
        if (nan) wrong += !std::isnan(bfloat_to_float(float_to_bfloat(value)));
    }
    CHECK(wrong == 0);
    CHECK(float_to_bfloat(float_of(0x3f808000)) == 0x3f80);  // ties go to even
    CHECK(float_to_bfloat(float_of(0x3f818000)) == 0x3f82);
    CHECK(float_to_bfloat(float_of(0x3f808001)) == 0x3f81);
    CHECK(float_to_bfloat(float_of(0x7f7fffff)) == 0x7f80);
    CHECK(std::isnan(bfloat_to_float(float_to_bfloat(float_of(0x7f800001)))));
}

TEST(eight_bit_floats) {
    std::vector<uint8_t> codes(256);
    for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i);
    std::vector<float> e4m3(256), e5m2(256);
    convert_to_f32(DType::f8_e4m3, codes.data(), e4m3.data(), 256);
    convert_to_f32(DType::f8_e5m2, codes.data(), e5m2.data(), 256);
    int wrong = 0;
    for (unsigned i = 0; i < 256; ++i) {
        wrong += (i & 0x7f) == 0x7f ? !std::isnan(e4m3[i]) : !same(e4m3[i], defined_value(i, 4, 3));
        if ((i & 0x7c) != 0x7c) wrong += !same(e5m2[i], defined_value(i, 5, 2));
    }
    CHECK(wrong == 0);
    CHECK(e4m3[0x7e] == 448.0f);
    CHECK(std::isinf(e5m2[0x7c]) && std::isinf(e5m2[0xfc]) && e5m2[0xfc] < 0);
    CHECK(std::isnan(e5m2[0x7d]));
}

namespace {

/// Converts from an address that is not aligned, as tensors in files are not.
template <typename T>
std::vector<float> converted(DType type, std::vector<T> values) {
    std::vector<uint8_t> bytes(values.size() * sizeof(T) + 1);
    std::copy_n(reinterpret_cast<const uint8_t *>(values.data()), bytes.size() - 1, bytes.begin() + 1);
    std::vector<float> result(values.size());
    convert_to_f32(type, bytes.data() + 1, result.data(), static_cast<int64_t>(values.size()));
    return result;
}

}  // namespace

TEST(plain_types_to_float) {
    using Floats = std::vector<float>;
    CHECK((converted<float>(DType::f32, {1.5f, -0.25f}) == Floats{1.5f, -0.25f}));
    CHECK((converted<double>(DType::f64, {0.1, -2.5}) == Floats{0.1f, -2.5f}));
    CHECK((converted<int64_t>(DType::i64, {int64_t{1} << 40, -3}) == Floats{1099511627776.0f, -3.0f}));
    CHECK((converted<int32_t>(DType::i32, {-7, 7}) == Floats{-7.0f, 7.0f}));
    CHECK((converted<int16_t>(DType::i16, {-300}) == Floats{-300.0f}));
    CHECK((converted<int8_t>(DType::i8, {-5, 5}) == Floats{-5.0f, 5.0f}));
    CHECK((converted<uint8_t>(DType::u8, {0, 255}) == Floats{0.0f, 255.0f}));
    CHECK((converted<uint8_t>(DType::boolean, {0, 1, 2}) == Floats{0.0f, 1.0f, 1.0f}));
    CHECK((converted<uint16_t>(DType::f16, {0x3c00, 0xc000}) == Floats{1.0f, -2.0f}));
    CHECK((converted<uint16_t>(DType::bf16, {0x3f80, 0xc000}) == Floats{1.0f, -2.0f}));
    float unused;
    const uint8_t block[34] = {};
    CHECK_THROWS(convert_to_f32(DType::q8_0, block, &unused, 32), ErrorCode::model_format);
}

TEST(dtype_tables) {
    CHECK(std::string(dtype_name(DType::boolean)) == "bool");
    CHECK(std::string(dtype_name(DType::q6_k)) == "q6_k");
    CHECK(dtype_block(DType::f16) == 1 && dtype_block_bytes(DType::f16) == 2);
    CHECK(dtype_block(DType::q8_0) == 32 && dtype_block_bytes(DType::q8_0) == 34);
    CHECK(dtype_block(DType::q4_k) == 256 && dtype_block_bytes(DType::q4_k) == 144);
    CHECK(dtype_is_quantised(DType::q4_0) && !dtype_is_quantised(DType::f64));
}
