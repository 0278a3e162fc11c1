#include <algorithm>
#include <cmath>
#include <limits>

#include "formats/spec/config.h"

namespace latent::formats {

namespace {

[[noreturn]] void wrong_type(const char * key, const char * expected) {
    throw Error(ErrorCode::model_format, std::string("\"") + key + "\" of the model's configuration must be " + expected);
}

int to_int(const Json & value, const char * key) {
    const double number = value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
    if (!(std::fabs(number) <= std::numeric_limits<int>::max()) || number != std::floor(number))
        wrong_type(key, "a 32-bit integer");
    return static_cast<int>(number);
}

}  // namespace

Json object_at(const Json & object, const char * key) {
    if (!object.is_object()) return Json();
    const auto found = object.find(key);
    if (found == object.end() || found->is_null()) return Json();
    if (!found->is_object()) wrong_type(key, "an object");
    return *found;
}

int int_at(const Json & object, const char * key, int fallback) {
    const auto found = object.is_object() ? object.find(key) : object.end();
    return found == object.end() || found->is_null() ? fallback : to_int(*found, key);
}

double number_at(const Json & object, const char * key, double fallback) {
    const auto found = object.is_object() ? object.find(key) : object.end();
    if (found == object.end() || found->is_null()) return fallback;
    if (!found->is_number() || !std::isfinite(found->get<double>())) wrong_type(key, "a number");
    return found->get<double>();
}

bool flag_at(const Json & object, const char * key, bool fallback) {
    const auto found = object.is_object() ? object.find(key) : object.end();
    if (found == object.end() || found->is_null()) return fallback;
    if (!found->is_boolean()) wrong_type(key, "true or false");
    return found->get<bool>();
}

std::string text_at(const Json & object, const char * key, const std::string & fallback) {
    const auto found = object.is_object() ? object.find(key) : object.end();
    if (found == object.end() || found->is_null()) return fallback;
    if (!found->is_string()) wrong_type(key, "a string");
    return found->get<std::string>().substr(0, 1024);
}

std::vector<int> ints_at(const Json & object, const char * key, const std::vector<int> & fallback) {
    const auto found = object.is_object() ? object.find(key) : object.end();
    if (found == object.end() || found->is_null()) return fallback;
    if (!found->is_array()) return {to_int(*found, key)};
    if (found->size() > 64) wrong_type(key, "a list of at most 64 integers");
    std::vector<int> out;
    for (const Json & item : *found) out.push_back(to_int(item, key));
    return out;
}

namespace {

void apply_unet_params(Detection & detection, const Json & params) {
    UNetConfig & c = *detection.spec.unet;
    c.in_channels = int_at(params, "in_channels", c.in_channels);
    c.out_channels = int_at(params, "out_channels", c.out_channels);
    c.model_channels = int_at(params, "model_channels", c.model_channels);
    c.channel_mult = ints_at(params, "channel_mult", c.channel_mult);
    const std::vector<int> blocks = ints_at(params, "num_res_blocks", {c.num_res_blocks});
    if (blocks.empty() || std::any_of(blocks.begin(), blocks.end(), [&](int n) { return n != blocks[0]; })) {
        throw Error(ErrorCode::unsupported_model, "U-Nets with a different number of ResBlocks per level are not supported",
                    Json{{"found", "num_res_blocks per level"}, {"nearest", "latent diffusion U-Net"}}.dump());
    }
    c.num_res_blocks = blocks[0];
    // Downsampling factors that no level reaches have no effect, so the detected ones are complete. If the yaml disagrees with
    // the names, check_parameters reports it.
    std::vector<int> reached;
    for (const int factor : ints_at(params, "attention_resolutions", c.attention_resolutions)) {
        const int deepest = c.channel_mult.empty() ? 1 : 1 << std::min<int>(20, static_cast<int>(c.channel_mult.size()) - 1);
        if (factor >= 1 && factor <= deepest) reached.push_back(factor);
    }
    std::sort(reached.rbegin(), reached.rend());
    c.attention_resolutions = reached;
    const bool transformer = flag_at(params, "use_spatial_transformer", params.contains("context_dim"));
    c.attention = transformer ? UNetAttention::spatial_transformer : UNetAttention::attention_block;
    c.scale_shift_norm = flag_at(params, "use_scale_shift_norm", false);
    c.resblock_updown = flag_at(params, "resblock_updown", false);
    c.conv_resample = flag_at(params, "conv_resample", true);
    c.use_linear_in_transformer = flag_at(params, "use_linear_in_transformer", false);
    if (!detection.heads_are_certain) {
        c.num_head_channels = int_at(params, "num_head_channels", -1);
        c.num_heads = int_at(params, "num_heads", c.num_head_channels > 0 ? c.num_heads : -1);
        c.heads_per_level.clear();
        if (c.num_heads > 0 || c.num_head_channels > 0) detection.unknown.erase("/unet/numHeads");
    }
    if (transformer) {
        const std::vector<int> dims = ints_at(params, "context_dim", {c.context_dim});
        c.context_dim = dims.empty() ? c.context_dim : dims[0];
        c.transformer_depth = ints_at(params, "transformer_depth", {1});
        c.transformer_depth_middle = int_at(params, "transformer_depth_middle", -1);
        const auto disabled = params.find("disable_self_attentions");
        c.disable_self_attentions.clear();
        if (disabled != params.end() && disabled->is_array() && disabled->size() <= 16) {
            for (const Json & flag : *disabled) c.disable_self_attentions.push_back(flag.is_boolean() && flag.get<bool>());
        }
        c.disable_middle_self_attention = flag_at(params, "disable_middle_self_attn", false);
    }
}

void apply_first_stage(Detection & detection, const std::string & target, const Json & params) {
    AutoencoderConfig & c = *detection.spec.first_stage;
    if (c.kind == "tiny") return;  // replaces the one in the configuration
    const Json dd = object_at(params, "ddconfig");
    if (mentions(target, "VQModel")) {
        c.kind = "vq";
        c.codebook_size = int_at(params, "n_embed", c.codebook_size);
    } else if (mentions(target, "AutoencoderKL") || mentions(target, "AutoencodingEngine")) {
        c.kind = "kl";
    } else if (!target.empty()) {
        unknown_class(target, "first stage", "AutoencoderKL");
    }
    c.embed_dim = int_at(params, "embed_dim", c.embed_dim);
    if (dd.is_null()) return;
    c.channels = int_at(dd, "ch", c.channels);
    c.channel_mult = ints_at(dd, "ch_mult", c.channel_mult);
    c.num_res_blocks = int_at(dd, "num_res_blocks", c.num_res_blocks);
    c.in_channels = int_at(dd, "in_channels", c.in_channels);
    c.out_channels = int_at(dd, "out_ch", c.out_channels);
    c.z_channels = int_at(dd, "z_channels", c.z_channels);
    c.double_z = flag_at(dd, "double_z", c.double_z);
    c.middle_attention = text_at(dd, "attn_type", "vanilla") != "none";
    const int resolution = int_at(dd, "resolution", 256);
    const std::vector<int> at = ints_at(dd, "attn_resolutions", {});
    if (c.channel_mult.size() > 12) return;  // validate() refuses it
    c.attention_levels.clear();
    for (size_t level = 0; level < c.channel_mult.size(); ++level) {
        if (std::count(at.begin(), at.end(), resolution >> level) > 0 && c.middle_attention)
            c.attention_levels.push_back(static_cast<int>(level));
    }
}

/// sgm's denoiser: what the network predicts, and EDM's noise levels where its time input is ln(sigma) / 4.
void apply_denoiser(ModelSpec & spec, const Json & params) {
    const Json denoiser = object_at(object_at(params, "denoiser_config"), "params");
    const Json scaling = object_at(denoiser, "scaling_config");
    if (scaling.is_null()) return;
    const std::string target = text_at(scaling, "target"), name = target.substr(target.rfind('.') + 1);
    const bool edm = name == "EDMScaling", v_edm = name == "VScalingWithEDMcNoise";
    if (!edm && !v_edm && name != "EpsScaling" && name != "VScaling") unknown_class(target, "denoiser's scaling", "EpsScaling");
    spec.prediction = edm ? Prediction::edm : name == "EpsScaling" ? Prediction::eps : Prediction::v;
    spec.schedule.edm.reset();
    if (!edm && !v_edm) return;
    EdmSchedule levels;
    levels.sigma_data = edm ? number_at(object_at(scaling, "params"), "sigma_data", 0.5) : 1.0;
    // The levels are a setting of the denoiser, or of the sampler.
    for (const Json & owner : {denoiser, object_at(object_at(params, "sampler_config"), "params")}) {
        const Json steps = object_at(owner, "discretization_config");
        if (!mentions(text_at(steps, "target"), "EDMDiscretization")) continue;
        levels.sigma_min = number_at(object_at(steps, "params"), "sigma_min", levels.sigma_min);
        levels.sigma_max = number_at(object_at(steps, "params"), "sigma_max", levels.sigma_max);
        break;
    }
    spec.schedule.edm = levels;
}

/// The defaults of the reference classes, with the nearest family for unknown models.
void name_family(ModelSpec & spec, bool known_before) {
    if (known_before) return;
    const bool clip = !spec.conditioners.empty() && spec.conditioners[0].kind == "clip_text";
    if (spec.family != "sdxl") spec.family = !clip ? "ldm" : spec.unet && spec.unet->use_linear_in_transformer ? "sd2" : "sd1";
    if (spec.family == "ldm") spec.name = "latent diffusion model (" + spec.kind + ")";
}

}  // namespace

void apply_compvis_config(Detection & detection, const Json & config, const CanonicalModel & model) {
    if (config.is_null()) return;
    if (!config.is_object())
        throw Error(ErrorCode::model_format, "The model's configuration must be an object with the key \"model\"");
    const Json root = config.contains("model") ? object_at(config, "model") : config;
    const std::string target = text_at(root, "target");
    const Json params = object_at(root, "params");
    if (params.is_null()) throw Error(ErrorCode::model_format, "The model's configuration has no model.params");
    ModelSpec & spec = detection.spec;
    const bool known_before = detection.unknown.count("/unet/numHeads") == 0;

    if (params.contains("ddconfig")) {  // a first stage of its own
        if (spec.first_stage) apply_first_stage(detection, target, params);
        return;
    }
    const bool sgm = params.contains("network_config");
    const Json unet = object_at(params, sgm ? "network_config" : "unet_config");
    if (spec.unet && !unet.is_null()) apply_unet_params(detection, object_at(unet, "params"));
    if (const Json stage = object_at(params, "first_stage_config"); spec.first_stage && !stage.is_null()) {
        apply_first_stage(detection, text_at(stage, "target"), object_at(stage, "params"));
    }
    apply_clip_config(detection, 0, object_at(config, "text_encoder"));
    if (config.contains("text_encoder_2"))
        apply_clip_config(detection, config.contains("text_encoder") ? 1 : 0, object_at(config, "text_encoder_2"));
    if (!spec.unet) return;

    if (sgm) {
        apply_embedders(detection, object_at(params, "conditioner_config"), config);
    } else {
        apply_conditioning(detection, params, config, model);
    }
    NoiseSchedule & schedule = spec.schedule;
    if (model.betas.empty() || params.contains("linear_start")) {
        schedule.beta_start = number_at(params, "linear_start", sgm ? 0.00085 : 0.0001);
        schedule.beta_end = number_at(params, "linear_end", sgm ? 0.012 : 0.02);
        schedule.timesteps = int_at(params, "timesteps", 1000);
        const std::string form = text_at(params, "beta_schedule", "linear");  // "linear" is linear in the square roots
        if (form != "linear") unknown_class(form, "noise schedule", "linear");
        schedule.beta_schedule = "scaled_linear";
        schedule.betas.clear();
    }
    detection.unknown.erase("/schedule");
    if (!flag_at(params, "scale_by_std", false)) {
        spec.scale_factor = number_at(params, "scale_factor", 1.0);
        detection.unknown.erase("/scaleFactor");
    }
    if (!sgm)
        spec.prediction = prediction_from_name(
            text_at(params, "parameterization", "eps") == "x0" ? "sample" : text_at(params, "parameterization", "eps"));
    if (sgm) apply_denoiser(spec, params);
    spec.use_ema = flag_at(params, "use_ema", !sgm) && model.ema_tensors > 0;
    const int latent_size = int_at(params, "image_size", 0), factor = spec.first_stage ? spec.first_stage->downsampling() : 8;
    if (latent_size > 0 && latent_size < 8192) spec.image_size = latent_size * factor;
    name_family(spec, known_before);
    apply_kind_defaults(spec);
}

}  // namespace latent::formats
