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

/// What the inner levels made of an earlier call, for one that leaves them out (DeepCache, arXiv 2312.00858): the map that enters
/// the output block which takes the skip connection of input block `branch`. Blocks further out are always computed.
struct DenoisingFeatures {
    int branch = 0;        // 0 (only the outermost block is computed) to DenoisingNetwork::deepest_branch()
    DenoisingShape shape;  // of the call that made them
    std::shared_ptr<const graph::SavedOutput> data;  // [batch, pixels, channels], on the device; null: the next call fills it

    bool holds(const DenoisingShape & call) const {
        return data && shape.batch == call.batch && shape.height == call.height && shape.width == call.width;
    }
};

/// One call's data, row-major float32. Spans that the network does not read stay empty.
struct DenoisingInput {
    DenoisingShape shape;
    Span<const float> x;           // [batch, in_channels, height, width], concatenated conditioning included
    Span<const double> timesteps;  // 1 or batch entries, fractions allowed
    Span<const float> context;     // [batch, tokens, context_dim], or [tokens, context_dim] for every row
    Span<const int32_t> classes;   // 1 or batch entries
    Span<const float> vector;      // [batch, vector_dim] or [vector_dim]
    Span<const double> guidance;   // 1 or batch entries, the guidance weight w = scale - 1
    DenoisingFeatures * features = nullptr;
};

/// What a denoising network reads and gives, in numbers.
struct DenoisingForm {
    int in_channels = 4;    // concatenated conditioning included
    int out_channels = 4;   // those of the latents
    int context_dim = 0;    // width of the tokens of cross-attention, 0: it reads none
    int class_count = 0;    // rows of its table of classes, 0: none
    int vector_dim = 0;     // 0: it reads no vector
    bool guidance = false;  // it reads the guidance scale (latent consistency models): one evaluation does for guidance
    int size_multiple = 1;  // of the sides of the latents
    int downsampling = 1;   // of the latents, within the network
};

/// A network that predicts from noisy latents, a timestep and conditioning: noise, velocity or the clean latents.
class DenoisingNetwork : public Network {
public:
    virtual ~DenoisingNetwork() = default;

    virtual DenoisingForm form() const = 0;

    /// Writes [batch, out_channels, height, width] to `out`. Throws invalid_argument for sizes that do not fit the network,
    /// aborted when `job` is cancelled meanwhile (within one layer), out_of_memory.
    virtual void forward(const DenoisingInput & input, Span<float> out, const JobContext & job) = 0;

    /// Memory and work of one call; weights planned, not loaded. With the `branch` of features the memory of calls that make them
    /// and of calls that use them, the features themselves (feature_bytes) excluded, and the work of the former.
    virtual graph::GraphMeasure measure(const DenoisingShape & shape, std::optional<int> branch = std::nullopt) const = 0;

    /// What the features of a branch take.
    virtual uint64_t feature_bytes(const DenoisingShape & shape, int branch) const = 0;
    /// The largest `branch` of features.
    virtual int deepest_branch() const = 0;

protected:
    using Network::Network;
};

}  // namespace latent::models
