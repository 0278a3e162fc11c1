#include "pipeline/sampling/variation.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"

namespace latent::pipeline {
namespace {

/// Above this mean cosine the web UI interpolates linearly, because the two are nearly the same.
constexpr double same_direction = 0.9995;

/// The cosine of the angle between the two columns at each place of a row; values outside -1..1 are rounding errors.
std::vector<double> cosines_of(const float * low, const float * high, int64_t height, int64_t width) {
    const size_t w = static_cast<size_t>(width);
    std::vector<double> dot(w), low_norm(w), high_norm(w);
    for (int64_t y = 0; y < height; ++y) {
        for (size_t x = 0; x < w; ++x) {
            const double a = low[static_cast<size_t>(y) * w + x], b = high[static_cast<size_t>(y) * w + x];
            dot[x] += a * b, low_norm[x] += a * a, high_norm[x] += b * b;
        }
    }
    for (size_t x = 0; x < w; ++x) {
        const double norms = std::sqrt(low_norm[x]) * std::sqrt(high_norm[x]);
        dot[x] = norms > 0 ? std::clamp(dot[x] / norms, -1.0, 1.0) : 1.0;
    }
    return dot;
}

/// Shares of both columns. Parallel columns have no plane to turn in; theirs is the straight line.
std::pair<double, double> shares_of(double cosine, double strength) {
    const double angle = std::acos(cosine), sine = std::sin(angle);
    if (sine < 1e-6) return {1 - strength, strength};
    return {std::sin((1 - strength) * angle) / sine, std::sin(strength * angle) / sine};
}

}  // namespace

void vary_noise(Latents & noise, const Latents & other, double strength) {
    if (noise.shape != other.shape) throw Error(ErrorCode::invalid_argument, "variation: the noises differ in shape");
    const auto [n, channels, height, width] = noise.shape;
    const size_t w = static_cast<size_t>(width), plane = static_cast<size_t>(height) * w, c = static_cast<size_t>(channels);
    for (size_t image = 0; image < static_cast<size_t>(n); ++image) {
        std::vector<double> cosines;
        for (size_t channel = 0; channel < c; ++channel) {
            const size_t at = (image * c + channel) * plane;
            const std::vector<double> own = cosines_of(noise.data.data() + at, other.data.data() + at, height, width);
            cosines.insert(cosines.end(), own.begin(), own.end());
        }
        double mean = 0;
        for (const double cosine : cosines) mean += cosine / static_cast<double>(cosines.size());
        for (size_t channel = 0; channel < c; ++channel) {
            for (size_t x = 0; x < w; ++x) {
                const double cosine = mean > same_direction ? 1.0 : cosines[channel * w + x];
                const auto [keep, take] = shares_of(cosine, strength);
                for (size_t at = (image * c + channel) * plane + x, end = at + plane; at < end; at += w) {
                    noise.data[at] = static_cast<float>(keep * noise.data[at] + take * other.data[at]);
                }
            }
        }
    }
}

}  // namespace latent::pipeline
