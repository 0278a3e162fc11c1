#pragma once

#include "kernels/common/int8_block.h"
#include "kernels/x86/simd_avx2.h"

namespace latent::kernels {
namespace {

inline Int8Scale quantise_avx2(const float * x, int64_t count, int64_t padded, uint8_t * q) {
    __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps(), odd = _mm256_setzero_ps();
    float rest[8] = {};
    const int64_t whole = count / 8 * 8;
    std::memcpy(rest, x + whole, static_cast<size_t>(count - whole) * sizeof(float));
    for (int64_t i = 0; i < count; i += 8) {
        const __m256 v = _mm256_loadu_ps(i < whole ? x + i : rest);
        low = _mm256_min_ps(v, low);
        high = _mm256_max_ps(v, high);
        odd = _mm256_or_ps(odd, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    }
    float lows[8], highs[8], least = 0.0f, most = 0.0f;
    _mm256_storeu_ps(lows, low);
    _mm256_storeu_ps(highs, high);
    for (int i = 0; i < 8; ++i) {
        least = lows[i] < least ? lows[i] : least;
        most = highs[i] > most ? highs[i] : most;
    }
    const Int8Map map = int8_map(least, most, _mm256_movemask_ps(odd) == 0);
    if (map.factor == 0.0f) {
        std::memset(q, 0, static_cast<size_t>(padded));
        return map.scale;
    }
    const __m256 factor = _mm256_set1_ps(map.factor);
    const __m256i zero = _mm256_set1_epi32(static_cast<int>(map.zero));
    for (int64_t i = 0; i < count; i += 8) {
        const __m256 v = _mm256_loadu_ps(i < whole ? x + i : rest);
        const __m256i whole_numbers = _mm256_add_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(v, factor)), zero);
        const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(whole_numbers), _mm256_extracti128_si256(whole_numbers, 1));
        uint8_t bytes[8];
        _mm_storel_epi64(reinterpret_cast<__m128i *>(bytes), _mm_packus_epi16(words, words));
        std::memcpy(q + i, bytes, static_cast<size_t>(count - i < 8 ? count - i : 8));
    }
    for (int64_t i = count; i < padded; ++i) q[i] = 0;
    return map.scale;
}

}  // namespace
}  // namespace latent::kernels
