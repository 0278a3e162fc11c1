#include "kernels/peak/peak_loops.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

namespace latent::kernels {
namespace {

struct PeakAvx512 {
    using Vector = __m512;
    static constexpr int chains = 24;  // enough to hide the latency of two units
    static constexpr double operations = 2.0 * 16;
    Vector a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
    explicit PeakAvx512(long) {}
    static Vector first(int chain) { return _mm512_set1_ps(static_cast<float>(chain)); }
    Vector add(Vector sum) const { return _mm512_fmadd_ps(sum, a, b); }
    static constexpr int lanes = 16;
    static Vector load(const float * x) { return _mm512_loadu_ps(x); }
    static Vector sum(Vector a, Vector b) { return _mm512_add_ps(a, b); }
    static float value(Vector v) {
        float all[16];
        _mm512_storeu_ps(all, v);
        return all[0];
    }
};

}  // namespace

PeakLoop peak_f32_avx512() {
    return float_loop<PeakAvx512>("avx512");
}

}  // namespace latent::kernels
#endif
