#include "kernels/common/int8.h"

#if defined(__x86_64__) || defined(_M_X64)
#include "kernels/x86/int8_avx2.h"

namespace latent::kernels {
namespace {

struct Int8Avx2 {
    using Vector = __m256i;
    static constexpr int kLanes = 8;
    static Avx2 to_float(Vector x) { return {_mm256_cvtepi32_ps(x)}; }
};

constexpr int kVectors = 2, kColumns = kVectors * Int8Avx2::kLanes;

/// The bytes of a lane as pairs of 16 bits: bytes 0 and 2, then bytes 1 and 3. Products of 16 bits are exact, and so are their
/// pairwise sums (those of VPMADDUBSW would saturate).
struct Staged {
    int32_t even[kTileRows][Int8Blocks::kMostLanes], odd[kTileRows][Int8Blocks::kMostLanes];
};

inline void stage(const uint8_t * const * rows, int64_t offset, int64_t lanes, Staged & out) {
    const __m256i low = _mm256_set1_epi16(0xff);
    for (int r = 0; r < kTileRows; ++r) {
        const uint8_t * in = rows[r] + offset;
        int64_t i = 0;
        for (; i + 8 <= lanes; i += 8) {
            const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(in + i * 4));
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(out.even[r] + i), _mm256_and_si256(bytes, low));
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(out.odd[r] + i), _mm256_srli_epi16(bytes, 8));
        }
        for (; i < lanes; ++i) {
            uint32_t bytes;
            std::memcpy(&bytes, in + i * 4, sizeof(bytes));
            out.even[r][i] = static_cast<int32_t>(bytes & 0xff00ff);
            out.odd[r][i] = static_cast<int32_t>(bytes >> 8 & 0xff00ff);
        }
    }
}

/// sums += one half of the bytes of 6 rows times 16 columns of a panel, whose bytes are widened once for all rows.
template <bool kOdd>
inline void add_half(int64_t lanes, const int32_t (&rows)[kTileRows][Int8Blocks::kMostLanes], const int8_t * panel,
                     __m256i (&sums)[kTileRows][kVectors]) {
    for (int64_t i = 0; i < lanes; ++i, panel += kTileColumns * 4) {
        __m256i b[kVectors];
        LATENT_UNROLL_ALL
        for (int v = 0; v < kVectors; ++v) {
            const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(panel + v * 32));
            b[v] = _mm256_srai_epi16(kOdd ? bytes : _mm256_slli_epi16(bytes, 8), 8);
        }
        LATENT_UNROLL_ALL
        for (int r = 0; r < kTileRows; ++r) {
            const __m256i x = _mm256_set1_epi32(rows[r][i]);
            LATENT_UNROLL_ALL
            for (int v = 0; v < kVectors; ++v) sums[r][v] = _mm256_add_epi32(sums[r][v], _mm256_madd_epi16(x, b[v]));
        }
    }
}

/// A function of its own, for the reason given at multiply_block_sums(). One half of the bytes after the other: both together
/// need more than 16 registers.
LATENT_NO_INLINE void sum_block(int64_t lanes, const Staged & rows, const int8_t * panel, __m256i * out) {
    __m256i sums[kTileRows][kVectors];
    LATENT_UNROLL_ALL
    for (int r = 0; r < kTileRows; ++r) {
        LATENT_UNROLL_ALL
        for (int v = 0; v < kVectors; ++v) sums[r][v] = _mm256_setzero_si256();
    }
    add_half<false>(lanes, rows.even, panel, sums);
    add_half<true>(lanes, rows.odd, panel, sums);
    LATENT_UNROLL_ALL
    for (int r = 0; r < kTileRows; ++r) {
        LATENT_UNROLL_ALL
        for (int v = 0; v < kVectors; ++v) out[r * kVectors + v] = sums[r][v];
    }
}

/// Columns are computed 16 at a time, possibly beyond `columns`.
void multiply(int64_t segments, const Int8Blocks & blocks, const uint8_t * const * rows, const Int8Scale * const * scales,
              const int8_t * panel, const float * weight_sums, int columns, bool accumulate, float * c) {
    Staged staged;
    __m256i sums[kTileRows * kVectors];
    for (int64_t s = 0; s < segments; ++s, rows += kTileRows, scales += kTileRows) {
        for (int64_t block = 0; block < blocks.count; ++block, weight_sums += kTileColumns, accumulate = true) {
            const int64_t lanes = blocks.lanes_of(block);
            stage(rows, block * blocks.block_lanes * 4, lanes, staged);
            for (int column = 0; column < columns; column += kColumns) {
                sum_block(lanes, staged, panel + column * 4, sums);
                add_scaled<Int8Avx2, Avx2, kVectors>(sums, scales, block, weight_sums + column, accumulate, c + column);
            }
            panel += lanes * kTileColumns * 4;
        }
    }
}

}  // namespace

const Int8Set & int8_avx2() {
    static const Int8Set set = {"avx2", PanelOrder::lanes, multiply, quantise_avx2};
    return set;
}

}  // namespace latent::kernels
#endif
