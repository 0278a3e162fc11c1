#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/model_spec.h"
#include "models/codebook.h"
#include "models/first_stage.h"
#include "networks/first_stage.h"

namespace latent::models {

class BandedStage;

/// The first stage: AutoencoderKL and VQModelInterface of ldm/models/autoencoder.py with Encoder and Decoder of
/// diffusionmodules/model.py.
class Autoencoder : public FirstStage {
public:
    /// Declares its parameters under `prefix` ("first_stage_model."; "" for a separate file). Throws model_format if the
    /// configuration cannot form a network.
    Autoencoder(const AutoencoderConfig & config, graph::DevicePtr device, const std::string & prefix = stage_prefix);
    ~Autoencoder() override;

    const AutoencoderConfig & config() const { return config_; }

    FirstStageForm form() const override;
    /// Number of channels of encode(): means and log variances of a KL stage, the vectors before quantisation of a VQ stage.
    int64_t encoded_channels() const { return (is_vq() ? 1 : 2) * int64_t{config_.embed_dim}; }
    bool is_vq() const { return config_.kind == "vq"; }

    void encode(Span<const float> image, int64_t batch, int64_t height, int64_t width, Span<float> moments,
                const JobContext & job) override;
    void decode(Span<const float> latents, int64_t batch, int64_t height, int64_t width, Span<float> image,
                const JobContext & job, bool quantise = true) override;
    graph::GraphMeasure measure_encode(int64_t batch, int64_t height, int64_t width) const override;
    graph::GraphMeasure measure_decode(int64_t batch, int64_t height, int64_t width) const override;

    /// See BandedStage.
    void encode_banded(Span<const float> image, int64_t height, int64_t width, Span<float> moments,
                       const JobContext & job) override;
    void decode_banded(Span<const float> latents, int64_t height, int64_t width, Span<float> image, const JobContext & job,
                       bool quantise = true) override;
    uint64_t measure_encode_banded(int64_t height, int64_t width) const override;
    uint64_t measure_decode_banded(int64_t height, int64_t width) const override;

    /// Only for VQ stages; others throw invalid_argument.
    void quantise(Span<const float> z, int64_t batch, int64_t height, int64_t width, Span<int32_t> codes, Span<float> quantised,
                  const JobContext & job) override;
    void lookup(Span<const int32_t> codes, int64_t batch, int64_t height, int64_t width, Span<float> z) override;

private:
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
    networks::StageLayers layers_;
    std::unique_ptr<Codebook> codebook_;  // made from the weights of codebook_generation_
    uint64_t codebook_generation_ = 0;
};

}  // namespace latent::models
