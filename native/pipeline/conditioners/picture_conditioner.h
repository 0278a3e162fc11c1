#pragma once

#include "core/conditioner_params.h"
#include "pipeline/conditioners/conditioner.h"
#include "pipeline/first_stage_runner.h"
#include "pipeline/image/inpainting.h"

namespace latent::pipeline {

/// A low-resolution image concatenated to the latents (super-resolution). The x4 upscaler adds noise to it and gets the noise
/// level as a class.
class UpscalingConditioner final : public Conditioner {
public:
    /// `noise`: null if no noise is added to the image.
    UpscalingConditioner(const ModelSpec & spec, const LowScaleConfig * noise);

    std::string takes() const override { return "an image to enlarge"; }
    std::vector<InputUse> reads() const override;
    ConditioningForm form() const override;
    void info(Json & out) const override;
    std::optional<InputSize> size(const Inputs & inputs) const override;
    void check(const Inputs & inputs, int64_t pictures) const override;
    void encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) override;

private:
    int64_t factor_;
    int channels_;
    std::optional<LowScaleConfig> noise_;
};

/// Inpainting: the latents of the masked image and the mask, concatenated to the latents.
class InpaintingConditioner final : public Conditioner {
public:
    /// `first_stage`: may be null in a model that is only inspected or makes no images.
    InpaintingConditioner(const ModelSpec & spec, FirstStageRunner * first_stage);

    std::string takes() const override { return "an image and a mask"; }
    std::vector<InputUse> reads() const override { return {{Input::image}, {Input::mask}}; }
    ConditioningForm form() const override;
    std::optional<InputSize> size(const Inputs & inputs) const override;
    void check(const Inputs & inputs, int64_t pictures) const override;
    void encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) override;

private:
    InpaintingForm form_of_hole_;
    LatentScaling scaling_;
    int picture_channels_, latent_channels_;
    FirstStageRunner * first_stage_;
};

/// An image to edit (InstructPix2Pix): its unscaled latents, concatenated to the latents.
class EditingConditioner final : public Conditioner {
public:
    /// `first_stage`: may be null in a model that is only inspected or makes no images.
    EditingConditioner(const ModelSpec & spec, FirstStageRunner * first_stage);

    std::string takes() const override { return "an image to edit"; }
    std::vector<InputUse> reads() const override { return {{Input::image}}; }
    ConditioningForm form() const override;
    std::optional<InputSize> size(const Inputs & inputs) const override;
    void check(const Inputs & inputs, int64_t pictures) const override;
    void encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) override;

private:
    int picture_channels_, latent_channels_;
    FirstStageRunner * first_stage_;
};

}  // namespace latent::pipeline
