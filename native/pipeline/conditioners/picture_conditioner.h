#pragma once

#include "core/conditioner_params.h"
#include "pipeline/conditioners/conditioner.h"
#include "pipeline/first_stage_runner.h"
#include "pipeline/image/inpainting.h"

namespace latent::pipeline {

/// A low-resolution picture beside the latents (super-resolution); the x4 upscaler noises it and is told the level as a class.
class UpscalingConditioner final : public Conditioner {
public:
    /// `noise`: null where the picture is taken as it is.
    UpscalingConditioner(const ModelSpec & spec, const LowScaleConfig * noise);

    std::string takes() const override { return "a picture to enlarge"; }
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

/// A picture with a hole beside the latents: the code of the masked picture, and the mask (inpainting).
class InpaintingConditioner final : public Conditioner {
public:
    /// `first_stage`: may be null in a model that is only inspected or makes no pictures.
    InpaintingConditioner(const ModelSpec & spec, FirstStageRunner * first_stage);

    std::string takes() const override { return "a picture and a mask"; }
    std::vector<InputUse> reads() const override { return {{Input::image}, {Input::mask}}; }
    ConditioningForm form() const override;
    std::optional<InputSize> size(const Inputs & inputs) const override;
    void check(const Inputs & inputs, int64_t pictures) const override;
    void encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) override;

private:
    InpaintingForm form_of_hole_;
    float scale_factor_;
    int picture_channels_, latent_channels_;
    FirstStageRunner * first_stage_;
};

/// A picture to edit beside the latents: its code, which is not scaled (InstructPix2Pix).
class EditingConditioner final : public Conditioner {
public:
    /// `first_stage`: may be null in a model that is only inspected or makes no pictures.
    EditingConditioner(const ModelSpec & spec, FirstStageRunner * first_stage);

    std::string takes() const override { return "a picture to edit"; }
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
