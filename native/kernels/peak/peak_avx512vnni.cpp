#include "kernels/peak/peak_loops.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

namespace latent::kernels {
namespace {

struct PeakAvx512vnni {
    using Vector = __m512i;
    static constexpr int chains = 24;
    static constexpr double operations = 2.0 * 64;
    Vector a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(1);
    explicit PeakAvx512vnni(long) {}
    static Vector first(int chain) { return _mm512_set1_epi32(chain); }
    Vector add(Vector sum) const { return _mm512_dpbusd_epi32(sum, a, b); }
    static float value(Vector sum) { return static_cast<float>(_mm512_reduce_add_epi32(sum)); }
};

}  // namespace

PeakLoop peak_int8_avx512vnni() {
    return peak_loop<PeakAvx512vnni>("int8", "avx512_vnni");
}

}  // namespace latent::kernels
#endif
