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
    LATENT_DEVICE void values(const WeightView &, int, int, int, float * v) const { unpack<T>(raw, v); }
};

/// Scales of groups of 32 for eight channels of a tap. Groups follow the stored order, taps innermost, so that with up to nine
/// taps these channels lie in three groups that follow each other, and without taps in one.
template <typename Scale, bool spatial>
struct GroupScales {
    static constexpr int count = spatial ? 3 : 1, most_taps = 9;
    Scale ahead[count];

    LATENT_DEVICE static const Scale * row_of(const WeightView & w, int row) {
        return row_at(static_cast<const Scale *>(w.scales), row, w.groups * static_cast<int>(sizeof(Scale)));
    }
    LATENT_DEVICE static int element(const WeightView & w, int tap, int channel) {
        return spatial ? channel * w.taps + tap : channel;
    }
    LATENT_DEVICE void fetch(const WeightView & w, int row, int tap, int channel) {
        const Scale * const scales = row_of(w, row);
        const int first = element(w, tap, channel) >> 5;
        LATENT_UNROLL
        for (int i = 0; i < count; ++i) ahead[i] = load(scales + (first + i < w.groups ? first + i : w.groups - 1));
    }
    /// Those of eight channels, or one for all.
    LATENT_DEVICE void all(const WeightView & w, int row, int tap, int channel, Scale * to) const {
        if constexpr (!spatial) {
            to[0] = ahead[0];
        } else if (w.taps > most_taps) {
            const Scale * const scales = row_of(w, row);
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) to[i] = load(scales + (element(w, tap, channel + i) >> 5));
        } else {
            const int first = element(w, tap, channel) & 31;
            LATENT_UNROLL
            for (int i = 0; i < 8; ++i) {
                const int away = first + i * w.taps;
                const Scale later = away < 64 ? ahead[1] : ahead[2];
                to[i] = away < 32 ? ahead[0] : later;
            }
        }
    }
};

template <typename T, bool spatial>
struct WeightChunk<T, WeightKind::int8, spatial> {
    Pair raw;
    GroupScales<f16, spatial> scales;
    LATENT_DEVICE void fetch(const WeightView & w, int row, int tap, int channel) {
        const int8_t * const first = static_cast<const int8_t *>(w.data) + tap * w.in + channel;
        raw = load(reinterpret_cast<const Pair *>(row_at(first, row, w.taps * w.in)));
        scales.fetch(w, row, tap, channel);
    }
    LATENT_DEVICE void values(const WeightView & w, int row, int tap, int channel, float * v) const {
        f16 scale[spatial ? 8 : 1];
        scales.all(w, row, tap, channel, scale);
        LATENT_UNROLL
        for (int i = 0; i < 8; ++i) {
            const auto q = static_cast<int8_t>(raw.word[i / 4] >> (i % 4 * 8) & 0xffu);
            v[i] = static_cast<float>(q) * to_float(scale[spatial ? i : 0]);
        }
    }
};

template <typename T, bool spatial>
struct WeightChunk<T, WeightKind::int4, spatial> {
    uint32_t raw;
    GroupScales<uint32_t, spatial> scales;
    LATENT_DEVICE void fetch(const WeightView & w, int row, int tap, int channel) {
        const uint8_t * const first = static_cast<const uint8_t *>(w.data) + (tap * w.in + channel) / 2;
        raw = load(reinterpret_cast<const uint32_t *>(row_at(first, row, w.taps * w.in / 2)));
        scales.fetch(w, row, tap, channel);
    }
    LATENT_DEVICE void values(const WeightView & w, int row, int tap, int channel, float * v) const {
        uint32_t scale[spatial ? 8 : 1];
        scales.all(w, row, tap, channel, scale);
        LATENT_UNROLL
        for (int i = 0; i < 8; ++i) {
            const uint32_t s = scale[spatial ? i : 0];
            const float minimum = to_float(f16{static_cast<uint16_t>(s >> 16)});
            v[i] = static_cast<float>(raw >> (i * 4) & 15u) * to_float(f16{static_cast<uint16_t>(s & 0xffffu)}) - minimum;
        }
    }
};

}  // namespace latent::cuda
