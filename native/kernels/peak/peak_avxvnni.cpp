#include "kernels/peak/peak_loops.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

namespace latent::kernels {
namespace {

struct PeakAvxvnni {
    using Vector = __m256i;
    static constexpr int chains = 12;
    static constexpr double operations = 2.0 * 32;
    Vector a = _mm256_set1_epi8(1), b = _mm256_set1_epi8(1);
    explicit PeakAvxvnni(long) {}
    static Vector first(int chain) { return _mm256_set1_epi32(chain); }
    Vector add(Vector sum) const { return _mm256_dpbusd_avx_epi32(sum, a, b); }
    static float value(Vector sum) {
        int lanes[8];
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(lanes), sum);
        return static_cast<float>(lanes[0]);
    }
};

}  // namespace

PeakLoop peak_int8_avxvnni() {
    return peak_loop<PeakAvxvnni>("int8", "avx_vnni");
}

}  // namespace latent::kernels
#endif
