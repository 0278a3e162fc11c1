#pragma once

#include "models/network.h"

namespace latent::models {

/// Properties of a first stage.
struct FirstStageForm {
    int in_channels = 3, out_channels = 3;  // of images
    int latent_channels = 4;
    int downsampling = 8;
    bool spread = true;     // encode() returns means and log variances, twice the channels of the latents
    int codebook_size = 0;  // number of codes of a VQ stage; 0: latents are continuous
    bool bands = false;     // supports the banded forms of encode() and decode()
    bool encodes = true;    // false: only a decoder
    int halo = 0;           // margin in latent pixels that makes tiles exact; 0: tiles are not exact

    int encoded_channels() const { return (spread ? 2 : 1) * latent_channels; }
};

/// Images to latents and back. Latents are the autoencoder's own, without the scale factor.
class FirstStage : public Network {
public:
    virtual ~FirstStage() = default;

    virtual FirstStageForm form() const = 0;

    /// image [batch, in_channels, height, width] -> [batch, encoded_channels, height / f, width / f]: means and log variances
    /// (clamped to [-30, 20]), or latents, not rounded to codes. Sides must be multiples of f = downsampling.
    virtual void encode(Span<const float> image, int64_t batch, int64_t height, int64_t width, Span<float> encoded,
                        const JobContext & job) = 0;
    /// latents [batch, latent_channels, height, width] -> image [batch, out_channels, height * f, width * f], not clamped.
    /// `quantise`: a VQ stage replaces every vector by its code first, as VQModelInterface does without force_not_quantize; other
    /// stages ignore it.
    virtual void decode(Span<const float> latents, int64_t batch, int64_t height, int64_t width, Span<float> image,
                        const JobContext & job, bool quantise = true) = 0;

    /// Memory and work; weights are planned, not loaded. Sides as in encode (pixels) and decode (latent pixels).
    virtual graph::GraphMeasure measure_encode(int64_t batch, int64_t height, int64_t width) const = 0;
    virtual graph::GraphMeasure measure_decode(int64_t batch, int64_t height, int64_t width) const = 0;

    // If form().bands: one image, layer by layer in bands of rows, in a fraction of the memory. The result is the same up to the
    // rounding of 16-bit maps (float32 maps if exact).
    virtual void encode_banded(Span<const float> image, int64_t height, int64_t width, Span<float> encoded,
                               const JobContext & job);
    virtual void decode_banded(Span<const float> latents, int64_t height, int64_t width, Span<float> image,
                               const JobContext & job, bool quantise = true);
    virtual uint64_t measure_encode_banded(int64_t height, int64_t width) const;  // bytes
    virtual uint64_t measure_decode_banded(int64_t height, int64_t width) const;

    // For stages with a codebook. z [batch, latent_channels, height, width] from encode() -> the nearest codes [batch, height,
    // width], and their vectors in the shape of z unless `quantised` is empty.
    virtual void quantise(Span<const float> z, int64_t batch, int64_t height, int64_t width, Span<int32_t> codes,
                          Span<float> quantised, const JobContext & job);
    /// codes [batch, height, width] -> their vectors [batch, latent_channels, height, width].
    virtual void lookup(Span<const int32_t> codes, int64_t batch, int64_t height, int64_t width, Span<float> z);

protected:
    using Network::Network;
    /// Throws invalid_argument for sides that are not multiples of `multiple` (1: latent pixels) or out of range.
    void check(int64_t batch, int64_t height, int64_t width, int64_t multiple) const;
};

}  // namespace latent::models
