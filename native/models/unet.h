#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/model_spec.h"
#include "models/network.h"

namespace latent::models {

/// Sizes of one U-Net call. `tokens`: context length, 0 without cross-attention.
struct UNetShape {
    int64_t batch = 1;
    int64_t height = 64, width = 64;  // latent pixels, multiples of config.size_multiple()
    int64_t tokens = 77;
};

/// What the inner levels made of an earlier call, for one that leaves them out (DeepCache, arXiv 2312.00858): the map that enters
/// the output block which takes the skip connection of input block `branch`. Blocks further out are always computed.
struct UNetFeatures {
    int branch = 0;           // 0 (only the outermost block is computed) to UNet::deepest_branch()
    UNetShape shape;          // of the call that made them
    std::vector<float> data;  // [batch, pixels, channels]; empty: the next call computes everything and fills this

    bool holds(const UNetShape & call) const {
        return !data.empty() && shape.batch == call.batch && shape.height == call.height && shape.width == call.width;
    }
};

/// One call's data, row-major float32. Spans that the configuration does not use stay empty.
struct UNetInput {
    UNetShape shape;
    Span<const float> x;           // [batch, in_channels, height, width], concatenated conditioning included
    Span<const double> timesteps;  // 1 or batch entries, fractions allowed
    Span<const float> context;     // [batch, tokens, context_dim], or [tokens, context_dim] for every row
    Span<const int32_t> classes;   // class_embedding "embedding": 1 or batch entries
    Span<const float> vector;      // class_embedding "vector": [batch, vector_dim] or [vector_dim]
    Span<const double> guidance;   // guidance_embed_dim: 1 or batch entries, the guidance weight w = scale - 1
    UNetFeatures * features = nullptr;
};

/// The U-Net of latent diffusion and its descendants: openaimodel.UNetModel, with the guidance embedding
/// of latent consistency models. Every system is a configuration.
class UNet : public Network {
public:
    /// Declares its parameters under `prefix` ("model.diffusion_model."). Throws model_format when the configuration is not a
    /// network.
    UNet(const UNetConfig & config, graph::DevicePtr device, const std::string & prefix = "model.diffusion_model.");
    ~UNet();

    const UNetConfig & config() const { return config_; }

    /// Writes [batch, out_channels, height, width] to `out`. Throws invalid_argument for sizes that do not fit the network,
    /// aborted when `job` is cancelled meanwhile (within one layer), out_of_memory.
    void forward(const UNetInput & input, Span<float> out, const JobContext & job);

    /// Memory and work of one call; weights planned, not loaded. With the `branch` of features the memory of calls that make them
    /// and of calls that use them, the features themselves (feature_bytes) excluded, and the work of the former.
    graph::GraphMeasure measure(const UNetShape & shape, std::optional<int> branch = std::nullopt) const;

    /// What the features of a branch take.
    uint64_t feature_bytes(const UNetShape & shape, int branch) const;

    /// The largest `branch` of features.
    int deepest_branch() const;

private:
    struct Layers;
    struct Pass;
    void check(const UNetShape & shape) const;
    void build(graph::Ops & ops, const UNetShape & shape, const Pass & pass) const;
    void build_context(graph::Ops & ops, const UNetShape & shape) const;
    void set_context(graph::Graph & graph, const UNetShape & shape, Span<const float> rows, const JobContext & job);

    UNetConfig config_;
    std::unique_ptr<Layers> layers_;
    graph::Runner context_runner_;
    std::vector<float> context_;  // the latest one: its keys and values are in graphs with this stamp
    uint64_t context_stamp_ = 0;
};

}  // namespace latent::models
