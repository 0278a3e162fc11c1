#pragma once

#include <algorithm>
#include <numeric>

#include "kernels/common/matmul.h"

// How conv2d divides its work: where taps lie, which taps and channels are summed at once, and which pixels and output channels
// make a task. Include from conv.cpp only.

namespace latent::kernels {
namespace {

constexpr int kMaxTaps = kMostSegments;  // per group; larger kernels are split into groups

/// The positions in the input of the taps of neighbouring output pixels.
class Taps {
public:
    /// `unit`: distance between the indices of neighbouring pixels; `rows`: pixels of a tile.
    Taps(const ConvShape & shape, int64_t unit, int rows)
        : s_(shape),
          unit_(unit),
          rows_(rows),
          scale_(shape.upsample ? 2 : 1),
          height_(shape.crop_height ? shape.crop_height : shape.height * scale_),
          width_(shape.crop_width ? shape.crop_width : shape.width * scale_),
          plain_(shape.kernel == 1 && shape.stride == 1 && !shape.upsample && shape.pad_top == 0 &&
                 shape.out_height == shape.height) {}

    /// at[(tap - first_tap) * rows + r]: the index of the input pixel in units, -1 outside the image and beyond the last output
    /// pixel.
    void find(int64_t pixel, int first_tap, int last_tap, int64_t * at) const {
        const int64_t left = s_.pixels() - pixel;
        const int count = static_cast<int>(std::min<int64_t>(rows_, left));
        if (plain_) {
            for (int r = 0; r < count; ++r) at[r] = (pixel + r) * unit_;
            for (int r = count; r < rows_; ++r) at[r] = -1;
            return;
        }
        int64_t x = pixel % s_.out_width, y = pixel / s_.out_width % s_.out_height, n = pixel / (s_.out_width * s_.out_height);
        for (int r = 0; r < count;) {
            const int run = static_cast<int>(std::min<int64_t>(count - r, s_.out_width - x));
            find_run(x, y, n, run, first_tap, last_tap, at + r);
            r += run;
            x = 0;
            if (++y == s_.out_height) y = 0, ++n;
        }
        if (count == rows_) return;
        for (int tap = first_tap; tap < last_tap; ++tap) {
            int64_t * to = at + (tap - first_tap) * rows_;
            for (int r = count; r < rows_; ++r) to[r] = -1;
        }
    }

private:
    /// Pixels x ... x + run - 1 of output row y of image n.
    void find_run(int64_t x, int64_t y, int64_t n, int run, int first_tap, int last_tap, int64_t * at) const {
        const int64_t x0 = x * s_.stride - s_.pad_left, y0 = y * s_.stride - s_.pad_top, image = n * s_.height * s_.width;
        const bool inside = x0 >= 0 && x0 + (run - 1) * s_.stride + s_.kernel <= width_;
        int ky = first_tap / s_.kernel, kx = first_tap % s_.kernel;
        for (int tap = first_tap; tap < last_tap; ++tap, at += rows_) {
            const int64_t iy = y0 + ky, ix = x0 + kx;
            if (iy < 0 || iy >= height_) {
                for (int r = 0; r < run; ++r) at[r] = -1;
            } else if (s_.upsample) {
                const int64_t row = image + iy / 2 * s_.width;
                for (int r = 0; r < run; ++r) at[r] = ix + r < 0 || ix + r >= width_ ? -1 : (row + (ix + r) / 2) * unit_;
            } else {
                const int64_t start = (image + iy * s_.width + ix) * unit_, step = s_.stride * unit_;
                for (int r = 0; r < run; ++r) at[r] = start + r * step;
                if (!inside) {
                    for (int r = 0; r < run && ix + r * s_.stride < 0; ++r) at[r] = -1;
                    for (int r = run - 1; r >= 0 && ix + r * s_.stride >= width_; --r) at[r] = -1;
                }
            }
            if (++kx == s_.kernel) kx = 0, ++ky;
        }
    }

    const ConvShape & s_;
    int64_t unit_;
    int rows_;
    int64_t scale_, height_, width_;
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

constexpr int kMostPanels = 8;  // that are multiplied with a tile's rows one after the other

/// Bytes of panels that stay in the cache beside more rows and results than a single panel has; `cache`: bytes of that one.
inline int64_t held_bytes(int64_t cache) {
    return cache * 5 / 8;
}

/// How output pixels and panels of 64 output channels are distributed.
struct Schedule {
    static constexpr int64_t kLeast = 48;       // pixels per chunk: fewer are not worth a task
    static constexpr int64_t kMost = 1024;      // pixels per chunk with one tap
    static constexpr int64_t kMostSums = 4096;  // pixels per chunk whose sums are kept between groups: 1 MB
    int64_t rows, tiles, panels, chunk, chunks, pixels;
    int64_t panels_each = 1;       // of a task
    bool grouped, chunk_by_chunk;  // else panel by panel

    /// `tile_rows`: pixels of a tile; `held`: panels that stay in the cache.
    Schedule(const ConvShape & s, int64_t width, int tile_rows, bool sums_kept, int64_t held, int threads)
        : rows(tile_rows), pixels(s.pixels()), grouped(sums_kept) {
        panels = (width + kTileColumns - 1) / kTileColumns;
        tiles = (pixels + rows - 1) / rows;
        // With one tap a panel is used so little that the rows should stay in the second-level cache while panels change. With
        // more taps it pays to pack each panel only once.
        chunk_by_chunk = s.taps() == 1;
        const int64_t most = chunk_by_chunk ? kMost / rows : grouped ? kMostSums / rows : std::max<int64_t>(tiles, 1);
        // Where there are enough tiles, every thread gets the same number of tasks, at least two.
        const int64_t even = threads / std::gcd(panels, int64_t{threads});
        chunks = std::max((2 * threads + panels - 1) / panels, (tiles + most - 1) / most);
        chunks = std::max<int64_t>(1, (chunks + even / 2) / even) * even;
        chunks = std::clamp<int64_t>(chunks, 1, std::max<int64_t>(1, tiles * rows / kLeast));
        chunk = std::max<int64_t>(1, (tiles + chunks - 1) / chunks) * rows;
        chunks = (pixels + chunk - 1) / chunk;
        if (!chunk_by_chunk || grouped) return;
        // Several panels to a task write longer runs of a row, and read as long ones of what is added to it; as many as leave
        // every thread the same number of tasks.
        const auto even_with = [&](int64_t each) {
            return chunks % threads == 0 || (panels % each == 0 && panels / each * chunks % threads == 0);
        };
        panels_each = std::clamp<int64_t>(held, 1, std::min<int64_t>(panels, kMostPanels));
        while (panels_each > 1 && !even_with(panels_each)) --panels_each;
    }
    /// Some panels and the pixels [first, last).
    struct Task {
        int64_t panel, panels, first, last;
    };
    int64_t across() const { return (panels + panels_each - 1) / panels_each; }
    int64_t tasks() const { return across() * chunks; }
    /// Task `index`, merged with the following tasks of the same panel before `end` as long as their sums can be kept. Advances
    /// `index`.
    Task next(int64_t & index, int64_t end) const {
        const int64_t panel = (chunk_by_chunk ? index % across() : index / chunks) * panels_each;
        const int64_t first = chunk_by_chunk ? index / across() : index % chunks;
        int64_t count = 1;
        if (!chunk_by_chunk) count = std::min(chunks - first, end - index);
        if (grouped) count = std::min(count, std::max<int64_t>(1, kMostSums / chunk));
        index += count;
        return {panel, std::min(panels_each, panels - panel), first * chunk, std::min((first + count) * chunk, pixels)};
    }
    /// Sums are kept between groups; with a single group, one tile is enough.
    int64_t sum_tiles() const { return grouped ? std::max(chunk / rows, std::min(tiles, kMostSums / rows)) : 1; }
};

}  // namespace
}  // namespace latent::kernels
