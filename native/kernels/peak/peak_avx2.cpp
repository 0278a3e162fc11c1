#include "kernels/peak/peak_loops.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

namespace latent::kernels {
namespace {

struct PeakAvx2 {
    using Vector = __m256;
    static constexpr int chains = 12;  // enough to hide the latency of two units
    static constexpr double operations = 2.0 * 8;
    Vector a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    explicit PeakAvx2(long) {}
    static Vector first(int chain) { return _mm256_set1_ps(static_cast<float>(chain)); }
    Vector add(Vector sum) const { return _mm256_fmadd_ps(sum, a, b); }
    static constexpr int lanes = 8;
    static Vector load(const float * x) { return _mm256_loadu_ps(x); }
    static Vector sum(Vector x, Vector y) { return _mm256_add_ps(x, y); }
    static float value(Vector v) {
        float all[8];
        _mm256_storeu_ps(all, v);
        return all[0];
    }
};

}  // namespace

PeakLoop peak_f32_avx2() {
    return float_loop<PeakAvx2>("avx2");
}

}  // namespace latent::kernels
#endif
