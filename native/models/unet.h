#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/model_spec.h"
#include "models/denoising_network.h"
#include "networks/unet.h"

namespace latent::models {

struct UNetPass;

/// The U-Net of latent diffusion and its descendants: openaimodel.UNetModel, with the guidance embedding
/// of latent consistency models. Every model is a configuration of it.
class UNet : public DenoisingNetwork {
public:
    /// Declares its parameters under `prefix` ("model.diffusion_model."). Throws model_format if the configuration cannot form a
    /// network.
    UNet(const UNetConfig & config, graph::DevicePtr device, const std::string & prefix = unet_prefix);

    const UNetConfig & config() const { return config_; }

    DenoisingForm form() const override;
    void forward(const DenoisingInput & input, Span<float> out, const JobContext & job) override;
    graph::GraphMeasure measure(const DenoisingShape & shape, std::optional<int> branch = std::nullopt) const override;
    uint64_t feature_bytes(const DenoisingShape & shape, int branch) const override;
    int deepest_branch() const override;
    void on_shortage(const std::function<bool()> & make_room) override;

private:
    void check(const DenoisingShape & shape) const;
    void build(graph::Ops & ops, const DenoisingShape & shape, const UNetPass & pass) const;
    void build_context(graph::Ops & ops, const DenoisingShape & shape) const;
    void set_context(graph::Graph & graph, const DenoisingShape & shape, Span<const float> rows, const JobContext & job);

    UNetConfig config_;
    networks::UNetLayers layers_;
    graph::Runner context_runner_;
    std::vector<float> context_;  // the latest context, whose keys and values are in graphs with this stamp
    uint64_t context_stamp_ = 0;
};

}  // namespace latent::models
