#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/model_spec.h"
#include "models/codebook.h"
#include "models/network.h"

namespace latent::models {

class BandedStage;
struct StageLayers;

/// The first stage: AutoencoderKL and VQModelInterface of ldm/models/autoencoder.py with Encoder and Decoder of
/// diffusionmodules/model.py.
class Autoencoder : public Network {
public:
    /// Declares its parameters under `prefix` ("first_stage_model."; "" for a file of its own). Throws
    /// model_format when the configuration is not a network.
    Autoencoder(const AutoencoderConfig & config, graph::DevicePtr device, const std::string & prefix = "first_stage_model.");
    ~Autoencoder();

    const AutoencoderConfig & config() const { return config_; }

    /// Channels that encode() gives: means and log variances of a KL stage, the vectors before quantisation of a VQ stage.
    int64_t encoded_channels() const { return (is_vq() ? 1 : 2) * int64_t{config_.embed_dim}; }
    bool is_vq() const { return config_.kind == "vq"; }

    /// image [batch, in_channels, height, width] -> moments [batch, encoded_channels(), height / f, width / f]; log variances
    /// are clamped to [-30, 20]. Sides must be multiples of f = config.downsampling().
    void encode(Span<const float> image, int64_t batch, int64_t height, int64_t width, Span<float> moments,
                const JobContext & job);
    /// latents [batch, embed_dim, height, width] (already divided by the scale factor) -> image [batch, out_channels, height * f,
    /// width * f], not clamped. `quantise`: a VQ stage replaces every vector by its code first, as VQModelInterface does unless
    /// force_not_quantize is given; a KL stage has nothing to quantise.
    void decode(Span<const float> latents, int64_t batch, int64_t height, int64_t width, Span<float> image,
                const JobContext & job, bool quantise = true);

    /// encode() and decode() of one picture, layer by layer in bands of rows: the same numbers up to 16-bit maps (float32 ones
    /// where exact), in a fraction of the memory (BandedStage).
    void encode_banded(Span<const float> image, int64_t height, int64_t width, Span<float> moments, const JobContext & job);
    void decode_banded(Span<const float> latents, int64_t height, int64_t width, Span<float> image, const JobContext & job,
                       bool quantise = true);

    /// VQ stages only (others throw invalid_argument). z [batch, embed_dim, height, width], as encode() gives it -> the nearest
    /// codes [batch, height, width], and their vectors in the shape of z unless `quantised` is empty.
    void quantise(Span<const float> z, int64_t batch, int64_t height, int64_t width, Span<int32_t> codes, Span<float> quantised,
                  const JobContext & job);
    /// codes [batch, height, width] -> their vectors [batch, embed_dim, height, width].
    void lookup(Span<const int32_t> codes, int64_t batch, int64_t height, int64_t width, Span<float> z);

    /// Memory and work; weights planned, not loaded. Sides as in encode (pixels) and decode (latent pixels).
    graph::GraphMeasure measure_encode(int64_t batch, int64_t height, int64_t width) const;
    graph::GraphMeasure measure_decode(int64_t batch, int64_t height, int64_t width) const;
    uint64_t measure_encode_banded(int64_t height, int64_t width) const;  // bytes
    uint64_t measure_decode_banded(int64_t height, int64_t width) const;

private:
    void check(int64_t batch, int64_t height, int64_t width, int64_t multiple) const;
    void build_encode(graph::Ops & ops, int64_t batch, int64_t height, int64_t width) const;
    void build_decode(graph::Ops & ops, int64_t batch, int64_t height, int64_t width) const;
    std::vector<float> nearest_vectors(Span<const float> latents, int64_t batch, int64_t height, int64_t width,
                                       const JobContext & job);
    DType banded_type() const;
    void run_banded(const std::function<void(BandedStage &)> & work);
    uint64_t measure_banded(const std::function<uint64_t(BandedStage &)> & measure) const;
    void require_encode_sizes(Span<const float> image, int64_t batch, int64_t height, int64_t width, Span<float> moments) const;
    void clamp_logvar(Span<float> moments, int64_t batch) const;
    const Codebook & codebook();

    AutoencoderConfig config_;
    std::unique_ptr<StageLayers> layers_;
    std::unique_ptr<Codebook> codebook_;  // of the weights of codebook_generation_
    uint64_t codebook_generation_ = 0;
};

}  // namespace latent::models
