#include "kernels/common/int8.h"

#if defined(__x86_64__) || defined(_M_X64)
#include "kernels/x86/int8_avx2.h"

namespace latent::kernels {
namespace {

struct Int8AvxVnni {
    using Vector = __m256i;
    static constexpr int kLanes = 8;

    static Vector zero() { return _mm256_setzero_si256(); }
    static Vector set1(int32_t x) { return _mm256_set1_epi32(x); }
    static Vector load(const int8_t * p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
    static Vector dot(Vector sum, Vector u8, Vector s8) { return _mm256_dpbusd_avx_epi32(sum, u8, s8); }
    static Avx2 to_float(Vector x) { return {_mm256_cvtepi32_ps(x)}; }
};

}  // namespace

const Int8Set & int8_avxvnni() {
    static const Int8Set set = [] {
        Int8Set s = {"avx_vnni", PanelOrder::lanes, multiply_int8<Int8AvxVnni, Avx2, 2>, quantise_avx2};
        s.scores = int8_scores<Int8AvxVnni, 2>();
        return s;
    }();
    return set;
}

}  // namespace latent::kernels
#endif
