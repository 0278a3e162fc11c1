#pragma once

#include <string>

#include "core/json.h"
#include "formats/spec/detect.h"

namespace latent::formats {

/// Applies a CompVis / Stability configuration (the parsed yaml: {model: {target, params}}, optionally with "text_encoder" and
/// "text_encoder_2" in Hugging Face's or OpenCLIP's form) over the detected values. Fields that it lacks keep their detected
/// value, or the reference classes' default. Every field it sets is removed from `detection.unknown`. Throws model_format for
/// values of the wrong type, unsupported_model for unknown classes.
void apply_compvis_config(Detection & detection, const Json & config, const CanonicalModel & model);

/// The configurations of a diffusers folder; each null if the file is absent.
struct DiffusersConfigs {
    Json index, unet, vae, scheduler, low_res_scheduler, text_encoder, text_encoder_2, image_encoder, tokenizer, tokenizer_2;
    Json replaced_vae;  // of the folder's own first stage, if another one is used

    bool any() const;
    /// Width of the heads of a UNet2DModel (AttentionBlock), 0 for other U-Nets. In UNet2DConditionModel the same key is the
    /// number of heads.
    int attention_head_dim() const;
};

/// Applies them over the detected values, like apply_compvis_config.
void apply_diffusers_configs(Detection & detection, const DiffusersConfigs & configs);

// Their parts that concern conditioners:
/// A text tower's configuration: Hugging Face's, or OpenCLIP's {text_cfg, embed_dim, gelu}. Null does nothing.
void apply_clip_config(Detection & detection, size_t index, const Json & block);
/// transformers' CLIPVisionConfig. Null does nothing.
void apply_vision_config(Detection & detection, const Json & block);
/// cond_stage_config, conditioning_key and low_scale_config of `params` (model.params); `config`: the whole file.
void apply_conditioning(Detection & detection, const Json & params, const Json & config, const CanonicalModel & model);
/// sgm: a list of embedders, of which only the text towers have weights.
void apply_embedders(Detection & detection, const Json & conditioner_config, const Json & config);
/// Throws unsupported_model naming a class (or another value) that is not supported.
[[noreturn]] void unknown_class(const std::string & target, const char * what, const char * nearest);
bool mentions(const std::string & text, const char * part);

// For both:
/// Object `key` of `object`, null if there is none; throws model_format if it is something else.
Json object_at(const Json & object, const char * key);
/// An integer in range, or `fallback` where absent or null.
int int_at(const Json & object, const char * key, int fallback);
double number_at(const Json & object, const char * key, double fallback);
bool flag_at(const Json & object, const char * key, bool fallback);
std::string text_at(const Json & object, const char * key, const std::string & fallback = "");
/// A list of integers; one integer counts as a list of one.
std::vector<int> ints_at(const Json & object, const char * key, const std::vector<int> & fallback);

}  // namespace latent::formats
