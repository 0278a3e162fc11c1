#include "kernels/common/int8.h"

#if defined(__x86_64__) || defined(_M_X64)
#include "kernels/common/int8_block.h"
#include "kernels/x86/simd_avx512.h"

namespace latent::kernels {
namespace {

struct Int8Avx512 {
    using Vector = __m512i;
    static constexpr int kLanes = 16;

    static Vector zero() { return _mm512_setzero_si512(); }
    static Vector set1(int32_t x) { return _mm512_set1_epi32(x); }
    static Vector load(const int8_t * p) { return _mm512_loadu_si512(p); }
    static Vector dot(Vector sum, Vector u8, Vector s8) { return _mm512_dpbusd_epi32(sum, u8, s8); }
    static Avx512 to_float(Vector x) { return {_mm512_cvtepi32_ps(x)}; }
};

inline __mmask16 first_lanes(int64_t left) {
    return left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
}

Int8Scale quantise(const float * x, int64_t count, int64_t padded, uint8_t * q) {
    __m512 low = _mm512_setzero_ps(), high = _mm512_setzero_ps();
    __mmask16 odd = 0;
    for (int64_t i = 0; i < count; i += 16) {
        const __m512 v = _mm512_maskz_loadu_ps(first_lanes(count - i), x + i);
        low = _mm512_min_ps(v, low);
        high = _mm512_max_ps(v, high);
        odd = static_cast<__mmask16>(odd | _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q));
    }
    const Int8Map map = int8_map(_mm512_reduce_min_ps(low), _mm512_reduce_max_ps(high), odd == 0);
    if (map.factor == 0.0f) {
        std::memset(q, 0, static_cast<size_t>(padded));
        return map.scale;
    }
    const __m512 factor = _mm512_set1_ps(map.factor);
    const __m512i zero = _mm512_set1_epi32(static_cast<int>(map.zero)), least = _mm512_setzero_si512();
    for (int64_t i = 0; i < count; i += 16) {
        const __mmask16 mask = first_lanes(count - i);
        const __m512i whole =
            _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), factor)), zero);
        _mm512_mask_cvtusepi32_storeu_epi8(q + i, mask, _mm512_max_epi32(whole, least));
    }
    for (int64_t i = count; i < padded; ++i) q[i] = 0;
    return map.scale;
}

}  // namespace

const Int8Set & int8_avx512vnni() noexcept {
    static const Int8Set set = [] {
        Int8Set s = {"avx512_vnni", PanelOrder::lanes, multiply_int8<Int8Avx512, Avx512, 4>, quantise};
        s.scores = int8_scores<Int8Avx512, 4>();
        return s;
    }();
    return set;
}

}  // namespace latent::kernels
#endif
