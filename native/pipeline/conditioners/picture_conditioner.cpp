#include "pipeline/conditioners/picture_conditioner.h"

#include "pipeline/image/upscaling.h"
#include "pipeline/messages.h"

namespace latent::pipeline {
namespace {

int picture_channels(const ModelSpec & spec) {
    return spec.first_stage ? spec.first_stage->in_channels : 3;
}

int latent_channels(const ModelSpec & spec) {
    return spec.unet ? spec.unet->out_channels : spec.latent_channels();
}

std::optional<InputSize> size_of_picture(const Inputs & inputs) {
    if (!inputs.image) return std::nullopt;
    return InputSize{"image", inputs.image->shape[3], inputs.image->shape[2]};
}

void require_first_stage(const FirstStageRunner * first_stage, const char * who) {
    if (!first_stage) throw Error(ErrorCode::unsupported_model, std::string(who) + " a first stage, but this model has none");
}

}  // namespace

// ---- super-resolution ------------------------------------------------------------------------------------------------

UpscalingConditioner::UpscalingConditioner(const ModelSpec & spec, const LowScaleConfig * noise)
    : factor_(spec.downsampling()), channels_(picture_channels(spec)) {
    if (noise) noise_ = *noise;
}

std::vector<InputUse> UpscalingConditioner::reads() const {
    if (!noise_) return {{Input::image}};
    return {{Input::image}, {Input::noise_level, false}};
}

ConditioningForm UpscalingConditioner::form() const {
    ConditioningForm form;
    form.channels = channels_;
    if (noise_) form.classes = noise_->max_noise_level + 1;
    return form;
}

void UpscalingConditioner::info(Json & out) const {
    out["factor"] = factor_;
    if (!noise_) return;
    out["maxNoiseLevel"] = noise_->max_noise_level;
    out["noiseLevel"] = noise_->noise_level;
}

std::optional<InputSize> UpscalingConditioner::size(const Inputs & inputs) const {
    if (!inputs.image) return std::nullopt;
    return InputSize{"image", inputs.image->shape[3] * factor_, inputs.image->shape[2] * factor_};
}

void UpscalingConditioner::check(const Inputs & inputs, int64_t pictures) const {
    check_image(*inputs.image, "image", channels_, pictures);
    if (inputs.noise_level && (*inputs.noise_level < 0 || *inputs.noise_level > noise_->max_noise_level)) {
        refuse("noise_level " + std::to_string(*inputs.noise_level) + " is outside 0.." +
               std::to_string(noise_->max_noise_level));
    }
}

void UpscalingConditioner::encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) {
    ImageTensor picture = pad_edges(*inputs.image, context.frame.padded_height / factor_, context.frame.padded_width / factor_);
    if (!noise_) {
        out.concat = Latents{picture.shape, std::move(picture.data)};
        return;
    }
    const auto [n, c, h, w] = picture.shape;
    const auto row = static_cast<std::ptrdiff_t>(c * h * w);
    Latents rows{{context.pictures, c, h, w}, {}};
    for (int64_t i = 0; i < context.pictures; ++i) {
        const auto from = picture.data.begin() + (n == 1 ? 0 : i) * row;
        rows.data.insert(rows.data.end(), from, from + row);
    }
    std::vector<float> drawn(rows.data.size());
    context.noise.normal(drawn);
    out.class_label = inputs.noise_level.value_or(noise_->noise_level);
    augment_with_noise(rows.data, drawn, out.class_label, noise_->schedule);
    out.concat = std::move(rows);
}

// ---- inpainting ------------------------------------------------------------------------------------------------------

InpaintingConditioner::InpaintingConditioner(const ModelSpec & spec, FirstStageRunner * first_stage)
    : form_of_hole_(spec.conditioning_key == "concat" ? InpaintingForm::latent_diffusion() : InpaintingForm::stable_diffusion()),
      scaling_(LatentScaling::of(spec)),
      picture_channels_(picture_channels(spec)),
      latent_channels_(latent_channels(spec)),
      first_stage_(first_stage) {}

ConditioningForm InpaintingConditioner::form() const {
    ConditioningForm form;
    form.channels = latent_channels_ + 1;
    return form;
}

std::optional<InputSize> InpaintingConditioner::size(const Inputs & inputs) const {
    return size_of_picture(inputs);
}

void InpaintingConditioner::check(const Inputs & inputs, int64_t pictures) const {
    check_image(*inputs.image, "image", picture_channels_, pictures);
    check_image(*inputs.mask, "mask", 1, pictures);
    const auto & image = inputs.image->shape;
    const auto & mask = inputs.mask->shape;
    if (mask[2] != image[2] || mask[3] != image[3]) {
        refuse("mask is " + size_text(mask[3], mask[2]) + ", the image " + size_text(image[3], image[2]) +
               "; both must have the same size");
    }
}

void InpaintingConditioner::encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) {
    require_first_stage(first_stage_, "An image and a mask need");
    const InpaintingForm & form = form_of_hole_;
    ImageTensor image = pad_edges(*inputs.image, context.frame.padded_height, context.frame.padded_width);
    ImageTensor mask = pad_edges(*inputs.mask, context.frame.padded_height, context.frame.padded_width);
    binarise(mask);
    if (image.shape[0] < mask.shape[0]) {  // one image for several masks
        ImageTensor rows{{mask.shape[0], image.shape[1], image.shape[2], image.shape[3]}, {}};
        for (int64_t i = 0; i < mask.shape[0]; ++i) rows.data.insert(rows.data.end(), image.data.begin(), image.data.end());
        image = std::move(rows);
    }
    // The references draw from the posterior of the masked image; its mean gives the same channels every time.
    Latents code = first_stage_->encode_mean(with_hole(image, mask, form.hole), context.job);
    if (form.scaled) scaling_.to_latents(code);
    out.concat = inpainting_channels(form, code, mask);
}

// ---- editing ---------------------------------------------------------------------------------------------------------

EditingConditioner::EditingConditioner(const ModelSpec & spec, FirstStageRunner * first_stage)
    : picture_channels_(picture_channels(spec)), latent_channels_(latent_channels(spec)), first_stage_(first_stage) {}

ConditioningForm EditingConditioner::form() const {
    ConditioningForm form;
    form.channels = latent_channels_;
    return form;
}

std::optional<InputSize> EditingConditioner::size(const Inputs & inputs) const {
    return size_of_picture(inputs);
}

void EditingConditioner::check(const Inputs & inputs, int64_t pictures) const {
    check_image(*inputs.image, "image", picture_channels_, pictures);
}

void EditingConditioner::encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) {
    require_first_stage(first_stage_, "An image to edit needs");
    const Frame & frame = context.frame;
    out.concat = first_stage_->encode_mean(pad_edges(*inputs.image, frame.padded_height, frame.padded_width), context.job);
}

}  // namespace latent::pipeline
