#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "models/network.h"

namespace latent::models {

/// Sizes of one call. `tokens`: context length, 0 without cross-attention.
struct DenoisingShape {
    int64_t batch = 1;
    int64_t height = 64, width = 64;  // latent pixels, multiples of DenoisingForm::size_multiple
    int64_t tokens = 77;
};

/// The inner levels' output of an earlier call, for calls that skip them (DeepCache, arXiv 2312.00858): the input of the output
/// block that takes the skip connection of input block `branch`. Blocks outside it are always computed.
struct DenoisingFeatures {
    int branch = 0;        // 0 (only the outermost block is computed) to DenoisingNetwork::deepest_branch()
    DenoisingShape shape;  // shape of the call that computed them
    std::shared_ptr<const graph::SavedOutput> data;  // [batch, pixels, channels], on the device; null: the next call fills it

    bool holds(const DenoisingShape & call) const {
        return data && shape.batch == call.batch && shape.height == call.height && shape.width == call.width;
    }
};

/// One call's data, row-major float32. Spans that the network does not read stay empty.
struct DenoisingInput {
    DenoisingShape shape;
    Span<const float> x;           // [batch, in_channels, height, width], including concatenated conditioning
    Span<const double> timesteps;  // 1 or batch entries, may be fractional
    Span<const float> context;     // [batch, tokens, context_dim], or [tokens, context_dim] for every row
    Span<const int32_t> classes;   // 1 or batch entries
    Span<const float> vector;      // [batch, vector_dim] or [vector_dim]
    Span<const double> guidance;   // 1 or batch entries, the guidance weight w = scale - 1
    DenoisingFeatures * features = nullptr;
};

/// Sizes of a denoising network's inputs and outputs.
struct DenoisingForm {
    int in_channels = 4;    // including concatenated conditioning
    int out_channels = 4;   // channels of the latents
    int context_dim = 0;    // width of the cross-attention tokens, 0: none
    int class_count = 0;    // rows of the class table, 0: none
    int vector_dim = 0;     // 0: none
    bool guidance = false;  // takes the guidance scale as an input (latent consistency models), so guidance needs one evaluation
    int size_multiple = 1;  // the latents' sides must be multiples of this
    int downsampling = 1;   // factor between the latents and the innermost level
};

/// A network that predicts from noisy latents, a timestep and conditioning: noise, velocity or the clean latents.
class DenoisingNetwork : public Network {
public:
    virtual ~DenoisingNetwork() = default;

    virtual DenoisingForm form() const = 0;

    /// Writes [batch, out_channels, height, width] to `out`. Throws invalid_argument for sizes that do not fit the network,
    /// aborted if `job` is cancelled (within one layer), out_of_memory.
    virtual void forward(const DenoisingInput & input, Span<float> out, const JobContext & job) = 0;

    /// Memory and work of one call; weights are planned, not loaded. With `branch`: the memory of calls that compute or use
    /// features, without the features themselves (feature_bytes), and the work of calls that compute them.
    virtual graph::GraphMeasure measure(const DenoisingShape & shape, std::optional<int> branch = std::nullopt) const = 0;

    /// Bytes of the features of a branch.
    virtual uint64_t feature_bytes(const DenoisingShape & shape, int branch) const = 0;
    /// The largest `branch` of features.
    virtual int deepest_branch() const = 0;

protected:
    using Network::Network;
};

}  // namespace latent::models
