#pragma once

#include <cstdint>
#include <vector>

#include "models/network.h"

namespace latent::models {

/// Vectors that replace the embeddings of some tokens of a window (textual inversion): [count, dim].
struct TokenRun {
    int64_t first = 0, count = 0;
    Span<const float> values;
};
using TokenRuns = std::vector<TokenRun>;  // ascending, not overlapping

/// A network that turns integer tokens into cross-attention tokens: CLIP text, BERTEmbedder (prompts and layouts), ClassEmbedder.
class TokenEncoder : public Network {
public:
    virtual ~TokenEncoder() = default;

    virtual int64_t max_length() const = 0;  // tokens per window: 77, 92 (layout), 1 (class)
    virtual int64_t dim() const = 0;         // width of the context
    virtual int64_t vocabulary() const = 0;  // ids are less than this

    /// ids [batch, length] -> context [batch, length, dim()]. `clip_skip` is only for CLIP; others take 0. Throws
    /// invalid_argument for an id outside the vocabulary, a window that is too long, or an unsupported skip.
    virtual void forward(Span<const int32_t> ids, int64_t batch, int64_t length, int clip_skip, Span<float> context,
                         const JobContext & job) = 0;
    /// One window with vectors. Throws unsupported_model if the encoder does not support them.
    virtual void forward_with(const TokenRuns & runs, Span<const int32_t> ids, int clip_skip, Span<float> context,
                              const JobContext & job);

    /// Memory and work of one call; weights are planned, not loaded.
    virtual graph::GraphMeasure measure(int64_t batch, int64_t length) const = 0;

protected:
    TokenEncoder(graph::DevicePtr device, ModelPart part) : Network(std::move(device), part, true) {}

    /// Checks the arguments of forward().
    void check(Span<const int32_t> ids, int64_t batch, int64_t length, size_t context) const;
};

}  // namespace latent::models
