#include "formats/spec/detect.h"

#include <algorithm>
#include <cmath>

#include "formats/spec/few_step.h"

namespace latent::formats {

namespace {

/// SD 2.x at 768 pixels was trained to predict v, at 512 eps, with the same shapes. The spread of one bias differs.
void tell_prediction(const TensorSource & tensors, ModelSpec & spec) {
    const TensorInfo * bias = tensors.find("model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias");
    if (spec.family != "sd2" || spec.unet->in_channels != 4 || !bias || dtype_is_quantised(bias->dtype)) return;
    if (bias->elements() < 2 || bias->elements() > 65536) return;
    double sum = 0, squares = 0;
    const std::vector<float> values = tensors.read_f32(*bias);
    for (const float v : values) sum += v, squares += double{v} * v;
    const double n = static_cast<double>(values.size()), mean = sum / n;
    if (std::sqrt(std::max(0.0, squares / n - mean * mean)) > 0.09) {
        spec.prediction = Prediction::v;
        spec.image_size = 768;
    }
}

/// Retrieval-augmented models take CLIP embeddings from outside: cross-attention without a conditioner in the file, although the
/// caller may give CLIP separately. Their first stage is KL-f16; text models without their encoder have other first stages.
bool is_retrieval_augmented(const CanonicalModel & model, const ModelSpec & spec) {
    if (spec.conditioning_key != "crossattn" || model.ignored.count("cond_stage_model")) return false;
    const auto & tensors = model.tensors->tensors();
    const auto conditions = [](const TensorInfo & tensor) { return tensor.name.rfind(cond_prefix, 0) == 0; };
    const bool clip = !model.text_prefix[0].empty(), beside = model.text_apart && model.text_prefix[0].rfind(cond_prefix, 0) == 0;
    if (!beside && (clip || std::any_of(tensors.begin(), tensors.end(), conditions))) return false;
    return spec.first_stage && spec.first_stage->kind == "kl" && spec.first_stage->downsampling() == 16 &&
           spec.first_stage->embed_dim == 16;
}

/// Describes the conditioning of a U-Net that is in no table.
void describe_unknown(const CanonicalModel & model, Detection & found) {
    ModelSpec & spec = found.spec;
    const UNetConfig & c = *spec.unet;
    found.unknown.insert("/unet/numHeads");
    const bool cross = c.attention == UNetAttention::spatial_transformer;
    const bool unscaled = spec.first_stage && spec.first_stage->kind != "kl";  // VQ, and the tiny autoencoder
    if (model.betas.empty()) found.unknown.insert("/schedule");
    if (unscaled) {
        spec.scale_factor = 1.0;
    } else {
        found.unknown.insert("/scaleFactor");
    }
    const bool extra = c.in_channels > c.out_channels;
    spec.conditioning_key = cross ? (extra ? "hybrid" : "crossattn") : (extra ? "concat" : "none");
    spec.kind = cross ? "text" : (extra ? "superres" : "unconditional");
    const bool retrieval = is_retrieval_augmented(model, spec);
    const bool clip = !model.text_prefix[0].empty() && !retrieval;
    if (model.text_prefix[0].rfind("conditioner.", 0) == 0) {
        spec.family = "sdxl", spec.name = "SDXL-like";
    } else if (cross && clip) {
        spec.family = c.use_linear_in_transformer || model.open_clip[0] ? "sd2" : "sd1";
        spec.name = spec.family == "sd1" ? "Stable Diffusion 1.x-like" : "Stable Diffusion 2.x-like";
        if (extra && c.in_channels == 2 * c.out_channels + 1) spec.kind = "inpaint", spec.name += " inpainting";
        if (spec.family == "sd1" && c.in_channels == 2 * c.out_channels) spec.kind = "edit", spec.name += " InstructPix2Pix";
        if (c.in_channels == c.out_channels + 1 && c.class_embedding.empty()) spec.kind = "depth", spec.name += " depth";
    } else {
        spec.family = "ldm", spec.name = "latent diffusion model";
    }
    spec.image_size = spec.family == "ldm" ? 256 : spec.family == "sdxl" ? 1024 : 512;
    if (cross && extra && c.class_embedding == "embedding") spec.kind = "superres", spec.name += " upscaler";
    if (clip) return;
    if (retrieval) spec.kind = "rdm", spec.name = "retrieval-augmented diffusion model";
    const TensorSource & tensors = *model.tensors;
    const auto trained = [&](const char * name) { return tensors.find(std::string(cond_prefix) + name); };
    if (cross && trained("embedding.weight")) spec.kind = "class";
    const TensorInfo * tokens = trained("transformer.token_emb.weight");
    if (cross && tokens && !tokens->shape.empty() && tokens->shape[0] == 8192) spec.kind = "layout";
    // Concatenated: a label map, or latents and a mask, or an image.
    if (!cross && extra && trained("channel_mapper.weight")) spec.kind = "semantic";
    if (!cross && extra && c.in_channels == 2 * c.out_channels + 1) spec.kind = "inpaint";
}

}  // namespace

void use_betas(NoiseSchedule & schedule, const std::vector<double> & betas) {
    if (betas.size() < 2) return;
    const double first = betas.front(), last = betas.back();
    if (!(first > 0 && last < 1 && first <= last)) return;
    const auto fits = [&](bool scaled) {
        for (size_t i = 0; i < betas.size(); ++i) {
            const double t = static_cast<double>(i) / static_cast<double>(betas.size() - 1);
            const double root = std::sqrt(first) + (std::sqrt(last) - std::sqrt(first)) * t;
            const double value = scaled ? root * root : first + (last - first) * t;
            if (std::fabs(betas[i] - value) > 2e-3 * value + 1e-9) return false;  // half precision files
        }
        return true;
    };
    // Stored as float32 or float16; rounding to five significant figures restores the configured value.
    const auto rounded = [](double v) {
        const double power = std::pow(10.0, 4 - static_cast<int>(std::floor(std::log10(v))));
        const double r = std::round(v * power) / power;
        return std::fabs(r - v) < 2e-7 * v ? r : v;
    };
    schedule.timesteps = static_cast<int>(betas.size());
    schedule.beta_start = rounded(first);
    schedule.beta_end = rounded(last);
    if (fits(true)) {
        schedule.beta_schedule = "scaled_linear";
    } else if (fits(false)) {
        schedule.beta_schedule = "linear";
    } else {
        schedule.betas = betas;
    }
}

void apply_kind_defaults(ModelSpec & spec) {
    spec.sampler = "ddim";
    spec.sampling_schedule.clear(), spec.sampling_timesteps.clear();
    spec.eta = 0;
    spec.steps = 50;
    spec.guidance_scale = 1;
    if (spec.kind == "text" || spec.kind == "edit" || spec.kind == "depth") {
        spec.guidance_scale = spec.family == "sd2" ? 9.0 : spec.family == "sdxl" ? 5.0 : 7.5;
        if (spec.family == "ldm") spec.guidance_scale = 5, spec.steps = 200;
        // text2img256: the paper's own sampling is unguided
        if (spec.family == "ldm" && spec.first_stage && spec.first_stage->kind == "vq") spec.guidance_scale = 1, spec.steps = 100;
        if (spec.family == "sdxl") spec.sampler = "euler";
    } else if (spec.kind == "inpaint" && spec.conditioning_key == "hybrid") {
        spec.guidance_scale = 7.5, spec.eta = 1;
    } else if (spec.kind == "unconditional") {
        spec.eta = 1;
    } else if (spec.kind == "class") {
        const bool guided = !spec.conditioners.empty() && spec.conditioners[0].params.contains("nullClass");
        if (guided)
            spec.steps = 20, spec.guidance_scale = 3;  // cin256-v2
        else
            spec.steps = 200, spec.eta = 1;  // cin256
    } else if (spec.kind == "layout" || spec.kind == "semantic") {
        spec.steps = 200;
        spec.eta = spec.kind == "layout" ? 0 : 1;
    } else if (spec.kind == "superres") {
        if (spec.family == "ldm")
            spec.steps = 100, spec.eta = 1;
        else
            spec.steps = 75, spec.guidance_scale = 9;
    } else if (spec.kind == "rdm") {
        spec.guidance_scale = 5;
    }
    // Latent consistency models, as their authors' examples run them.
    if (spec.unet && spec.unet->guidance_embed_dim > 0) spec.sampler = "lcm", spec.steps = 4, spec.guidance_scale = 8;
    apply_sdxs_defaults(spec);
    apply_edm_defaults(spec);
}

void apply_edm_defaults(ModelSpec & spec) {
    if (spec.prediction == Prediction::edm && !spec.schedule.edm) spec.schedule.edm.emplace();
    if (!spec.schedule.edm) return;
    spec.sampler = "dpmpp_2m", spec.eta = 0;
    spec.sampling_schedule.clear(), spec.sampling_timesteps.clear();
    if (spec.prediction != Prediction::edm || spec.family != "sdxl") return;
    spec.guidance_scale = 3;
    if (spec.name == "SDXL base") spec.name = "Playground v2.5";
}

Detection detect(const CanonicalModel & model) {
    Detection found;
    ModelSpec & spec = found.spec;
    spec.naming = model.naming;
    const TensorSource & tensors = *model.tensors;
    if (!model.unknown_unet.empty()) {
        const std::string first = model.unknown_unet[0].substr(0, 200);
        throw Error(
            ErrorCode::unsupported_model,
            tensors.name() + ": the U-Net has " + std::to_string(model.unknown_unet.size()) +
                " tensors with unknown names, first \"" + first + '"',
            Json{{"found", first}, {"nearest", "latent diffusion U-Net"}}.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    if (model.has_stage) spec.first_stage = detect_first_stage(tensors);
    if (model.has_unet) {
        spec.unet = detect_unet(tensors);
        if (spec.unet->class_embedding == "vector" && (spec.unet->vector_dim == 1536 || spec.unet->vector_dim == 2048)) {
            throw Error(ErrorCode::unsupported_model, tensors.name() + " is Stable unCLIP, which is not supported",
                        Json{{"found", "Stable unCLIP"}, {"nearest", "Stable Diffusion 2.x"}}.dump());
        }
        if (apply_known_model(found, model)) {
            tell_prediction(tensors, spec);
        } else {
            describe_unknown(model, found);
            spec.use_ema = spec.family == "ldm" && model.ema_tensors > 100;
        }
        use_betas(spec.schedule, model.betas);
        if (model.scale_factor) {
            spec.scale_factor = *model.scale_factor;
            found.unknown.erase("/scaleFactor");
        }
    } else if (spec.first_stage) {
        const AutoencoderConfig & stage = *spec.first_stage;
        spec.kind = spec.family = "autoencoder";
        spec.conditioning_key = "none";
        spec.name = stage.kind == "tiny"
                        ? "tiny autoencoder (TAESD)"
                        : (stage.kind == "kl" ? "KL-f" : "VQ-f") + std::to_string(stage.downsampling()) + " first stage";
        const bool stable_diffusion = stage.kind == "kl" && stage.downsampling() == 8 && stage.embed_dim == 4;
        spec.scale_factor = stable_diffusion ? 0.18215 : 1.0;
        spec.image_size = stage.kind == "tiny" || (stable_diffusion && stage.channels == 128) ? 512 : 256;
    }
    detect_conditioners(model, found);
    if (!spec.unet && !spec.first_stage && !spec.conditioners.empty()) {
        const bool image = spec.conditioners.back().kind == "clip_vision";
        spec.kind = "text", spec.family = image ? "image_encoder" : "text_encoder";
        spec.name = !image ? "CLIP text encoder" : spec.conditioners.size() > 1 ? "CLIP" : "CLIP image encoder";
    }
    if (!spec.unet && !spec.first_stage && spec.conditioners.empty()) {
        throw Error(ErrorCode::unsupported_model,
                    tensors.name() + " contains no U-Net, first stage, text or image encoder with known tensor names",
                    Json{{"found", "unknown tensor names"}, {"nearest", "Stable Diffusion 1.x"}}.dump());
    }
    apply_kind_defaults(spec);
    return found;
}

void require_known(const Detection & detection, const Json & overrides, const std::string & file) {
    std::string missing;
    Json fields = Json::array();
    for (const std::string & pointer : detection.unknown) {
        const auto given = [&](const std::string & path) {
            return overrides.is_object() && overrides.contains(Json::json_pointer(path));
        };
        if (given(pointer)) continue;
        if (pointer == "/unet/numHeads" && (given("/unet/numHeadChannels") || given("/unet/headsPerLevel"))) continue;
        std::string field = pointer.substr(1);
        std::replace(field.begin(), field.end(), '/', '.');
        missing += (missing.empty() ? "" : ", ") + field;
        fields.push_back(field);
    }
    if (missing.empty()) return;
    const Json details = {{"found", detection.spec.name}, {"nearest", detection.spec.family}, {"missing", fields}};
    throw Error(ErrorCode::unsupported_model,
                file + ": an unknown model (" + detection.spec.name + "). Its weights do not tell " + missing +
                    "; give the model's configuration (config) or these fields (spec)",
                details.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace latent::formats
