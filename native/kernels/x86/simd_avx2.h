#pragma once

#include <immintrin.h>

namespace latent::kernels {
namespace {

struct Avx2 {
    static constexpr int kLanes = 8;
    __m256 v;

    static Avx2 zero() { return {_mm256_setzero_ps()}; }
    static Avx2 set1(float x) { return {_mm256_set1_ps(x)}; }
    static Avx2 load(const float * p) { return {_mm256_loadu_ps(p)}; }
    void store(float * p) const { _mm256_storeu_ps(p, v); }
    static Avx2 add(Avx2 a, Avx2 b) { return {_mm256_add_ps(a.v, b.v)}; }
    static Avx2 sub(Avx2 a, Avx2 b) { return {_mm256_sub_ps(a.v, b.v)}; }
    static Avx2 mul(Avx2 a, Avx2 b) { return {_mm256_mul_ps(a.v, b.v)}; }
    static Avx2 fma(Avx2 a, Avx2 b, Avx2 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
    static Avx2 div(Avx2 a, Avx2 b) { return {_mm256_div_ps(a.v, b.v)}; }
    static Avx2 max(Avx2 a, Avx2 b) { return {_mm256_max_ps(a.v, b.v)}; }
    static float sum(Avx2 a) {
        const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
        const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
    }
    static Avx2 exp(Avx2 x);
};

}  // namespace
}  // namespace latent::kernels
