#pragma once

#include <immintrin.h>

namespace latent::kernels {
namespace {

struct Avx512 {
    static constexpr int kLanes = 16;
    __m512 v;

    static Avx512 zero() { return {_mm512_setzero_ps()}; }
    static Avx512 set1(float x) { return {_mm512_set1_ps(x)}; }
    static Avx512 load(const float * p) { return {_mm512_loadu_ps(p)}; }
    void store(float * p) const { _mm512_storeu_ps(p, v); }
    static Avx512 add(Avx512 a, Avx512 b) { return {_mm512_add_ps(a.v, b.v)}; }
    static Avx512 sub(Avx512 a, Avx512 b) { return {_mm512_sub_ps(a.v, b.v)}; }
    static Avx512 mul(Avx512 a, Avx512 b) { return {_mm512_mul_ps(a.v, b.v)}; }
    static Avx512 fma(Avx512 a, Avx512 b, Avx512 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
    static Avx512 div(Avx512 a, Avx512 b) { return {_mm512_div_ps(a.v, b.v)}; }
    static Avx512 max(Avx512 a, Avx512 b) { return {_mm512_max_ps(a.v, b.v)}; }
    static float sum(Avx512 a) { return _mm512_reduce_add_ps(a.v); }
    static Avx512 exp(Avx512 x);
};

}  // namespace
}  // namespace latent::kernels
