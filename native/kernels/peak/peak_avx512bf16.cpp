#include "kernels/peak/peak_loops.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

namespace latent::kernels {
namespace {

struct PeakAvx512bf16 {
    using Vector = __m512;
    static constexpr int chains = 24;
    static constexpr double operations = 2.0 * 32;
    __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.5f));
    __m512bh b = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.001f), _mm512_set1_ps(0.001f));
    explicit PeakAvx512bf16(long) {}
    static Vector first(int chain) { return _mm512_set1_ps(static_cast<float>(chain)); }
    Vector add(Vector sum) const { return _mm512_dpbf16_ps(sum, a, b); }
    static float value(Vector sum) { return _mm512_reduce_add_ps(sum); }
};

}  // namespace

PeakLoop peak_bf16_avx512bf16() {
    return peak_loop<PeakAvx512bf16>("bf16", "avx512_bf16");
}

}  // namespace latent::kernels
#endif
