#pragma once

#include <algorithm>
#include <numeric>

#include "kernels/common/matmul.h"

// How conv2d divides its work: where taps lie, which taps and channels are summed at once, and which pixels and output channels
// make a task. Include from conv.cpp only.

namespace latent::kernels {
namespace {

constexpr int kMaxTaps = 64;  // per group; larger kernels are split into groups

/// The positions in the input of the taps of 6 neighbouring output pixels.
class Taps {
public:
    /// `unit`: distance between the indices of neighbouring pixels.
    Taps(const ConvShape & shape, int64_t unit)
        : s_(shape),
          unit_(unit),
          scale_(shape.upsample ? 2 : 1),
          height_(shape.crop_height ? shape.crop_height : shape.height * scale_),
          width_(shape.crop_width ? shape.crop_width : shape.width * scale_),
          plain_(shape.kernel == 1 && shape.stride == 1 && !shape.upsample && shape.pad_top == 0 &&
                 shape.out_height == shape.height) {}

    /// at[(tap - first_tap) * 6 + r]: the index of the input pixel in units, -1 outside the image and beyond the last output
    /// pixel.
    void find(int64_t pixel, int first_tap, int last_tap, int64_t * at) const {
        const int64_t left = s_.pixels() - pixel;
        if (plain_) {
            for (int r = 0; r < kTileRows; ++r) at[r] = r < left ? (pixel + r) * unit_ : -1;
            return;
        }
        int64_t x = pixel % s_.out_width, y = pixel / s_.out_width % s_.out_height, n = pixel / (s_.out_width * s_.out_height);
        if (left >= kTileRows && inside(x, y)) return find_inside(x, y, n, first_tap, last_tap, at);
        for (int r = 0; r < kTileRows; ++r) {
            if (r >= left) {
                for (int tap = first_tap; tap < last_tap; ++tap) at[(tap - first_tap) * kTileRows + r] = -1;
                continue;
            }
            const int64_t x0 = x * s_.stride - s_.pad_left, y0 = y * s_.stride - s_.pad_top, image = n * s_.height * s_.width;
            int ky = first_tap / s_.kernel, kx = first_tap % s_.kernel;
            for (int tap = first_tap; tap < last_tap; ++tap) {
                const int64_t iy = y0 + ky, ix = x0 + kx;
                const bool read = iy >= 0 && ix >= 0 && iy < height_ && ix < width_;
                at[(tap - first_tap) * kTileRows + r] =
                    read ? (image + (s_.upsample ? (iy / 2) * s_.width + ix / 2 : iy * s_.width + ix)) * unit_ : -1;
                if (++kx == s_.kernel) kx = 0, ++ky;
            }
            if (++x == s_.out_width) {
                x = 0;
                if (++y == s_.out_height) y = 0, ++n;
            }
        }
    }

private:
    /// Whether the six pixels from (x, y) on lie in one row and read nothing outside the image.
    bool inside(int64_t x, int64_t y) const {
        const int64_t x0 = x * s_.stride - s_.pad_left, y0 = y * s_.stride - s_.pad_top, last = (kTileRows - 1) * s_.stride;
        return x + kTileRows <= s_.out_width && x0 >= 0 && y0 >= 0 && x0 + last + s_.kernel <= width_ &&
               y0 + s_.kernel <= height_;
    }

    void find_inside(int64_t x, int64_t y, int64_t n, int first_tap, int last_tap, int64_t * at) const {
        const int64_t x0 = x * s_.stride - s_.pad_left, y0 = y * s_.stride - s_.pad_top, image = n * s_.height * s_.width;
        int ky = first_tap / s_.kernel, kx = first_tap % s_.kernel;
        for (int tap = first_tap; tap < last_tap; ++tap, at += kTileRows) {
            const int64_t row = image + (s_.upsample ? (y0 + ky) / 2 : y0 + ky) * s_.width, first = x0 + kx;
            if (s_.upsample) {
                for (int r = 0; r < kTileRows; ++r) at[r] = (row + (first + r) / 2) * unit_;
            } else {
                const int64_t start = (row + first) * unit_, step = s_.stride * unit_;
                for (int r = 0; r < kTileRows; ++r) at[r] = start + r * step;
            }
            if (++kx == s_.kernel) kx = 0, ++ky;
        }
    }

    const ConvShape & s_;
    int64_t unit_, scale_, height_, width_;
    bool plain_;
};

/// The taps and channels that are summed with one panel in the cache.
struct Group {
    int first_tap, last_tap;
    int64_t first_channel, channels;
};

/// Splits the sums of a convolution into groups of taps, channels or both.
struct Groups {
    int taps, taps_each;
    int64_t channels, channels_each;

    int count() const {
        return (taps + taps_each - 1) / taps_each * static_cast<int>((channels + channels_each - 1) / channels_each);
    }
    Group at(int index) const {
        const int across = static_cast<int>((channels + channels_each - 1) / channels_each);
        const int tap = index / across * taps_each;
        const int64_t channel = index % across * channels_each;
        return {tap, std::min(tap + taps_each, taps), channel, std::min(channels_each, channels - channel)};
    }
};

/// How output pixels and panels of 64 output channels are distributed.
struct Schedule {
    static constexpr int64_t kLeast = 8;       // tiles per chunk: fewer are not worth a task
    static constexpr int64_t kMost = 170;      // tiles per chunk with one tap
    static constexpr int64_t kMostSums = 680;  // tiles per chunk whose sums are kept between groups: 1 MB
    int64_t tiles, panels, chunk, chunks, pixels;
    bool grouped, chunk_by_chunk;  // else panel by panel

    Schedule(const ConvShape & s, int64_t width, bool sums_kept, int threads) : pixels(s.pixels()), grouped(sums_kept) {
        panels = (width + kTileColumns - 1) / kTileColumns;
        tiles = (pixels + kTileRows - 1) / kTileRows;
        // With one tap a panel is used so little that the rows should stay in the second-level cache while panels change. With
        // more taps it pays to pack each panel only once.
        chunk_by_chunk = s.taps() == 1;
        const int64_t most = chunk_by_chunk ? kMost : grouped ? kMostSums : std::max<int64_t>(tiles, 1);
        // Where there are enough tiles, every thread gets the same number of tasks, at least two.
        const int64_t even = threads / std::gcd(panels, int64_t{threads});
        chunks = std::max((2 * threads + panels - 1) / panels, (tiles + most - 1) / most);
        chunks = std::max<int64_t>(1, (chunks + even / 2) / even) * even;
        chunks = std::clamp<int64_t>(chunks, 1, std::max<int64_t>(1, tiles / kLeast));
        chunk = std::max<int64_t>(1, (tiles + chunks - 1) / chunks) * kTileRows;
        chunks = (pixels + chunk - 1) / chunk;
    }
    /// One panel and the pixels [first, last).
    struct Task {
        int64_t panel, first, last;
    };
    int64_t tasks() const { return panels * chunks; }
    /// Task `index`, merged with the following tasks of the same panel before `end` as long as their sums can be kept. Advances
    /// `index`.
    Task next(int64_t & index, int64_t end) const {
        const int64_t panel = chunk_by_chunk ? index % panels : index / chunks;
        const int64_t first = chunk_by_chunk ? index / panels : index % chunks;
        int64_t count = 1;
        if (!chunk_by_chunk) count = std::min(chunks - first, end - index);
        if (grouped) count = std::min(count, std::max<int64_t>(1, kMostSums * kTileRows / chunk));
        index += count;
        return {panel, first * chunk, std::min((first + count) * chunk, pixels)};
    }
    /// Sums are kept between groups; with a single group, one tile is enough.
    int64_t sum_tiles() const { return grouped ? std::max(chunk / kTileRows, std::min(tiles, kMostSums)) : 1; }
};

}  // namespace
}  // namespace latent::kernels
