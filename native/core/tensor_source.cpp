#include "core/tensor_source.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"

namespace latent {

namespace {

struct DTypeTraits {
    DType type;
    const char * name;
    int64_t block;
    int64_t block_bytes;
    int ggml;  // number in GGUF files, -1: none
};

// In the order of the enumeration. Block sizes: ggml-common.h.
constexpr DTypeTraits traits[] = {
    {DType::f32, "f32", 1, 4, 0},
    {DType::f16, "f16", 1, 2, 1},
    {DType::bf16, "bf16", 1, 2, 30},
    {DType::f64, "f64", 1, 8, 28},
    {DType::f8_e4m3, "f8_e4m3", 1, 1, -1},
    {DType::f8_e5m2, "f8_e5m2", 1, 1, -1},
    {DType::i64, "i64", 1, 8, 27},
    {DType::i32, "i32", 1, 4, 26},
    {DType::i16, "i16", 1, 2, 25},
    {DType::i8, "i8", 1, 1, 24},
    {DType::u8, "u8", 1, 1, -1},
    {DType::boolean, "bool", 1, 1, -1},
    {DType::q4_0, "q4_0", 32, 18, 2},
    {DType::q4_1, "q4_1", 32, 20, 3},
    {DType::q5_0, "q5_0", 32, 22, 6},
    {DType::q5_1, "q5_1", 32, 24, 7},
    {DType::q8_0, "q8_0", 32, 34, 8},
    {DType::q2_k, "q2_k", 256, 84, 10},
    {DType::q3_k, "q3_k", 256, 110, 11},
    {DType::q4_k, "q4_k", 256, 144, 12},
    {DType::q5_k, "q5_k", 256, 176, 13},
    {DType::q6_k, "q6_k", 256, 210, 14},
    {DType::u16, "u16", 1, 2, -1},
    {DType::u32, "u32", 1, 4, -1},
    {DType::u64, "u64", 1, 8, -1},
    {DType::f8_e8m0, "f8_e8m0", 1, 1, -1},
    {DType::f4_e2m1, "f4_e2m1", 2, 1, -1},
    {DType::iq1_s, "iq1_s", 256, 50, 19},
    {DType::iq1_m, "iq1_m", 256, 56, 29},
    {DType::iq2_xxs, "iq2_xxs", 256, 66, 16},
    {DType::iq2_xs, "iq2_xs", 256, 74, 17},
    {DType::iq2_s, "iq2_s", 256, 82, 22},
    {DType::iq3_xxs, "iq3_xxs", 256, 98, 18},
    {DType::iq3_s, "iq3_s", 256, 110, 21},
    {DType::iq4_nl, "iq4_nl", 32, 18, 20},
    {DType::iq4_xs, "iq4_xs", 256, 136, 23},
    {DType::tq1_0, "tq1_0", 256, 54, 34},
    {DType::tq2_0, "tq2_0", 256, 66, 35},
    {DType::q1_0, "q1_0", 128, 18, 41},
    {DType::mxfp4, "mxfp4", 32, 17, 39},
    {DType::nvfp4, "nvfp4", 64, 36, 40},
    {DType::c64, "c64", 1, 8, -1},
    {DType::c128, "c128", 1, 16, -1},
    {DType::opaque, "opaque", 1, 1, -1},
};

constexpr bool in_order() {
    for (size_t i = 0; i < sizeof(traits) / sizeof(traits[0]); ++i) {
        if (static_cast<size_t>(traits[i].type) != i) return false;
    }
    return true;
}
static_assert(in_order(), "the table follows the enumeration");

const DTypeTraits & traits_of(DType type) {
    return traits[static_cast<size_t>(type)];
}

float from_bits(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

uint32_t to_bits(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

// Branchless, so that loops over it can be vectorised. Exact for every input: subnormal halves are computed by an exact
// subtraction of two normal floats; infinities and NaN payloads are preserved.
inline float widen_half(uint16_t half) {
    const uint32_t magnitude = half & 0x7fffu;
    const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
    const uint32_t normal = (magnitude << 13) + (magnitude >= 0x7c00u ? 224u << 23 : 112u << 23);
    const uint32_t subnormal = to_bits(from_bits((magnitude << 13) + (113u << 23)) - from_bits(113u << 23));
    return from_bits((magnitude < 0x0400u ? subnormal : normal) | sign);
}

// OCP 8-bit formats: E4M3 has no infinity and one NaN magnitude; E5M2 is the upper byte of a half.
float widen_e4m3(uint8_t byte) {
    const int exponent = byte >> 3 & 15, mantissa = byte & 7;
    float value;
    if (exponent == 15 && mantissa == 7) {
        value = std::numeric_limits<float>::quiet_NaN();
    } else {
        value = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                              : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
    }
    return byte & 0x80 ? -value : value;
}

/// OCP MX: E8M0 is only an exponent (255: NaN), E2M1 has eight magnitudes.
float widen_e8m0(uint8_t byte) {
    return byte == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, byte - 127);
}

void widen_e2m1(const void * source, float * destination, int64_t count) {
    constexpr float magnitudes[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    const uint8_t * bytes = static_cast<const uint8_t *>(source);
    for (int64_t i = 0; i < count; ++i) {
        const int bits = bytes[i / 2] >> (i % 2 * 4) & 15;
        destination[i] = bits & 8 ? -magnitudes[bits & 7] : magnitudes[bits];
    }
}

const std::array<float, 256> & e4m3_values() {
    static const std::array<float, 256> values = [] {
        std::array<float, 256> all{};
        for (size_t i = 0; i < all.size(); ++i) all[i] = widen_e4m3(static_cast<uint8_t>(i));
        return all;
    }();
    return values;
}

template <typename T, typename Widen>
void widen(const void * source, float * destination, int64_t count, Widen one) {
    const uint8_t * bytes = static_cast<const uint8_t *>(source);
    for (int64_t i = 0; i < count; ++i) {
        T value;
        std::memcpy(&value, bytes + i * static_cast<int64_t>(sizeof(T)), sizeof(T));  // sources are not aligned
        destination[i] = one(value);
    }
}

template <typename T>
void cast(const void * source, float * destination, int64_t count) {
    widen<T>(source, destination, count, [](T value) { return static_cast<float>(value); });
}

}  // namespace

const char * dtype_name(DType type) {
    return traits_of(type).name;
}
int64_t dtype_block(DType type) {
    return traits_of(type).block;
}
int64_t dtype_block_bytes(DType type) {
    return traits_of(type).block_bytes;
}
bool dtype_is_quantised(DType type) {
    return traits_of(type).block >= 32;
}
bool dtype_is_readable(DType type) {
    return type != DType::c64 && type != DType::c128 && type != DType::opaque;
}
int dtype_ggml_number(DType type) {
    return traits_of(type).ggml;
}
bool dtype_from_ggml_number(int64_t number, DType & type) {
    for (const DTypeTraits & one : traits) {
        if (number < 0 || one.ggml != number) continue;
        type = one.type;
        return true;
    }
    return false;
}

std::string TensorInfo::type_name() const {
    return stored_as.empty() ? dtype_name(dtype) : stored_as;
}

int64_t TensorInfo::elements() const {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    return count;
}

uint64_t TensorInfo::stored_bytes() const {
    return scaled_from ? static_cast<uint64_t>(elements() / dtype_block(*scaled_from) * dtype_block_bytes(*scaled_from)) : bytes;
}

const TensorInfo * TensorSource::find(std::string_view name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

void TensorSource::advise(const TensorInfo & tensor, PageHint hint) const {
    for (const FileRange & place : places(tensor)) place.file->advise(place.offset, place.count, hint);
}

std::vector<float> TensorSource::read_f32(const TensorInfo & tensor) const {
    if (!dtype_is_readable(tensor.dtype)) {
        throw Error(ErrorCode::model_format, name_ + ": the tensor \"" + tensor.name + "\" is stored as " + tensor.type_name() +
                                                 ", which cannot be read as numbers");
    }
    std::vector<float> values(static_cast<size_t>(tensor.elements()));
    if (values.empty()) return values;
    const Span<const uint8_t> stored = view(tensor);
    if (!stored.empty()) {
        convert_to_f32(tensor.dtype, stored.data(), values.data(), static_cast<int64_t>(values.size()));
    } else if (tensor.dtype == DType::f32) {
        read(tensor, values.data());
    } else {
        std::vector<uint8_t> copy(static_cast<size_t>(tensor.bytes));
        read(tensor, copy.data());
        convert_to_f32(tensor.dtype, copy.data(), values.data(), static_cast<int64_t>(values.size()));
    }
    return values;
}

void TensorSource::set_tensors(std::vector<TensorInfo> tensors) {
    by_name_.clear();
    tensors_ = std::move(tensors);
    by_name_.reserve(tensors_.size());
    for (size_t i = 0; i < tensors_.size(); ++i) {
        tensors_[i].index = i;
        if (!by_name_.emplace(tensors_[i].name, i).second) {
            throw Error(ErrorCode::model_format, name_ + ": the tensor \"" + tensors_[i].name + "\" occurs twice");
        }
    }
}

void convert_to_f32(DType type, const void * source, float * destination, int64_t count) {
    if (count <= 0) return;
    switch (type) {
        case DType::f32: std::memcpy(destination, source, static_cast<size_t>(count) * sizeof(float)); return;
        case DType::f16: widen<uint16_t>(source, destination, count, widen_half); return;
        case DType::bf16:
            widen<uint16_t>(source, destination, count, [](uint16_t b) { return from_bits(uint32_t{b} << 16); });
            return;
        case DType::f64: cast<double>(source, destination, count); return;
        case DType::f8_e4m3: {
            const std::array<float, 256> & values = e4m3_values();
            widen<uint8_t>(source, destination, count, [&](uint8_t b) { return values[b]; });
            return;
        }
        case DType::f8_e5m2:
            widen<uint8_t>(source, destination, count, [](uint8_t b) { return widen_half(static_cast<uint16_t>(b << 8)); });
            return;
        case DType::i64: cast<int64_t>(source, destination, count); return;
        case DType::i32: cast<int32_t>(source, destination, count); return;
        case DType::i16: cast<int16_t>(source, destination, count); return;
        case DType::i8: cast<int8_t>(source, destination, count); return;
        case DType::u8: cast<uint8_t>(source, destination, count); return;
        case DType::u16: cast<uint16_t>(source, destination, count); return;
        case DType::u32: cast<uint32_t>(source, destination, count); return;
        case DType::u64: cast<uint64_t>(source, destination, count); return;
        case DType::f8_e8m0: widen<uint8_t>(source, destination, count, widen_e8m0); return;
        case DType::f4_e2m1: widen_e2m1(source, destination, count); return;
        case DType::boolean: widen<uint8_t>(source, destination, count, [](uint8_t b) { return b ? 1.0f : 0.0f; }); return;
        default:
            throw Error(ErrorCode::model_format,
                        std::string("A tensor stored as ") + dtype_name(type) +
                            (dtype_is_quantised(type) ? " is quantised and cannot be read as plain numbers here"
                                                      : " cannot be read as numbers"));
    }
}

float half_to_float(uint16_t bits) {
    return widen_half(bits);
}

uint16_t float_to_half(float value) {
    const uint32_t bits = to_bits(value);
    const uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));  // quiet NaN
    if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65520 and above round to infinity
    if (magnitude >= 0x38800000u) {                                              // normal halves, round to nearest even
        const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
        return static_cast<uint16_t>(sign | ((rounded - (112u << 23)) >> 13));
    }
    if (magnitude < 0x33000000u) return static_cast<uint16_t>(sign);  // below half of the smallest subnormal
    const uint32_t exponent = magnitude >> 23, mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    const uint32_t shift = 126 - exponent;  // 14..24
    const uint32_t kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1), half = 1u << (shift - 1);
    return static_cast<uint16_t>(sign | (kept + (rest > half || (rest == half && (kept & 1u)))));
}

float bfloat_to_float(uint16_t bits) {
    return from_bits(uint32_t{bits} << 16);
}

uint16_t float_to_bfloat(float value) {
    const uint32_t bits = to_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);  // keep NaN a (quiet) NaN
    return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace latent
