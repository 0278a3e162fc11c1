#pragma once

#include <string>

#include "core/conditioner_params.h"
#include "models/token_encoder.h"
#include "networks/encoders.h"

namespace latent::models {

/// ClassEmbedder of ldm/modules/encoders/modules.py: a row of a table per class, one token.
class ClassEmbedder : public TokenEncoder {
public:
    /// Declares the table "<prefix>embedding.weight".
    ClassEmbedder(const ClassConfig & config, graph::DevicePtr device, const std::string & prefix = cond_prefix);

    const ClassConfig & config() const { return config_; }
    int64_t max_length() const override { return 1; }
    int64_t dim() const override { return config_.embed_dim; }
    int64_t vocabulary() const override { return config_.classes; }

    /// ids [batch, 1] are class numbers.
    void forward(Span<const int32_t> ids, int64_t batch, int64_t length, int clip_skip, Span<float> context,
                 const JobContext & job) override;
    graph::GraphMeasure measure(int64_t batch, int64_t length) const override;

private:
    void build(graph::Ops & ops, int64_t batch) const;

    ClassConfig config_;
    graph::Embedding table_;
};

}  // namespace latent::models
