#pragma once

#include "cuda/product.h"

namespace latent::cuda {

/// Eight stored weights of one row and one tap: loaded a step ahead and converted to values when needed.
template <typename T, WeightKind kind, bool spatial>
struct WeightChunk;

template <typename T, bool spatial>
struct WeightChunk<T, WeightKind::plain, spatial> {
    Chunk raw;
    LATENT_DEVICE void fetch(const WeightView & w, int row, int tap, int channel) {
        const T * const first = static_cast<const T *>(w.data) + tap * w.in + channel;
        raw = load(reinterpret_cast<const Chunk *>(row_at(first, row, w.taps * w.in * 2)));
    }
    template <bool>
    LATENT_DEVICE void values(const WeightView &, int, int, int, float * v) const {
        unpack<T>(raw, v);
    }
};

/// Taps of convolutions for which the scales of eight channels are loaded ahead. With others, as in 1x1 convolutions with a
/// stride or in bands of rows, they are loaded when needed.
constexpr int kUsualTaps = 9;

/// Scales of groups of 32 for eight channels of a tap. Groups follow the stored order, taps innermost, so that with nine taps
/// these channels lie in three groups that follow each other, and without taps in one.
template <typename Scale, bool spatial>
struct GroupScales {
    static constexpr int count = spatial ? 3 : 1;
    Scale ahead[count];

    LATENT_DEVICE static const Scale * row_of(const WeightView & w, int row) {
        return row_at(static_cast<const Scale *>(w.scales), row, w.groups * static_cast<int>(sizeof(Scale)));
    }
    LATENT_DEVICE static int element(const WeightView & w, int tap, int channel) {
        return spatial ? channel * w.taps + tap : channel;
    }
    LATENT_DEVICE void fetch(const WeightView & w, int row, int tap, int channel) {
        const Scale * const first = row_of(w, row) + (element(w, tap, channel) >> 5);
        LATENT_UNROLL
        for (int i = 0; i < count; ++i) ahead[i] = load(first + i);  // may be past the row, see kScalesPastEnd
    }
    /// One of three numbers: that of the group of channel i. `first`: the place of channel 0 in its group. With a constant i, one
    /// comparison.
    LATENT_DEVICE static float pick(const float * groups, int first, int i) {
        if (i == 0) return groups[0];
        if (i < 4) return first < 32 - i * kUsualTaps ? groups[0] : groups[1];
        return first < 64 - i * kUsualTaps ? groups[1] : groups[2];
    }
    /// That of one channel with any number of taps, from memory.
    LATENT_DEVICE static Scale of_channel(const WeightView & w, int row, int tap, int channel) {
        return load(row_of(w, row) + (element(w, tap, channel) >> 5));
    }
};

// Integers become floats without conversion instructions, which are slow: their bits are put into the mantissa of a power of
// two, which is then subtracted.

template <typename T, bool spatial>
struct WeightChunk<T, WeightKind::int8, spatial> {
    using Scales = GroupScales<f16, spatial>;
    static constexpr float kZero = 32768.0f + 128.0f;  // what byte_as_float() gives for 0
    Pair raw;
    Scales scales;

    LATENT_DEVICE void fetch(const WeightView & w, int row, int tap, int channel) {
        const int8_t * const first = static_cast<const int8_t *>(w.data) + tap * w.in + channel;
        raw = load(reinterpret_cast<const Pair *>(row_at(first, row, w.taps * w.in)));
        scales.fetch(w, row, tap, channel);
    }
    /// Byte i of `biased`, from 0 to 255, plus 2^15.
    LATENT_DEVICE static float byte_as_float(const uint32_t * biased, int i) {
        return float_of_bits(permute_bytes(biased[i / 4], 0x47000000u, 0x7504u | static_cast<uint32_t>(i % 4) << 4));
    }
    template <bool usual_taps>
    LATENT_DEVICE void values(const WeightView & w, int row, int tap, int channel, float * v) const {
        const uint32_t biased[2] = {raw.word[0] ^ 0x80808080u, raw.word[1] ^ 0x80808080u};
        if constexpr (!spatial) {
            // Both products are exact, and so is the sum.
            const float scale = to_float(scales.ahead[0]), offset = -kZero * scale;
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) v[i] = fmaf(byte_as_float(biased, i), scale, offset);
        } else if constexpr (usual_taps) {
            float groups[3];
            LATENT_UNROLL
            for (int i = 0; i < 3; ++i) groups[i] = to_float(scales.ahead[i]);
            const int first = Scales::element(w, tap, channel) & 31;
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) v[i] = (byte_as_float(biased, i) - kZero) * Scales::pick(groups, first, i);
        } else {
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i)
                v[i] = (byte_as_float(biased, i) - kZero) * to_float(Scales::of_channel(w, row, tap, channel + i));
        }
    }
};

template <typename T, bool spatial>
struct WeightChunk<T, WeightKind::int4, spatial> {
    using Scales = GroupScales<uint32_t, spatial>;
    uint32_t raw;
    Scales scales;

    LATENT_DEVICE void fetch(const WeightView & w, int row, int tap, int channel) {
        const uint8_t * const first = static_cast<const uint8_t *>(w.data) + (tap * w.in + channel) / 2;
        raw = load(reinterpret_cast<const uint32_t *>(row_at(first, row, w.taps * w.in / 2)));
        scales.fetch(w, row, tap, channel);
    }
    /// Nibble i, by a float whose unit is its lowest bit.
    LATENT_DEVICE float nibble(int i) const {
        const int at = i % 4 * 4;
        const uint32_t bits = (i < 4 ? raw : raw >> 16) & 15u << at, two_to = static_cast<uint32_t>(127 + 23 - at) << 23;
        return float_of_bits(bits | two_to) - float_of_bits(two_to);
    }
    LATENT_DEVICE static float scale_of(uint32_t both) { return to_float(f16{static_cast<uint16_t>(both & 0xffffu)}); }
    LATENT_DEVICE static float minimum_of(uint32_t both) { return to_float(f16{static_cast<uint16_t>(both >> 16)}); }

    template <bool usual_taps>
    LATENT_DEVICE void values(const WeightView & w, int row, int tap, int channel, float * v) const {
        if constexpr (!spatial) {
            const float scale = scale_of(scales.ahead[0]), minimum = minimum_of(scales.ahead[0]);
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) v[i] = nibble(i) * scale - minimum;
        } else if constexpr (usual_taps) {
            float scale[3], minimum[3];
            LATENT_UNROLL
            for (int i = 0; i < 3; ++i) scale[i] = scale_of(scales.ahead[i]), minimum[i] = minimum_of(scales.ahead[i]);
            const int first = Scales::element(w, tap, channel) & 31;
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) v[i] = nibble(i) * Scales::pick(scale, first, i) - Scales::pick(minimum, first, i);
        } else {
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) {
                const uint32_t both = Scales::of_channel(w, row, tap, channel + i);
                v[i] = nibble(i) * scale_of(both) - minimum_of(both);
            }
        }
    }
};

}  // namespace latent::cuda
