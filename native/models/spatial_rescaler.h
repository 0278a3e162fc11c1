#pragma once

#include <string>

#include "core/conditioner_params.h"
#include "models/network.h"
#include "networks/encoders.h"

namespace latent::models {

/// SpatialRescaler of ldm/modules/encoders/modules.py over a one-hot label map: bilinear downsampling by 2, which is an exact 2x2
/// mean, then a 1x1 convolution.
class SpatialRescaler : public Network {
public:
    /// Declares "<prefix>channel_mapper".
    SpatialRescaler(const RescalerConfig & config, graph::DevicePtr device, const std::string & prefix = cond_prefix);

    const RescalerConfig & config() const { return config_; }
    int64_t factor() const { return int64_t{1} << config_.stages; }

    /// labels [height, width], each below config().classes -> out [1, out_channels, height / factor(), width / factor()]. Throws
    /// invalid_argument for sides that are not multiples of factor() and for unknown labels.
    void forward(Span<const int32_t> labels, int64_t height, int64_t width, Span<float> out, const JobContext & job);

    /// Memory and work for a map of this size, including the pooled map on the host; weights are planned, not loaded.
    graph::GraphMeasure measure(int64_t height, int64_t width) const;

private:
    void check(int64_t height, int64_t width) const;
    void build(graph::Ops & ops, int64_t height, int64_t width) const;
    std::vector<float> pooled(Span<const int32_t> labels, int64_t height, int64_t width) const;

    RescalerConfig config_;
    graph::Conv mapper_;
};

}  // namespace latent::models
