#include "pipeline/tiling.h"

#include <algorithm>

namespace latent::pipeline {
namespace {

ImageTensor crop(const ImageTensor & input, int64_t row, int64_t y0, int64_t x0, int64_t height, int64_t width) {
    const auto [n, c, h, w] = input.shape;
    ImageTensor tile{{1, c, height, width}, std::vector<float>(static_cast<size_t>(c * height * width))};
    float * target = tile.data.data();
    for (int64_t channel = 0; channel < c; ++channel) {
        for (int64_t y = 0; y < height; ++y) {
            const float * source = input.data.data() + ((row * c + channel) * h + y0 + y) * w + x0;
            target = std::copy_n(source, width, target);
        }
    }
    return tile;
}

/// Weight of each output pixel along one axis: a ramp where a neighbour overlaps, one elsewhere.
std::vector<float> ramp(int64_t size, int64_t before, int64_t after) {
    std::vector<float> weights(static_cast<size_t>(size), 1.0f);
    for (int64_t i = 0; i < std::min(before, size); ++i) {
        weights[static_cast<size_t>(i)] = (static_cast<float>(i) + 0.5f) / static_cast<float>(before);
    }
    for (int64_t i = 0; i < std::min(after, size); ++i) {
        float & weight = weights[static_cast<size_t>(size - 1 - i)];
        weight = std::min(weight, (static_cast<float>(i) + 0.5f) / static_cast<float>(after));
    }
    return weights;
}

/// Pixels that the tile at `index` shares with its neighbours before and after.
std::pair<int64_t, int64_t> shared(const std::vector<int64_t> & starts, size_t index, int64_t size) {
    const int64_t before = index == 0 ? 0 : starts[index - 1] + size - starts[index];
    const int64_t after = index + 1 == starts.size() ? 0 : starts[index] + size - starts[index + 1];
    return {before, after};
}

}  // namespace

std::vector<int64_t> tile_starts(int64_t length, int64_t size, int64_t stride) {
    std::vector<int64_t> starts{0};
    while (starts.back() + size < length) starts.push_back(std::min(starts.back() + stride, length - size));
    return starts;
}

ImageTensor run_tiled(const ImageTensor & input, const TileGrid & grid, int up, int down, Phase phase, const JobContext & job,
                      const std::function<ImageTensor(const ImageTensor &)> & run) {
    const auto [n, c, h, w] = input.shape;
    const int64_t tile_h = std::min<int64_t>(grid.tile, h), tile_w = std::min<int64_t>(grid.tile, w);
    const int64_t stride = std::max<int64_t>(down, (grid.tile - grid.overlap) / down * down);
    const auto ys = tile_starts(h, tile_h, stride), xs = tile_starts(w, tile_w, stride);
    const auto scaled = [&](int64_t pixels) { return pixels * up / down; };

    ImageTensor output;
    std::vector<float> total;  // sum of weights per output pixel
    int64_t done = 0;
    const int64_t tiles = n * static_cast<int64_t>(ys.size() * xs.size());
    const int64_t out_h = scaled(h), out_w = scaled(w);

    for (int64_t row = 0; row < n; ++row) {
        total.assign(static_cast<size_t>(out_h * out_w), 0.0f);
        for (size_t iy = 0; iy < ys.size(); ++iy) {
            for (size_t ix = 0; ix < xs.size(); ++ix) {
                job.check();
                const ImageTensor result = run(crop(input, row, ys[iy], xs[ix], tile_h, tile_w));
                const auto [rn, rc, rh, rw] = result.shape;
                if (output.data.empty()) {
                    output.shape = {n, rc, out_h, out_w};
                    output.data.assign(static_cast<size_t>(n * rc * out_h * out_w), 0.0f);
                }
                const auto [top, bottom] = shared(ys, iy, tile_h);
                const auto [left, right] = shared(xs, ix, tile_w);
                const auto wy = ramp(rh, scaled(top), scaled(bottom)), wx = ramp(rw, scaled(left), scaled(right));
                const int64_t oy = scaled(ys[iy]), ox = scaled(xs[ix]);
                for (int64_t channel = 0; channel < rc; ++channel) {
                    for (int64_t y = 0; y < rh; ++y) {
                        const float * source = result.data.data() + (channel * rh + y) * rw;
                        float * target = output.data.data() + ((row * rc + channel) * out_h + oy + y) * out_w + ox;
                        for (int64_t x = 0; x < rw; ++x)
                            target[x] += source[x] * wy[static_cast<size_t>(y)] * wx[static_cast<size_t>(x)];
                    }
                }
                for (int64_t y = 0; y < rh; ++y) {
                    float * target = total.data() + (oy + y) * out_w + ox;
                    for (int64_t x = 0; x < rw; ++x) target[x] += wy[static_cast<size_t>(y)] * wx[static_cast<size_t>(x)];
                }
                job.report(phase, ++done, tiles);
            }
        }
        const int64_t channels = output.shape[1];
        for (int64_t channel = 0; channel < channels; ++channel) {
            float * target = output.data.data() + (row * channels + channel) * out_h * out_w;
            for (int64_t i = 0; i < out_h * out_w; ++i) target[i] /= total[static_cast<size_t>(i)];
        }
    }
    return output;
}

}  // namespace latent::pipeline
