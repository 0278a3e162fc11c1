#pragma once

#include <string>

#include "core/model_spec.h"
#include "models/first_stage.h"
#include "networks/tiny_stage.h"

namespace latent::models {

/// The tiny autoencoder of madebyollin/taesd. Its latents are those of the denoising network, including the scale factor, and it
/// has no posterior. One image pixel depends on few latent pixels, so tiles with a margin are exact.
class TinyAutoencoder final : public FirstStage {
public:
    /// Declares its parameters under `prefix`. Throws model_format if the configuration cannot form a network.
    TinyAutoencoder(const AutoencoderConfig & config, graph::DevicePtr device, const std::string & prefix = stage_prefix);

    FirstStageForm form() const override;

    /// Throws unsupported_model if there is only a decoder.
    void encode(Span<const float> image, int64_t batch, int64_t height, int64_t width, Span<float> latents,
                const JobContext & job) override;
    void decode(Span<const float> latents, int64_t batch, int64_t height, int64_t width, Span<float> image,
                const JobContext & job, bool quantise = true) override;
    graph::GraphMeasure measure_encode(int64_t batch, int64_t height, int64_t width) const override;
    graph::GraphMeasure measure_decode(int64_t batch, int64_t height, int64_t width) const override;

private:
    void require_encoder() const;
    void build_encode(graph::Ops & ops, int64_t batch, int64_t height, int64_t width) const;
    void build_decode(graph::Ops & ops, int64_t batch, int64_t height, int64_t width) const;

    AutoencoderConfig config_;
    networks::TinyLayers layers_;
};

}  // namespace latent::models
