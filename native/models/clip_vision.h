#pragma once

#include <string>

#include "core/conditioner_params.h"
#include "models/network.h"
#include "networks/encoders.h"

namespace latent::models {

/// The CLIP image tower: transformers CLIPVisionModelWithProjection, OpenAI's VisionTransformer.
class ClipVision : public Network {
public:
    /// Declares its parameters under `prefix`, which ends before "embeddings.class_embedding"; "visual_projection" is next to the
    /// tower. Throws model_format if the configuration cannot form a network.
    ClipVision(const ClipVisionConfig & config, graph::DevicePtr device,
               const std::string & prefix = "image_encoder.vision_model.");

    const ClipVisionConfig & config() const { return config_; }
    int64_t tokens() const { return config_.patches() + 1; }

    /// pixels [batch, num_channels, image_size, image_size], normalised with CLIP's mean and deviation -> embeds [batch,
    /// projection_dim], not normalised (transformers' image_embeds).
    void forward(Span<const float> pixels, int64_t batch, Span<float> embeds, const JobContext & job);

    /// The tokens after `layers` layers, [batch, tokens(), hidden_size], without the last norm: hidden_states[layers] of
    /// transformers. Throws invalid_argument for a count that the tower does not have.
    void hidden(Span<const float> pixels, int64_t batch, int layers, Span<float> states, const JobContext & job);

    /// Memory and work of one forward(); weights planned, not loaded.
    graph::GraphMeasure measure(int64_t batch) const;

private:
    void build(graph::Ops & ops, int64_t batch, int layers) const;

    ClipVisionConfig config_;
    networks::ClipVisionLayers layers_;
};

}  // namespace latent::models
