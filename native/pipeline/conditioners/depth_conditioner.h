#pragma once

#include "pipeline/conditioners/conditioner.h"

namespace latent::pipeline {

/// A depth map beside the latents (Stable Diffusion 2 depth): one channel of their size, in which the least depth of the map is
/// -1 and the greatest 1. The network that makes such maps of images (MiDaS) is not part of the model: the map is given.
class DepthConditioner final : public Conditioner {
public:
    explicit DepthConditioner(const ModelSpec & spec) : downsampling_(spec.downsampling()) {}

    std::string takes() const override { return "a depth map"; }
    std::vector<InputUse> reads() const override { return {{Input::depth}}; }
    ConditioningForm form() const override;
    void check(const Inputs & inputs, int64_t pictures) const override;
    void encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) override;

private:
    int64_t downsampling_;
};

/// Each map of [n, 1, h, w] resized to the latents of the image (torch's interpolate: bicubic, a = -0.75, no antialiasing), with
/// its last row and column repeated in the padding, then scaled to -1..1. A map of one depth becomes -1, as in training.
Latents depth_channel(const ImageTensor & depth, const Frame & frame, int64_t downsampling);

}  // namespace latent::pipeline
