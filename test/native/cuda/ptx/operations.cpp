#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "cuda/device_code.h"
#include "ptx/machine.h"

// Arithmetic, by the PTX ISA.

namespace latent_ptx {
namespace {

template <typename T>
T get(uint64_t bits) {
    if constexpr (std::is_same_v<T, float>) {
        const auto word = static_cast<uint32_t>(bits);
        float value;
        std::memcpy(&value, &word, 4);
        return value;
    } else if constexpr (std::is_same_v<T, bool>) {
        return bits & 1;
    } else {
        return static_cast<T>(bits);
    }
}

template <typename T>
uint64_t put(T value) {
    if constexpr (std::is_same_v<T, float>) {
        uint32_t word;
        std::memcpy(&word, &value, 4);
        return word;
    } else {
        return static_cast<uint64_t>(value);
    }
}

/// A step that applies a function to each lane: the result is the first register.
template <auto function>
struct Each;
template <typename Result, typename... Operand, Result (*function)(Operand...)>
struct Each<function> {
    static constexpr int operands = 1 + sizeof...(Operand);
    static void step(Warp & warp, const Instruction & i, uint32_t mask) {
        lanes(warp, i, mask, std::index_sequence_for<Operand...>());
    }

private:
    template <size_t... n>
    static void lanes(Warp & warp, const Instruction & i, uint32_t mask, std::index_sequence<n...>) {
        uint64_t * const to = warp.registers[static_cast<size_t>(i.slot[0])].data();
        const std::array<const uint64_t *, sizeof...(n)> from = {warp.registers[static_cast<size_t>(i.slot[n + 1])].data()...};
        for (int lane = 0; lane < kLanes; ++lane) {
            if (mask >> lane & 1) to[lane] = put(function(get<Operand>(from[n][lane])...));
        }
    }
};

template <typename T>
using Unsigned = std::make_unsigned_t<T>;

// ---- integers: overflow wraps round

template <typename T>
T add(T a, T b) {
    return static_cast<T>(Unsigned<T>(a) + Unsigned<T>(b));
}
template <typename T>
T subtract(T a, T b) {
    return static_cast<T>(Unsigned<T>(a) - Unsigned<T>(b));
}
template <typename T>
T multiply(T a, T b) {
    return static_cast<T>(uint64_t(a) * uint64_t(b));
}
template <typename T>
T multiply_add(T a, T b, T c) {
    return add(multiply(a, b), c);
}
template <typename Wide, typename T>
Wide multiply_wide(T a, T b) {
    return Wide(a) * Wide(b);
}
/// The upper half of the product, which `Wide` holds.
template <typename Wide, typename T>
T multiply_high(T a, T b) {
    return static_cast<T>(Wide(a) * Wide(b) >> 8 * sizeof(T));
}
template <typename T>
T divide(T a, T b) {
    if (b == 0) fail("a division by zero");
    return std::is_signed_v<T> && b == T(-1) ? subtract(T(0), a) : static_cast<T>(a / b);
}
template <typename T>
T remainder(T a, T b) {
    if (b == 0) fail("a division by zero");
    return std::is_signed_v<T> && b == T(-1) ? T(0) : static_cast<T>(a % b);
}
template <typename T>
T smaller(T a, T b) {
    return a < b ? a : b;
}
template <typename T>
T larger(T a, T b) {
    return a > b ? a : b;
}
template <typename T>
T negative(T a) {
    return subtract(T(0), a);
}
template <typename T>
T bits_and(T a, T b) {
    return static_cast<T>(a & b);
}
template <typename T>
T bits_or(T a, T b) {
    return static_cast<T>(a | b);
}
template <typename T>
T bits_xor(T a, T b) {
    return static_cast<T>(a ^ b);
}
template <typename T>
T bits_not(T a) {
    return static_cast<T>(~a);
}
bool not_true(bool a) {
    return !a;
}
template <typename T>
T shift_left(T a, uint32_t by) {
    return by >= sizeof(T) * 8 ? T(0) : static_cast<T>(uint64_t(a) << by);
}
template <typename T>
T shift_right(T a, uint32_t by) {
    if (by >= sizeof(T) * 8) return a < T(0) ? static_cast<T>(-1) : T(0);
    return static_cast<T>(a >> by);
}
/// Bits [at, at + count) of b are those of a.
uint32_t insert_bits(uint32_t a, uint32_t b, uint32_t at, uint32_t count) {
    at &= 255, count &= 255;
    for (uint32_t i = 0; i < count && at + i < 32; ++i) b = (b & ~(1u << (at + i))) | (a >> i & 1) << (at + i);
    return b;
}
/// Bits [at, at + count), widened as the type says; the sign is the last bit that exists.
template <typename T>
T extract_bits(T a, uint32_t at, uint32_t count) {
    at &= 255, count &= 255;
    if (count == 0) return 0;
    const int64_t shifted = at > 31 ? (a < T(0) ? -1 : 0) : int64_t{a} >> at;
    if (count > 31) return static_cast<T>(shifted);
    const int64_t low = shifted & ((int64_t{1} << count) - 1);
    const bool minus = std::is_signed_v<T> && int64_t{a} >> std::min<uint32_t>(at + count - 1, 31) & 1;
    return static_cast<T>(minus ? low - (int64_t{1} << count) : low);
}
uint32_t permute_bytes(uint32_t a, uint32_t b, uint32_t select) {
    const uint64_t both = a | uint64_t(b) << 32;
    uint32_t result = 0;
    for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t which = select >> 4 * i & 15;
        auto byte = static_cast<uint32_t>(both >> 8 * (which & 7) & 255);
        if (which & 8) byte = byte & 128 ? 255 : 0;
        result |= byte << 8 * i;
    }
    return result;
}
uint32_t join_halves(uint16_t low, uint16_t high) {
    return low | uint32_t(high) << 16;
}
uint64_t join_words(uint32_t low, uint32_t high) {
    return low | uint64_t(high) << 32;
}

// ---- float32

float add_f(float a, float b) {
    return a + b;
}
float subtract_f(float a, float b) {
    return a - b;
}
float multiply_f(float a, float b) {
    return a * b;
}
float divide_f(float a, float b) {
    return a / b;
}
/// Divisors from 2^126 on are too large for it.
float divide_approx(float a, float b) {
    const float zero = std::signbit(a) != std::signbit(b) ? -0.0f : 0.0f;
    if (std::fabs(b) > 0x1p126f && std::isfinite(b)) return std::isinf(a) ? NAN : zero;
    return a / b;
}
float multiply_add_f(float a, float b, float c) {
    return std::fma(a, b, c);
}
float reciprocal(float a) {
    return 1.0f / a;
}
float inverse_root(float a) {
    return 1.0f / std::sqrt(a);
}
/// With .ftz: subnormal operands and results are zero.
float power_of_two(float a) {
    const float result = std::exp2(std::fpclassify(a) == FP_SUBNORMAL ? 0.0f : a);
    return std::fpclassify(result) == FP_SUBNORMAL ? 0.0f : result;
}
float absolute(float a) {
    return std::fabs(a);
}
float negative_f(float a) {
    return -a;
}
/// The operand that is a number, if one is not.
float smaller_f(float a, float b) {
    return std::fmin(a, b);
}
float larger_f(float a, float b) {
    return std::fmax(a, b);
}

// ---- comparisons and choices

template <typename T>
bool equal(T a, T b) {
    return a == b;
}
template <typename T>
bool less(T a, T b) {
    return a < b;
}
template <typename T>
bool at_most(T a, T b) {
    return a <= b;
}
template <typename T>
bool greater(T a, T b) {
    return a > b;
}
template <typename T>
bool at_least(T a, T b) {
    return a >= b;
}
/// Of integers, and of float32 where neither is NaN.
template <typename T>
bool different(T a, T b) {
    return a < b || a > b;
}
template <bool (*ordered)(float, float)>
bool or_nan(float a, float b) {
    return std::isnan(a) || std::isnan(b) || ordered(a, b);
}
bool is_nan(float a, float b) {
    return std::isnan(a) || std::isnan(b);
}
bool is_number(float a, float b) {
    return !is_nan(a, b);
}
template <typename T>
T choose(T a, T b, bool first) {
    return first ? a : b;
}

// ---- conversions

template <typename To, typename From>
To convert(From a) {
    return static_cast<To>(a);
}
float from_half(uint16_t bits) {
    return latent::cuda::to_float(latent::cuda::f16{bits});
}
template <typename T>
uint16_t rounded(float a) {
    T result;
    latent::cuda::from_float(a, result);
    return result.bits;
}
/// The first operand is the high half.
template <typename T>
uint32_t rounded_both(float high, float low) {
    return join_halves(rounded<T>(low), rounded<T>(high));
}

template <typename T>
T same(T a) {
    return a;
}

/// mov.b32 {low, high}, value
template <typename Half>
void split(Warp & warp, const Instruction & i, uint32_t mask) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
        if (!(mask >> lane & 1)) continue;
        const uint64_t both = warp.registers[static_cast<size_t>(i.slot[2])][lane];
        warp.registers[static_cast<size_t>(i.slot[0])][lane] = static_cast<Half>(both);
        warp.registers[static_cast<size_t>(i.slot[1])][lane] = static_cast<Half>(both >> 8 * sizeof(Half));
    }
}

struct Entry {
    Step step;
    int operands;
};
using Table = std::unordered_map<std::string, Entry>;

template <auto function>
Entry entry() {
    return {Each<function>::step, Each<function>::operands};
}

template <typename T>
void add_integer(Table & t, const std::string & type) {
    t["add." + type] = entry<add<T>>(), t["sub." + type] = entry<subtract<T>>();
    t["mul.lo." + type] = entry<multiply<T>>(), t["mad.lo." + type] = entry<multiply_add<T>>();
    t["div." + type] = entry<divide<T>>(), t["rem." + type] = entry<remainder<T>>();
    t["min." + type] = entry<smaller<T>>(), t["max." + type] = entry<larger<T>>();
    t["neg." + type] = entry<negative<T>>(), t["shr." + type] = entry<shift_right<T>>();
    t["setp.eq." + type] = entry<equal<T>>(), t["setp.ne." + type] = entry<different<T>>();
    t["setp.lt." + type] = entry<less<T>>(), t["setp.le." + type] = entry<at_most<T>>();
    t["setp.gt." + type] = entry<greater<T>>(), t["setp.ge." + type] = entry<at_least<T>>();
    t["selp." + type] = entry<choose<T>>(), t["mov." + type] = entry<same<T>>();
    t["cvt.rn.f32." + type] = entry<convert<float, T>>();
}

template <typename T>
void add_bits(Table & t, const std::string & type) {
    t["and." + type] = entry<bits_and<T>>(), t["or." + type] = entry<bits_or<T>>();
    t["xor." + type] = entry<bits_xor<T>>(), t["not." + type] = entry<bits_not<T>>();
    t["shl." + type] = entry<shift_left<T>>(), t["shr." + type] = entry<shift_right<T>>();
    t["selp." + type] = entry<choose<T>>(), t["mov." + type] = entry<same<T>>();
    t["setp.eq." + type] = entry<equal<T>>(), t["setp.ne." + type] = entry<different<T>>();
}

/// cvt between integers: the operand's type decides how it is widened.
template <typename From>
void add_conversions(Table & t, const std::string & from) {
    t["cvt.s8." + from] = entry<convert<int8_t, From>>(), t["cvt.u8." + from] = entry<convert<uint8_t, From>>();
    t["cvt.s16." + from] = entry<convert<int16_t, From>>(), t["cvt.u16." + from] = entry<convert<uint16_t, From>>();
    t["cvt.s32." + from] = entry<convert<int32_t, From>>(), t["cvt.u32." + from] = entry<convert<uint32_t, From>>();
    t["cvt.s64." + from] = entry<convert<int64_t, From>>(), t["cvt.u64." + from] = entry<convert<uint64_t, From>>();
}

Table make_table() {
    Table t;
    add_integer<int16_t>(t, "s16"), add_integer<uint16_t>(t, "u16");
    add_integer<int32_t>(t, "s32"), add_integer<uint32_t>(t, "u32");
    add_integer<int64_t>(t, "s64"), add_integer<uint64_t>(t, "u64");
    add_bits<uint16_t>(t, "b16"), add_bits<uint32_t>(t, "b32"), add_bits<uint64_t>(t, "b64");
    add_conversions<int8_t>(t, "s8"), add_conversions<uint8_t>(t, "u8");
    add_conversions<int16_t>(t, "s16"), add_conversions<uint16_t>(t, "u16");
    add_conversions<int32_t>(t, "s32"), add_conversions<uint32_t>(t, "u32");
    add_conversions<int64_t>(t, "s64"), add_conversions<uint64_t>(t, "u64");
    t["mul.wide.s32"] = entry<multiply_wide<int64_t, int32_t>>();
    t["mul.wide.u32"] = entry<multiply_wide<uint64_t, uint32_t>>();
    t["mul.wide.s16"] = entry<multiply_wide<int32_t, int16_t>>();
    t["mul.wide.u16"] = entry<multiply_wide<uint32_t, uint16_t>>();
    t["mul.hi.s32"] = entry<multiply_high<int64_t, int32_t>>(), t["mul.hi.u32"] = entry<multiply_high<uint64_t, uint32_t>>();
    t["mul.hi.s16"] = entry<multiply_high<int32_t, int16_t>>(), t["mul.hi.u16"] = entry<multiply_high<uint32_t, uint16_t>>();
    t["bfe.s32"] = entry<extract_bits<int32_t>>(), t["bfe.u32"] = entry<extract_bits<uint32_t>>();
    t["bfi.b32"] = entry<insert_bits>(), t["prmt.b32"] = entry<permute_bytes>();
    t["mov.b32.join"] = entry<join_halves>(), t["mov.b64.join"] = entry<join_words>();
    t["mov.b32.split"] = {split<uint16_t>, 3}, t["mov.b64.split"] = {split<uint32_t>, 3};
    t["cvta.to.global.u64"] = entry<same<uint64_t>>();

    t["and.pred"] = entry<bits_and<bool>>(), t["or.pred"] = entry<bits_or<bool>>();
    t["xor.pred"] = entry<bits_xor<bool>>(), t["not.pred"] = entry<not_true>();
    t["mov.pred"] = entry<same<bool>>();

    t["add.f32"] = t["add.rn.f32"] = entry<add_f>(), t["sub.f32"] = t["sub.rn.f32"] = entry<subtract_f>();
    t["mul.f32"] = t["mul.rn.f32"] = entry<multiply_f>(), t["fma.rn.f32"] = entry<multiply_add_f>();
    t["div.rn.f32"] = entry<divide_f>(), t["div.approx.f32"] = entry<divide_approx>();
    t["rcp.rn.f32"] = entry<reciprocal>(), t["rsqrt.approx.f32"] = entry<inverse_root>();
    t["ex2.approx.ftz.f32"] = entry<power_of_two>();
    t["abs.f32"] = entry<absolute>(), t["neg.f32"] = entry<negative_f>();
    t["min.f32"] = entry<smaller_f>(), t["max.f32"] = entry<larger_f>();
    t["selp.f32"] = entry<choose<float>>(), t["mov.f32"] = entry<same<float>>();
    t["setp.eq.f32"] = entry<equal<float>>(), t["setp.ne.f32"] = entry<different<float>>();
    t["setp.lt.f32"] = entry<less<float>>(), t["setp.le.f32"] = entry<at_most<float>>();
    t["setp.gt.f32"] = entry<greater<float>>(), t["setp.ge.f32"] = entry<at_least<float>>();
    t["setp.equ.f32"] = entry<or_nan<equal<float>>>(), t["setp.neu.f32"] = entry<or_nan<different<float>>>();
    t["setp.ltu.f32"] = entry<or_nan<less<float>>>(), t["setp.leu.f32"] = entry<or_nan<at_most<float>>>();
    t["setp.gtu.f32"] = entry<or_nan<greater<float>>>(), t["setp.geu.f32"] = entry<or_nan<at_least<float>>>();
    t["setp.nan.f32"] = entry<is_nan>(), t["setp.num.f32"] = entry<is_number>();

    t["cvt.f32.f16"] = entry<from_half>();
    t["cvt.rn.f16.f32"] = entry<rounded<latent::cuda::f16>>(), t["cvt.rn.bf16.f32"] = entry<rounded<latent::cuda::bf16>>();
    t["cvt.rn.f16x2.f32"] = entry<rounded_both<latent::cuda::f16>>();
    t["cvt.rn.bf16x2.f32"] = entry<rounded_both<latent::cuda::bf16>>();
    return t;
}

}  // namespace

void set_step(const std::string & mnemonic, Instruction & instruction) {
    static const Table table = make_table();
    const auto found = table.find(mnemonic);
    if (found == table.end()) return set_memory_step(mnemonic, instruction);
    instruction.step = found->second.step, instruction.operands = found->second.operands;
}

}  // namespace latent_ptx
