#include "kernels/common/int8.h"

#if defined(__x86_64__) || defined(_M_X64)
#include "kernels/x86/int8_avx2.h"

namespace latent::kernels {
namespace {

/// VPDPBUSD from 16-bit products, whose pairwise sums are exact (VPMADDUBSW would saturate).
struct Int8Avx2 {
    using Vector = __m256i;
    static constexpr int kLanes = 8;

    static Vector zero() { return _mm256_setzero_si256(); }
    static Vector set1(int32_t x) { return _mm256_set1_epi32(x); }
    static Vector load(const int8_t * p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
    static Vector dot(Vector sum, Vector u8, Vector s8) {
        const __m256i even =
            _mm256_madd_epi16(_mm256_and_si256(u8, _mm256_set1_epi16(0xff)), _mm256_srai_epi16(_mm256_slli_epi16(s8, 8), 8));
        const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(u8, 8), _mm256_srai_epi16(s8, 8));
        return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
    }
    static Avx2 to_float(Vector x) { return {_mm256_cvtepi32_ps(x)}; }
};

}  // namespace

const Int8Set & int8_avx2() {
    static const Int8Set set = {"avx2", PanelOrder::lanes, multiply_int8<Int8Avx2, Avx2, 1>, quantise_avx2};
    return set;
}

}  // namespace latent::kernels
#endif
