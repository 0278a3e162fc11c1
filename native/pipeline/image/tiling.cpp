#include "pipeline/image/tiling.h"

#include <algorithm>

#include "pipeline/messages.h"

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

/// Number of pixels that the tile at `index` shares with the previous and the next tile.
std::pair<int64_t, int64_t> shared(const std::vector<int64_t> & starts, size_t index, int64_t size) {
    const int64_t before = index == 0 ? 0 : starts[index - 1] + size - starts[index];
    const int64_t after = index + 1 == starts.size() ? 0 : starts[index] + size - starts[index + 1];
    return {before, after};
}

std::vector<float> outer_product(const std::vector<float> & column, const std::vector<float> & row) {
    std::vector<float> out;
    out.reserve(column.size() * row.size());
    for (const float y : column) {
        for (const float x : row) out.push_back(y * x);
    }
    return out;
}

/// Positions of the tiles along both axes, in input pixels.
struct Placement {
    std::vector<int64_t> ys, xs;
    int64_t height = 0, width = 0;  // size of a tile

    /// Weights [h, w] for the output of one tile.
    std::vector<float> weights(TileBlend blend, size_t iy, size_t ix, int64_t h, int64_t w) const {
        if (blend == TileBlend::border_distance) return border_distance_weights(h, w);
        const auto [top, bottom] = shared(ys, iy, height);
        const auto [left, right] = shared(xs, ix, width);
        return outer_product(ramp(h, top * h / height, bottom * h / height), ramp(w, left * w / width, right * w / width));
    }
};

/// Accumulates weighted tiles into row `row` of `output` [n, c, h, w], and their weights.
class WeightedSum {
public:
    WeightedSum(ImageTensor & output, int64_t row)
        : output_(output), row_(row), total_(static_cast<size_t>(output.shape[2] * output.shape[3]), 0.0f) {}

    void add(const ImageTensor & tile, const std::vector<float> & weights, int64_t y0, int64_t x0) {
        const auto [n, c, h, w] = tile.shape;
        const int64_t height = output_.shape[2], width = output_.shape[3];
        for (int64_t channel = 0; channel < c; ++channel) {
            for (int64_t y = 0; y < h; ++y) {
                const float * source = tile.data.data() + (channel * h + y) * w;
                const float * weight = weights.data() + y * w;
                float * target = output_.data.data() + ((row_ * c + channel) * height + y0 + y) * width + x0;
                for (int64_t x = 0; x < w; ++x) target[x] += source[x] * weight[x];
            }
        }
        for (int64_t y = 0; y < h; ++y) {
            float * target = total_.data() + (y0 + y) * width + x0;
            for (int64_t x = 0; x < w; ++x) target[x] += weights[static_cast<size_t>(y * w + x)];
        }
    }

    void normalise() {
        const int64_t c = output_.shape[1];
        const size_t plane = total_.size();
        for (int64_t channel = 0; channel < c; ++channel) {
            float * target = output_.data.data() + static_cast<size_t>(row_ * c + channel) * plane;
            for (size_t i = 0; i < plane; ++i) target[i] /= total_[i];
        }
    }

private:
    ImageTensor & output_;
    int64_t row_;
    std::vector<float> total_;
};

}  // namespace

std::vector<int64_t> tile_starts(int64_t length, int64_t size, int64_t stride) {
    std::vector<int64_t> starts{0};
    while (starts.back() + size < length) starts.push_back(std::min(starts.back() + stride, length - size));
    return starts;
}

std::vector<float> border_distance_weights(int64_t height, int64_t width) {
    const auto axis = [](int64_t size) {
        std::vector<float> distances;
        const float last = static_cast<float>(std::max<int64_t>(size - 1, 1));
        for (int64_t i = 0; i < size; ++i) {
            const float position = static_cast<float>(i) / last;
            distances.push_back(std::min(position, 1.0f - position));
        }
        return distances;
    };
    const std::vector<float> ys = axis(height), xs = axis(width);
    std::vector<float> out;
    out.reserve(ys.size() * xs.size());
    for (const float y : ys) {
        for (const float x : xs) out.push_back(std::clamp(std::min(y, x), 0.01f, 0.5f));
    }
    return out;
}

ImageTensor run_tiled(const ImageTensor & input, const TileGrid & grid, int up, int down, std::optional<Phase> phase,
                      const JobContext & job, const std::function<ImageTensor(const ImageTensor &)> & run) {
    const auto [n, c, h, w] = input.shape;
    Placement at;
    at.height = std::min<int64_t>(grid.tile, h), at.width = std::min<int64_t>(grid.tile, w);
    const int64_t stride = std::max<int64_t>(down, (grid.tile - grid.overlap) / down * down);
    at.ys = tile_starts(h, at.height, stride), at.xs = tile_starts(w, at.width, stride);
    const auto scaled = [&](int64_t pixels) { return pixels * up / down; };

    ImageTensor output;
    int64_t done = 0;
    const int64_t tiles = n * static_cast<int64_t>(at.ys.size() * at.xs.size());
    for (int64_t row = 0; row < n; ++row) {
        std::optional<WeightedSum> sum;
        for (size_t iy = 0; iy < at.ys.size(); ++iy) {
            for (size_t ix = 0; ix < at.xs.size(); ++ix) {
                job.check();
                const ImageTensor tile = run(crop(input, row, at.ys[iy], at.xs[ix], at.height, at.width));
                if (output.data.empty()) {
                    output.shape = {n, tile.shape[1], scaled(h), scaled(w)};
                    output.data.assign(static_cast<size_t>(n * tile.shape[1] * scaled(h) * scaled(w)), 0.0f);
                }
                if (!sum) sum.emplace(output, row);
                sum->add(tile, at.weights(grid.blend, iy, ix, tile.shape[2], tile.shape[3]), scaled(at.ys[iy]),
                         scaled(at.xs[ix]));
                ++done;
                if (phase) job.report(*phase, done, tiles);
            }
        }
        sum->normalise();
    }
    return output;
}

ImageTensor run_exact_tiles(const ImageTensor & input, int tile, int halo, int up, int down, Phase phase, const JobContext & job,
                            const std::function<ImageTensor(const ImageTensor &)> & run) {
    const auto [n, c, h, w] = input.shape;
    // Shifted inside the image, so that all tiles have the same size and use the same graph.
    const auto surroundings = [&](int64_t start, int64_t length) {
        const int64_t size = std::min<int64_t>(tile + 2 * halo, length);
        return std::pair<int64_t, int64_t>{std::clamp<int64_t>(start - halo, 0, length - size), size};
    };
    const auto scaled = [&](int64_t pixels) { return pixels * up / down; };
    ImageTensor output;
    int64_t done = 0;
    const int64_t tiles = n * ((h + tile - 1) / tile) * ((w + tile - 1) / tile);
    for (int64_t row = 0; row < n; ++row) {
        for (int64_t y = 0; y < h; y += tile) {
            for (int64_t x = 0; x < w; x += tile) {
                job.check();
                const auto [y0, height] = surroundings(y, h);
                const auto [x0, width] = surroundings(x, w);
                const ImageTensor made = run(crop(input, row, y0, x0, height, width));
                const int64_t channels = made.shape[1], rows = scaled(std::min<int64_t>(tile, h - y)),
                              columns = scaled(std::min<int64_t>(tile, w - x));
                if (output.data.empty()) {
                    output.shape = {n, channels, scaled(h), scaled(w)};
                    output.data.resize(elements(output.shape));
                }
                for (int64_t channel = 0; channel < channels; ++channel) {
                    for (int64_t i = 0; i < rows; ++i) {
                        const float * source =
                            made.data.data() + (channel * made.shape[2] + scaled(y - y0) + i) * made.shape[3] + scaled(x - x0);
                        float * target =
                            output.data.data() + ((row * channels + channel) * scaled(h) + scaled(y) + i) * scaled(w) + scaled(x);
                        std::copy_n(source, columns, target);
                    }
                }
                job.report(phase, ++done, tiles);
            }
        }
    }
    return output;
}

}  // namespace latent::pipeline
