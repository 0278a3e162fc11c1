#include "pipeline/conditioners/depth_conditioner.h"

#include <algorithm>
#include <cmath>

#include "pipeline/messages.h"

namespace latent::pipeline {
namespace {

/// Four neighbours of a position and their weights.
struct CubicTaps {
    int64_t at[4];
    double weights[4];
};

/// Keys' cubic convolution. `from` numbers cover `covered` of the `to` results; results beyond repeat the border.
std::vector<CubicTaps> cubic_taps(int64_t from, int64_t to, double covered) {
    constexpr double a = -0.75;
    const auto near = [](double t) { return ((a + 2) * t - (a + 3)) * t * t + 1; };
    const auto far = [](double t) { return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a; };
    std::vector<CubicTaps> taps(static_cast<size_t>(to));
    for (int64_t i = 0; i < to; ++i) {
        const double position = (static_cast<double>(i) + 0.5) * static_cast<double>(from) / covered - 0.5;
        const double first = std::floor(position), t = position - first;
        CubicTaps & tap = taps[static_cast<size_t>(i)];
        const double weights[] = {far(t + 1), near(t), near(1 - t), far(2 - t)};
        for (int k = 0; k < 4; ++k) {
            tap.at[k] = std::clamp(static_cast<int64_t>(first) - 1 + k, int64_t{0}, from - 1);
            tap.weights[k] = weights[k];
        }
    }
    return taps;
}

}  // namespace

Latents depth_channel(const ImageTensor & depth, const Frame & frame, int64_t downsampling) {
    const auto [n, c, h, w] = depth.shape;
    const int64_t height = frame.padded_height / downsampling, width = frame.padded_width / downsampling;
    const auto covered = [&](int64_t pixels) { return static_cast<double>(pixels) / static_cast<double>(downsampling); };
    const std::vector<CubicTaps> rows = cubic_taps(h, height, covered(frame.height));
    const std::vector<CubicTaps> columns = cubic_taps(w, width, covered(frame.width));
    Latents out{{n, 1, height, width}, std::vector<float>(static_cast<size_t>(n * height * width))};
    std::vector<double> resized(static_cast<size_t>(height * width));
    float * target = out.data.data();
    for (int64_t map = 0; map < n; ++map) {
        const float * source = depth.data.data() + map * c * h * w;
        double * value = resized.data();
        for (const CubicTaps & row : rows) {
            for (const CubicTaps & column : columns) {
                double sum = 0;
                for (int j = 0; j < 4; ++j) {
                    const float * line = source + row.at[j] * w;
                    double across = 0;
                    for (int i = 0; i < 4; ++i) across += column.weights[i] * static_cast<double>(line[column.at[i]]);
                    sum += row.weights[j] * across;
                }
                *value++ = sum;
            }
        }
        const auto [least, greatest] = std::minmax_element(resized.begin(), resized.end());
        const double low = *least, range = *greatest - low;
        const bool flat = range <= 1e-10 * std::max(std::fabs(low), std::fabs(*greatest));  // what resizing rounded is no depth
        for (const double each : resized) *target++ = flat ? -1.0f : static_cast<float>(2 * ((each - low) / range) - 1);
    }
    return out;
}

ConditioningForm DepthConditioner::form() const {
    ConditioningForm form;
    form.channels = 1;
    return form;
}

void DepthConditioner::check(const Inputs & inputs, int64_t pictures) const {
    check_image(*inputs.depth, "depth", 1, pictures);
    if (!all_finite(inputs.depth->data)) refuse("depth: a number of the depth map is not finite");
}

void DepthConditioner::encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) {
    Frame frame = context.frame;
    if (inputs.depth_area) {
        frame.width = std::min((*inputs.depth_area)[0], frame.padded_width);
        frame.height = std::min((*inputs.depth_area)[1], frame.padded_height);
    }
    out.concat = depth_channel(*inputs.depth, frame, downsampling_);
}

}  // namespace latent::pipeline
