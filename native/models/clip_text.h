#pragma once

#include <string>
#include <vector>

#include "core/model_spec.h"
#include "graph/ops.h"
#include "models/token_encoder.h"
#include "networks/encoders.h"

namespace latent::models {

/// The CLIP text tower: transformers' CLIPTextModel and, if the configuration has a projection, CLIPTextModelWithProjection.
class ClipText : public TokenEncoder {
public:
    /// Declares its parameters under `prefix`, which ends before "embeddings.token_embedding.weight"
    /// ("cond_stage_model.transformer.text_model."); the projection is next to the tower. Throws model_format if the
    /// configuration cannot form a network.
    ClipText(const ClipTextConfig & config, graph::DevicePtr device,
             const std::string & prefix = "cond_stage_model.transformer.text_model.");

    const ClipTextConfig & config() const { return config_; }
    int64_t max_length() const override { return config_.max_position_embeddings; }
    int64_t dim() const override { return config_.hidden_size; }
    int64_t vocabulary() const override { return config_.vocab_size; }

    /// ids [batch, length] (length up to max_position_embeddings, normally 77) -> context [batch, length, hidden_size].
    /// `clip_skip` 0: the configuration's skip_layers; n >= 1: the output of layer N - (n - 1), as the web UIs count. The final
    /// norm is applied if the configuration says so. Throws invalid_argument for an id outside the vocabulary or a skip too deep.
    void forward(Span<const int32_t> ids, int64_t batch, int64_t length, int clip_skip, Span<float> context,
                 const JobContext & job) override;
    void forward_with(const TokenRuns & runs, Span<const int32_t> ids, int clip_skip, Span<float> context,
                      const JobContext & job) override;

    /// ids [batch, length] -> projected [batch, projection_dim]: all layers, final norm, the token at the first end of text,
    /// through text_projection; not normalised (transformers' text_embeds). Throws invalid_argument if a window has no end of
    /// text, unsupported_model if the weights have no projection.
    void embed(Span<const int32_t> ids, int64_t batch, int64_t length, Span<float> projected, const JobContext & job);

    /// Both in one pass of the tower: the context of forward(), and the result of embed() (SDXL).
    void forward_pooled(Span<const int32_t> ids, int64_t batch, int64_t length, int clip_skip, Span<float> context,
                        Span<float> projected, const JobContext & job, const TokenRuns & runs = {});

    graph::GraphMeasure measure(int64_t batch, int64_t length) const override;
    graph::GraphMeasure measure_pooled(int64_t batch, int64_t length) const;

private:
    int blocks_to_run(int clip_skip) const;
    void build(graph::Ops & ops, int64_t batch, int64_t length, int blocks, bool norm, bool all,
               const TokenRuns & runs = {}) const;
    graph::Seq tokens(graph::Ops & ops, int64_t batch, int64_t length, const TokenRuns & runs) const;
    static std::string pattern(const TokenRuns & runs);
    void set_tokens(graph::Graph & graph, Span<const int32_t> ids, const TokenRuns & runs) const;
    void check_runs(const TokenRuns & runs, int64_t batch, int64_t length) const;
    void require_projection() const;
    std::vector<int64_t> ends_of(Span<const int32_t> ids, int64_t batch, int64_t length) const;
    void project(const std::vector<float> & hidden, const std::vector<int64_t> & ends, int64_t length, Span<float> projected,
                 const JobContext & job);

    ClipTextConfig config_;
    networks::ClipTextLayers layers_;
};

}  // namespace latent::models
