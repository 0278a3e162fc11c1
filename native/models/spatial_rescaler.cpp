#include "models/spatial_rescaler.h"

#include <vector>

namespace latent::models {

using graph::Ops;

namespace {

constexpr int64_t max_label_side = 1 << 15;  // labels

}  // namespace

SpatialRescaler::SpatialRescaler(const RescalerConfig & config, graph::DevicePtr device, const std::string & prefix)
    : Network(device, ModelPart::conditioner),
      config_(rescaler_config(to_json(config))),
      mapper_(networks::declare_rescaler(config, weights_.declared(), prefix)) {}

void SpatialRescaler::build(Ops & ops, int64_t height, int64_t width) const {
    ops.output("out", ops.conv(ops.input_map("labels", width / factor(), height / factor(), config_.classes, 1), mapper_, {}));
}

void SpatialRescaler::check(int64_t height, int64_t width) const {
    for (const int64_t side : {height, width}) {
        if (side >= factor() && side <= max_label_side && side % factor() == 0) continue;
        throw Error(ErrorCode::invalid_argument, "A label map of " + std::to_string(width) + "x" + std::to_string(height) +
                                                     " does not fit: each side must be a multiple of " +
                                                     std::to_string(factor()) + ", up to " + std::to_string(max_label_side));
    }
}

/// The one-hot map downsampled `stages` times: the share of every class in every cell, [classes, height / f, width / f].
std::vector<float> SpatialRescaler::pooled(Span<const int32_t> labels, int64_t height, int64_t width) const {
    const int64_t f = factor(), columns = width / f, plane = height / f * columns;
    std::vector<float> shares(static_cast<size_t>(config_.classes * plane), 0.0f);
    const float share = 1.0f / static_cast<float>(f * f);  // a power of two, so sums are exact
    for (int64_t y = 0; y < height; ++y) {
        for (int64_t x = 0; x < width; ++x) {
            const int32_t label = labels[static_cast<size_t>(y * width + x)];
            if (label < 0 || label >= config_.classes) {
                throw Error(ErrorCode::invalid_argument, "Label " + std::to_string(label) + " of the label map is outside 0.." +
                                                             std::to_string(config_.classes - 1));
            }
            shares[static_cast<size_t>(label * plane + y / f * columns + x / f)] += share;
        }
    }
    return shares;
}

void SpatialRescaler::forward(Span<const int32_t> labels, int64_t height, int64_t width, Span<float> out,
                              const JobContext & job) {
    check(height, width);
    require_loaded();
    require_size(labels.size(), height * width, "label map");
    require_size(out.size(), config_.out_channels * (height / factor()) * (width / factor()), "output");
    const std::string key = std::to_string(width) + "x" + std::to_string(height);
    graph::Graph & graph = runner_.prepare(key, [&](Ops & ops) { build(ops, height, width); });
    graph.set_input("labels", Span<const float>(pooled(labels, height, width)));
    graph.compute(*job.cancel);
    graph.get_output("out", out);
}

graph::GraphMeasure SpatialRescaler::measure(int64_t height, int64_t width) const {
    check(height, width);
    graph::GraphMeasure measured = runner_.measure([&](Ops & ops) { build(ops, height, width); });
    measured.bytes += sizeof(float) * static_cast<uint64_t>(config_.classes) * (height / factor()) * (width / factor());
    return measured;
}

}  // namespace latent::models
