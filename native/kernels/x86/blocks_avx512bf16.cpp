#include "kernels/x86/blocks_avx512bf16.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

#include <cstring>

// ggml's quantised blocks to bfloat16, 32 weights at a time. Products and differences are rounded as in ggml's own conversion to
// float32, so the results are the same.

namespace latent::kernels {
namespace {

inline float half_at(const uint8_t * at) {
    uint16_t bits;
    std::memcpy(&bits, at, sizeof(bits));
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
}

inline __m256i load_32(const uint8_t * at) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(at));
}

/// The lower four bits of 16 bytes, then the upper ones.
inline __m256i nibbles(const uint8_t * at) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(at));
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes), _mm256_set1_epi8(15));
}

inline void store(__m512bh pairs, uint16_t * out) {
    __m512i bits;
    std::memcpy(&bits, &pairs, sizeof(bits));
    _mm512_storeu_si512(out, bits);
}

/// out[i] = scale * q[i], with a scale for each half, or scale * q[i] - least.
inline void store_scaled(__m256i q, __m512 low_scale, __m512 high_scale, uint16_t * out) {
    const __m512 low = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(q)));
    const __m512 high = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(q, 1)));
    store(_mm512_cvtne2ps_pbh(_mm512_mul_ps(high, high_scale), _mm512_mul_ps(low, low_scale)), out);
}

inline void store_scaled(__m256i q, float scale, uint16_t * out) {
    store_scaled(q, _mm512_set1_ps(scale), _mm512_set1_ps(scale), out);
}

inline void store_affine(__m256i q, float scale, float least, uint16_t * out) {
    const __m512 s = _mm512_set1_ps(scale), m = _mm512_set1_ps(least);
    const __m512 low = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(q)));
    const __m512 high = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(q, 1)));
    // Separate instructions: the product is rounded.
    const __m512 low_product = _mm512_mul_round_ps(low, s, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 high_product = _mm512_mul_round_ps(high, s, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    store(_mm512_cvtne2ps_pbh(_mm512_sub_ps(high_product, m), _mm512_sub_ps(low_product, m)), out);
}

/// A scale in half precision, 16 bytes of two nibbles each: 8 more than the weight.
struct Q4_0 {
    static constexpr int64_t kWeights = 32, kBytes = 18;
    static void convert(const uint8_t * in, uint16_t * out) {
        store_scaled(_mm256_sub_epi8(nibbles(in + 2), _mm256_set1_epi8(8)), half_at(in), out);
    }
};

/// A scale, a fifth bit of every weight, nibbles: 16 more than the weight.
struct Q5_0 {
    static constexpr int64_t kWeights = 32, kBytes = 22;
    static void convert(const uint8_t * in, uint16_t * out) {
        uint32_t fifth;
        std::memcpy(&fifth, in + 2, sizeof(fifth));
        const __m256i high = _mm256_maskz_mov_epi8(fifth, _mm256_set1_epi8(16));
        store_scaled(_mm256_sub_epi8(_mm256_or_si256(nibbles(in + 6), high), _mm256_set1_epi8(16)), half_at(in), out);
    }
};

struct Q8_0 {
    static constexpr int64_t kWeights = 32, kBytes = 34;
    static void convert(const uint8_t * in, uint16_t * out) { store_scaled(load_32(in + 2), half_at(in), out); }
};

/// Eight scales and eight minima of 6 bits in 12 bytes, as factors of two halves.
struct Affines {
    float scale[8], least[8];
    explicit Affines(const uint8_t * in) {
        const float d = half_at(in), m = half_at(in + 2);
        const uint8_t * bits = in + 4;
        for (int i = 0; i < 4; ++i) {
            scale[i] = d * static_cast<float>(bits[i] & 63);
            least[i] = m * static_cast<float>(bits[i + 4] & 63);
            scale[i + 4] = d * static_cast<float>((bits[i + 8] & 15) | (bits[i] >> 6 << 4));
            least[i + 4] = m * static_cast<float>((bits[i + 8] >> 4) | (bits[i + 4] >> 6 << 4));
        }
    }
};

/// Eight groups of 32 weights; two groups share 32 bytes.
struct Q4K {
    static constexpr int64_t kWeights = 256, kBytes = 144;
    static void convert(const uint8_t * in, uint16_t * out) {
        const Affines a(in);
        const __m256i four = _mm256_set1_epi8(15);
        for (int i = 0; i < 8; i += 2, out += 64) {
            const __m256i both = load_32(in + 16 + i * 16);
            store_affine(_mm256_and_si256(both, four), a.scale[i], a.least[i], out);
            store_affine(_mm256_and_si256(_mm256_srli_epi16(both, 4), four), a.scale[i + 1], a.least[i + 1], out + 32);
        }
    }
};

/// The same with a fifth bit: bit i of 32 bytes belongs to group i.
struct Q5K {
    static constexpr int64_t kWeights = 256, kBytes = 176;
    static void convert(const uint8_t * in, uint16_t * out) {
        const Affines a(in);
        const __m256i four = _mm256_set1_epi8(15), sixteen = _mm256_set1_epi8(16), fifth = load_32(in + 16);
        for (int i = 0; i < 8; i += 2, out += 64) {
            const __m256i both = load_32(in + 48 + i * 16);
            const auto high = [&](int group) {
                return _mm256_maskz_mov_epi8(_mm256_test_epi8_mask(fifth, _mm256_set1_epi8(static_cast<char>(1 << group))),
                                             sixteen);
            };
            store_affine(_mm256_or_si256(_mm256_and_si256(both, four), high(i)), a.scale[i], a.least[i], out);
            store_affine(_mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(both, 4), four), high(i + 1)), a.scale[i + 1],
                         a.least[i + 1], out + 32);
        }
    }
};

/// 128 bytes of nibbles, 64 bytes of upper pairs of bits, a scale of 8 bits for 16 weights, the scale of scales; 32 more than the
/// weight.
struct Q6K {
    static constexpr int64_t kWeights = 256, kBytes = 210;
    static void convert(const uint8_t * in, uint16_t * out) {
        const __m512 d = _mm512_set1_ps(half_at(in + 208));
        const __m512 scales = _mm512_mul_ps(
            d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(in + 192)))));
        const __m256i four = _mm256_set1_epi8(15), pair = _mm256_set1_epi8(0x30), offset = _mm256_set1_epi8(32);
        for (int half = 0; half < 2; ++half, out += 128) {
            const __m256i first = load_32(in + half * 64), second = load_32(in + half * 64 + 32),
                          upper = load_32(in + 128 + half * 32);
            const __m256i q[4] = {
                _mm256_or_si256(_mm256_and_si256(first, four), _mm256_and_si256(_mm256_slli_epi16(upper, 4), pair)),
                _mm256_or_si256(_mm256_and_si256(second, four), _mm256_and_si256(_mm256_slli_epi16(upper, 2), pair)),
                _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(first, 4), four), _mm256_and_si256(upper, pair)),
                _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(second, 4), four),
                                _mm256_and_si256(_mm256_srli_epi16(upper, 2), pair))};
            for (int i = 0; i < 4; ++i) {
                const int at = half * 8 + i * 2;
                store_scaled(_mm256_sub_epi8(q[i], offset), _mm512_permutexvar_ps(_mm512_set1_epi32(at), scales),
                             _mm512_permutexvar_ps(_mm512_set1_epi32(at + 1), scales), out + i * 32);
            }
        }
    }
};

template <typename Layout>
bool convert_all(const void * blocks, int64_t k, void * target) {
    const uint8_t * in = static_cast<const uint8_t *>(blocks);
    uint16_t * out = static_cast<uint16_t *>(target);
    for (int64_t i = 0; i < k; i += Layout::kWeights, in += Layout::kBytes, out += Layout::kWeights) Layout::convert(in, out);
    return true;
}

}  // namespace

bool convert_blocks_avx512bf16(Block type, const void * blocks, int64_t k, void * target) {
    switch (type) {
        case Block::q4_0: return convert_all<Q4_0>(blocks, k, target);
        case Block::q5_0: return convert_all<Q5_0>(blocks, k, target);
        case Block::q8_0: return convert_all<Q8_0>(blocks, k, target);
        case Block::q4_k: return convert_all<Q4K>(blocks, k, target);
        case Block::q5_k: return convert_all<Q5K>(blocks, k, target);
        case Block::q6_k: return convert_all<Q6K>(blocks, k, target);
        case Block::unknown: break;
    }
    return false;
}

}  // namespace latent::kernels
#endif
