#pragma once

#include <cstdint>
#include <vector>

#include "models/network.h"

namespace latent::models {

/// Vectors in the place of the embeddings of some tokens of a window (textual inversion): [count, dim].
struct TokenRun {
    int64_t first = 0, count = 0;
    Span<const float> values;
};
using TokenRuns = std::vector<TokenRun>;  // ascending, not overlapping

/// What makes cross-attention tokens of integer tokens: CLIP text, BERTEmbedder (prompts and layouts), ClassEmbedder.
class TokenEncoder : public Network {
public:
    virtual ~TokenEncoder() = default;

    virtual int64_t max_length() const = 0;  // tokens of a window: 77, 92 (layout), 1 (class)
    virtual int64_t dim() const = 0;         // width of the context
    virtual int64_t vocabulary() const = 0;  // every id is below

    /// ids [batch, length] -> context [batch, length, dim()]. `clip_skip` counts for CLIP alone; the others take 0. Throws
    /// invalid_argument for an id outside the vocabulary, a window too long, or a skip that the network does not have.
    virtual void forward(Span<const int32_t> ids, int64_t batch, int64_t length, int clip_skip, Span<float> context,
                         const JobContext & job) = 0;
    /// One window with vectors in it. Throws unsupported_model if the encoder takes none.
    virtual void forward_with(const TokenRuns & runs, Span<const int32_t> ids, int clip_skip, Span<float> context,
                              const JobContext & job);

    /// Memory and work of one call; weights planned, not loaded.
    virtual graph::GraphMeasure measure(int64_t batch, int64_t length) const = 0;

protected:
    TokenEncoder(graph::DevicePtr device, ModelPart part) : Network(std::move(device), part, true) {}

    /// What forward() may be given.
    void check(Span<const int32_t> ids, int64_t batch, int64_t length, size_t context) const;
};

}  // namespace latent::models
