#pragma once

#include <memory>
#include <string>

#include "core/model_spec.h"
#include "models/network.h"

namespace latent::models {

/// The first stage (KL): AutoencoderKL of ldm/models/autoencoder.py with Encoder and Decoder of diffusionmodules/model.py
/// (ldm-systems section 4).
class Autoencoder : public Network {
public:
    /// Declares its parameters under `prefix` ("first_stage_model."; "" for a file of its own). Throws unsupported_model for
    /// kinds that are not built yet, model_format when the configuration is not a network.
    Autoencoder(const AutoencoderConfig & config, graph::DevicePtr device, const std::string & prefix = "first_stage_model.");
    ~Autoencoder();

    const AutoencoderConfig & config() const { return config_; }

    /// image [batch, in_channels, height, width] -> moments [batch, 2 * embed_dim, height / f, width / f]: means, then log
    /// variances clamped to [-30, 20]. Sides must be multiples of f = config.downsampling().
    void encode(Span<const float> image, int64_t batch, int64_t height, int64_t width, Span<float> moments,
                const JobContext & job);
    /// latents [batch, embed_dim, height, width] (already divided by the scale factor) -> image [batch, out_channels, height * f,
    /// width * f], not clamped.
    void decode(Span<const float> latents, int64_t batch, int64_t height, int64_t width, Span<float> image,
                const JobContext & job);

    /// Memory and work; weights planned, not loaded. Sides as in encode (pixels) and decode (latent pixels).
    graph::GraphMeasure measure_encode(int64_t batch, int64_t height, int64_t width) const;
    graph::GraphMeasure measure_decode(int64_t batch, int64_t height, int64_t width) const;

private:
    struct Layers;
    void check(int64_t batch, int64_t height, int64_t width, int64_t multiple) const;
    void build_encode(graph::Ops & ops, int64_t batch, int64_t height, int64_t width) const;
    void build_decode(graph::Ops & ops, int64_t batch, int64_t height, int64_t width) const;

    AutoencoderConfig config_;
    std::unique_ptr<Layers> layers_;
};

}  // namespace latent::models
