#include "core/k_quants.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"

// Block layouts of 256 values (ggml-common.h, block_q4_K and so on):
//   q4_k: half d, half dmin, 12 bytes of eight 6-bit scales and minima, 128 bytes of 4-bit levels;  x = d * scale * level - dmin
//   * min q5_k: the same with 32 bytes of fifth bits before the levels q6_k: 128 bytes of low bits, 64 of high bits, 16 signed
//   scales, half d;  x = d * scale * (level - 32)

namespace latent {

namespace {

constexpr int kBlock = 256;

/// To the nearest integer, ties to even, for magnitudes below 2^22; branchless where std::nearbyint may be a call.
inline float nearest(float value) {
    constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: no bits remain for the fraction
    return (value + kShift) - kShift;
}

/// `low` for NaN.
inline float clamped(float value, float low, float high) {
    value = value > low ? value : low;
    return value < high ? value : high;
}

/// The values of a block as [position in the group][group], and the results of the search for every group.
template <int groups>
struct Lanes {
    static constexpr int size = kBlock / groups;
    float x[size][groups], weight[size][groups];
    float scale[groups], minimum[groups];

    explicit Lanes(const float * values) {
        for (int g = 0; g < groups; ++g) {
            for (int i = 0; i < size; ++i) x[i][g] = values[g * size + i];
        }
    }
};

/// Fits x ~ scale * level - minimum, levels 0 to `most`, minimum >= 0, with more weight on large values. `first`, `steps`: the
/// numbers of levels to try for the range of a group.
void fit_with_minimum(Lanes<8> & lanes, float most, float first, int steps) {
    constexpr int groups = 8, size = Lanes<8>::size;
    float low[groups], high[groups], power[groups], sum_w[groups], sum_x[groups], sum_xx[groups];
    for (int g = 0; g < groups; ++g) low[g] = 0, high[g] = lanes.x[0][g], power[g] = sum_w[g] = sum_x[g] = sum_xx[g] = 0;
    for (int i = 0; i < size; ++i) {
        for (int g = 0; g < groups; ++g) {
            const float x = lanes.x[i][g];
            low[g] = x < low[g] ? x : low[g];
            high[g] = x > high[g] ? x : high[g];
            power[g] += x * x;
        }
    }
    for (int g = 0; g < groups; ++g) power[g] = std::sqrt(power[g] / size);
    for (int i = 0; i < size; ++i) {
        for (int g = 0; g < groups; ++g) {
            const float x = lanes.x[i][g], w = power[g] + std::fabs(x);
            lanes.weight[i][g] = w;
            sum_w[g] += w, sum_x[g] += w * x, sum_xx[g] += w * x * x;
        }
    }
    float best[groups] = {}, scale[groups];  // initially those of the unmodified range
    for (int g = 0; g < groups; ++g) scale[g] = (high[g] - low[g]) / most;
    for (int i = 0; i < size; ++i) {
        for (int g = 0; g < groups; ++g) {
            const float shifted = lanes.x[i][g] - low[g], unit = scale[g] > 0 ? scale[g] : 1.0f;
            const float error = unit * clamped(nearest(shifted / unit), 0.0f, most) - shifted;
            best[g] += lanes.weight[i][g] * error * error;
        }
    }
    for (int step = 0; step < steps; ++step) {
        float stretch[groups], sum_l[groups] = {}, sum_ll[groups] = {}, sum_xl[groups] = {};
        for (int g = 0; g < groups; ++g) {
            const float range = high[g] > low[g] ? high[g] - low[g] : 1.0f;
            stretch[g] = (most + first + 0.1f * static_cast<float>(step)) / range;
        }
        for (int i = 0; i < size; ++i) {
            for (int g = 0; g < groups; ++g) {
                const float x = lanes.x[i][g], level = clamped(nearest(stretch[g] * (x - low[g])), 0.0f, most);
                const float weighted = lanes.weight[i][g] * level;
                sum_l[g] += weighted, sum_ll[g] += weighted * level, sum_xl[g] += weighted * x;
            }
        }
        for (int g = 0; g < groups; ++g) {
            const float determinant = sum_w[g] * sum_ll[g] - sum_l[g] * sum_l[g];
            float a = (sum_w[g] * sum_xl[g] - sum_x[g] * sum_l[g]) / determinant,
                  b = (sum_ll[g] * sum_x[g] - sum_l[g] * sum_xl[g]) / determinant;
            if (b > 0) a = sum_xl[g] / sum_ll[g], b = 0;
            const float error = sum_xx[g] - a * sum_xl[g] - b * sum_x[g];  // of a least-squares fit
            const bool better = determinant > 0 && error < best[g];
            best[g] = better ? error : best[g], scale[g] = better ? a : scale[g];
            low[g] = better ? b : low[g];  // later roundings start from the better minimum
        }
    }
    for (int g = 0; g < groups; ++g) lanes.scale[g] = std::max(scale[g], 0.0f), lanes.minimum[g] = -low[g];
}

/// x ~ scale * level, levels -32 to 31, squared errors weighted by x^2.
void fit_scale(Lanes<16> & lanes) {
    constexpr int groups = 16, size = Lanes<16>::size;
    float extreme[groups] = {}, magnitude[groups] = {}, best[groups] = {};
    for (int i = 0; i < size; ++i) {
        for (int g = 0; g < groups; ++g) {
            const float x = lanes.x[i][g], a = std::fabs(x);
            extreme[g] = a > magnitude[g] ? x : extreme[g];
            magnitude[g] = a > magnitude[g] ? a : magnitude[g];
            lanes.weight[i][g] = x * x;
        }
    }
    for (int g = 0; g < groups; ++g) lanes.scale[g] = 0, extreme[g] = magnitude[g] > 0 ? extreme[g] : 1.0f;
    for (int step = -9; step <= 9; ++step) {
        float stretch[groups], sum_ll[groups] = {}, sum_xl[groups] = {};
        for (int g = 0; g < groups; ++g) stretch[g] = -(32.0f + 0.1f * static_cast<float>(step)) / extreme[g];
        for (int i = 0; i < size; ++i) {
            for (int g = 0; g < groups; ++g) {
                const float x = lanes.x[i][g], level = clamped(nearest(stretch[g] * x), -32.0f, 31.0f);
                const float weighted = lanes.weight[i][g] * level;
                sum_ll[g] += weighted * level, sum_xl[g] += weighted * x;
            }
        }
        for (int g = 0; g < groups; ++g) {
            const float fit = sum_xl[g] / sum_ll[g], gain = fit * sum_xl[g];
            if (sum_ll[g] > 0 && gain > best[g]) best[g] = gain, lanes.scale[g] = fit;
        }
    }
}

void put_half(uint8_t * out, uint16_t bits) {
    std::memcpy(out, &bits, sizeof(bits));
}

/// q4_k (`most` 15) and q5_k (31).
void block_with_minima(const float * values, uint8_t * out, int most) {
    constexpr int groups = 8, size = Lanes<8>::size;
    Lanes<8> lanes(values);
    const bool four_bits = most == 15;
    fit_with_minimum(lanes, static_cast<float>(most), four_bits ? -1.0f : -0.5f, four_bits ? 21 : 16);
    const float largest = *std::max_element(lanes.scale, lanes.scale + groups);
    const float deepest = std::max(0.0f, *std::max_element(lanes.minimum, lanes.minimum + groups));
    const uint16_t d = float_to_half(largest / 63.0f), dmin = float_to_half(deepest / 63.0f);
    const float unit = half_to_float(d), unit_min = half_to_float(dmin);

    uint8_t levels[kBlock] = {}, scales[12] = {};
    for (int g = 0; g < groups; ++g) {
        const float exact = largest > 0 ? 63.0f / largest * lanes.scale[g] : 0.0f;
        const float exact_min = deepest > 0 ? 63.0f / deepest * lanes.minimum[g] : 0.0f;
        const float scale = clamped(nearest(exact), 0.0f, 63.0f), minimum = clamped(nearest(exact_min), 0.0f, 63.0f);
        const auto s = static_cast<uint8_t>(scale), m = static_cast<uint8_t>(minimum);
        if (g < 4) {
            scales[g] = static_cast<uint8_t>(scales[g] | s), scales[g + 4] = static_cast<uint8_t>(scales[g + 4] | m);
        } else {
            scales[g + 4] = static_cast<uint8_t>((s & 15) | (m & 15) << 4);
            scales[g - 4] = static_cast<uint8_t>(scales[g - 4] | (s >> 4) << 6);
            scales[g] = static_cast<uint8_t>(scales[g] | (m >> 4) << 6);
        }
        const float step = unit * scale, offset = unit_min * minimum;
        for (int i = 0; step > 0 && i < size; ++i) {
            const float level = clamped((values[g * size + i] + offset) / step, 0.0f, static_cast<float>(most));
            levels[g * size + i] = static_cast<uint8_t>(nearest(level));
        }
    }
    put_half(out, d), put_half(out + 2, dmin);
    std::memcpy(out + 4, scales, sizeof(scales));
    uint8_t *high = out + 16, *low = high + (four_bits ? 0 : 32);
    if (!four_bits) std::memset(high, 0, 32);
    for (int pair = 0; pair < groups / 2; ++pair) {
        for (int i = 0; i < size; ++i) {
            const uint8_t a = levels[2 * pair * size + i], b = levels[(2 * pair + 1) * size + i];
            low[pair * size + i] = static_cast<uint8_t>((a & 15) | (b & 15) << 4);
            if (!four_bits) high[i] = static_cast<uint8_t>(high[i] | (a >> 4) << (2 * pair) | (b >> 4) << (2 * pair + 1));
        }
    }
}

void block_q6_k(const float * values, uint8_t * out) {
    constexpr int groups = 16, size = Lanes<16>::size;
    Lanes<16> lanes(values);
    fit_scale(lanes);
    float largest = 0;  // with its sign
    for (const float scale : lanes.scale) {
        if (std::fabs(scale) > std::fabs(largest)) largest = scale;
    }
    std::memset(out, 0, 210);
    const uint16_t d = float_to_half(largest / -128.0f);
    const float unit = half_to_float(d);
    if (unit == 0.0f) return;
    uint8_t levels[kBlock];
    int8_t scales[groups];
    for (int g = 0; g < groups; ++g) {
        const float scale = clamped(nearest(-128.0f / largest * lanes.scale[g]), -128.0f, 127.0f), step = unit * scale;
        scales[g] = static_cast<int8_t>(scale);
        for (int i = 0; i < size; ++i) {
            const float level = step == 0.0f ? 0.0f : clamped(values[g * size + i] / step, -32.0f, 31.0f);
            levels[g * size + i] = static_cast<uint8_t>(nearest(level) + 32.0f);
        }
    }
    for (int half = 0; half < 2; ++half) {
        const uint8_t * from = levels + half * 128;
        for (int i = 0; i < 32; ++i) {
            const uint8_t a = from[i], b = from[i + 32], c = from[i + 64], e = from[i + 96];
            out[half * 64 + i] = static_cast<uint8_t>((a & 15) | (c & 15) << 4);
            out[half * 64 + 32 + i] = static_cast<uint8_t>((b & 15) | (e & 15) << 4);
            out[128 + half * 32 + i] = static_cast<uint8_t>((a >> 4) | (b >> 4) << 2 | (c >> 4) << 4 | (e >> 4) << 6);
        }
    }
    std::memcpy(out + 192, scales, sizeof(scales));
    put_half(out + 208, d);
}

}  // namespace

bool is_k_quant(DType type) {
    return type == DType::q4_k || type == DType::q5_k || type == DType::q6_k;
}

void quantise_k(DType type, const float * values, int64_t count, uint8_t * out) {
    if (!is_k_quant(type) || count % kBlock != 0) throw Error(ErrorCode::internal, "quantise_k: a type or count that it has not");
    for (int64_t at = 0; at < count; at += kBlock, out += dtype_block_bytes(type)) {
        if (type == DType::q6_k) {
            block_q6_k(values + at, out);
        } else {
            block_with_minima(values + at, out, type == DType::q4_k ? 15 : 31);
        }
    }
}

}  // namespace latent
