#include <algorithm>
#include <cmath>
#include <limits>

#include "formats/config.h"

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

bool contains(const std::string & text, const char * part) {
    return text.find(part) != std::string::npos;
}

[[noreturn]] void unknown_class(const std::string & target, const char * what, const char * nearest) {
    throw Error(ErrorCode::unsupported_model,
                std::string("The configuration names a ") + what + " that this engine does not have: " + target,
                Json{{"found", target}, {"nearest", nearest}}.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void apply_unet(Detection & detection, const Json & params) {
    UNetConfig & c = *detection.spec.unet;
    c.in_channels = int_at(params, "in_channels", c.in_channels);
    c.out_channels = int_at(params, "out_channels", c.out_channels);
    c.model_channels = int_at(params, "model_channels", c.model_channels);
    c.channel_mult = ints_at(params, "channel_mult", c.channel_mult);
    const std::vector<int> blocks = ints_at(params, "num_res_blocks", {c.num_res_blocks});
    if (blocks.empty() || std::any_of(blocks.begin(), blocks.end(), [&](int n) { return n != blocks[0]; })) {
        throw Error(ErrorCode::unsupported_model, "U-Nets with another number of ResBlocks at every level are not supported",
                    Json{{"found", "num_res_blocks per level"}, {"nearest", "latent diffusion U-Net"}}.dump());
    }
    c.num_res_blocks = blocks[0];
    // Down-factors that no level reaches have no effect; the detected ones are those that do (names decide, the yaml agrees or
    // check_layout says so).
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
    const Json dd = object_at(params, "ddconfig");
    if (contains(target, "VQModel")) {
        c.kind = "vq";
        c.codebook_size = int_at(params, "n_embed", c.codebook_size);
    } else if (contains(target, "AutoencoderKL") || contains(target, "AutoencodingEngine")) {
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

/// A text encoder's own words: Hugging Face's, or OpenCLIP's {text_cfg, embed_dim, gelu}.
void apply_text_encoder(Detection & detection, size_t index, const Json & block) {
    if (block.is_null() || index >= detection.spec.conditioners.size() || detection.spec.conditioners[index].kind != "clip_text")
        return;
    ClipTextConfig & c = detection.spec.conditioners[index].clip;
    const std::string at = "/conditioners/" + std::to_string(index) + "/clip/";
    const Json open = object_at(block, "text_cfg");
    if (!open.is_null()) {
        c.hidden_size = int_at(open, "width", c.hidden_size);
        c.num_attention_heads = int_at(open, "heads", c.num_attention_heads);
        c.vocab_size = int_at(open, "vocab_size", c.vocab_size);
        c.max_position_embeddings = int_at(open, "context_length", c.max_position_embeddings);
        c.hidden_act = "gelu";
        if (open.contains("heads")) detection.unknown.erase(at + "numAttentionHeads");
        detection.unknown.erase(at + "hiddenAct");
        return;
    }
    c.hidden_size = int_at(block, "hidden_size", c.hidden_size);
    c.intermediate_size = int_at(block, "intermediate_size", c.intermediate_size);
    c.num_hidden_layers = int_at(block, "num_hidden_layers", c.num_hidden_layers);
    c.num_attention_heads = int_at(block, "num_attention_heads", c.num_attention_heads);
    c.vocab_size = int_at(block, "vocab_size", c.vocab_size);
    c.max_position_embeddings = int_at(block, "max_position_embeddings", c.max_position_embeddings);
    c.layer_norm_eps = number_at(block, "layer_norm_eps", c.layer_norm_eps);
    c.hidden_act = text_at(block, "hidden_act", c.hidden_act);
    if (block.contains("num_attention_heads")) detection.unknown.erase(at + "numAttentionHeads");
    if (block.contains("hidden_act")) detection.unknown.erase(at + "hiddenAct");
}

/// Classes of ldm.modules.encoders and sgm.modules.encoders that read a prompt through CLIP.
/// `block` is the tower's own configuration, or null.
bool apply_clip_class(Detection & detection, size_t index, const std::string & target, const Json & params, const Json & block) {
    if (!contains(target, "FrozenCLIPEmbedder") && !contains(target, "FrozenOpenCLIPEmbedder")) return false;
    if (index >= detection.spec.conditioners.size()) return true;  // the text encoder is in another file, or absent
    ClipTextConfig & c = detection.spec.conditioners[index].clip;
    const std::string layer = text_at(params, "layer", "last");
    const std::string at = "/conditioners/" + std::to_string(index) + "/clip/";
    if (contains(target, "FrozenOpenCLIPEmbedder")) {
        c.hidden_act = "gelu";
        c.pad_token_id = 0;
        detection.unknown.erase(at + "hiddenAct");
        // diffusers' folders of SD 2 leave the unused last layer out: the last one there is the penultimate.
        const int declared = int_at(object_at(block, "text_cfg"), "layers", c.hidden_size == 1024 ? 24 : c.num_hidden_layers);
        c.skip_layers = layer == "penultimate" && c.num_hidden_layers >= declared ? 1 : 0;
        c.final_norm = !contains(target, "FrozenOpenCLIPEmbedder2") || flag_at(params, "legacy", true);
        return true;
    }
    c.skip_layers = 0;
    c.final_norm = true;
    if (layer == "hidden") {
        // transformers' hidden_states[k] is the output of k layers.
        const int index_of_layer = int_at(params, "layer_idx", c.num_hidden_layers);
        if (index_of_layer < 1 || index_of_layer > c.num_hidden_layers) {
            throw Error(ErrorCode::model_format, "\"layer_idx\" of the text encoder lies outside its layers");
        }
        c.skip_layers = c.num_hidden_layers - index_of_layer;
        c.final_norm = false;
    }
    if (detection.unknown.erase(at + "hiddenAct")) c.hidden_act = "quick_gelu";
    return true;
}

void apply_conditioning(Detection & detection, const Json & params, const Json & block) {
    ModelSpec & spec = detection.spec;
    const auto found = params.find("cond_stage_config");
    const std::string special = found != params.end() && found->is_string() ? found->get<std::string>() : "";
    const Json stage = found != params.end() && found->is_object() ? *found : Json();
    const std::string target = text_at(stage, "target");
    const Json stage_params = object_at(stage, "params");
    const std::string key = text_at(params, "conditioning_key", flag_at(params, "concat_mode", true) ? "concat" : "crossattn");
    spec.conditioning_key = special == "__is_unconditional__" ? "none" : key == "hybrid-adm" ? "hybrid" : key;
    if (spec.conditioning_key == "crossattn-adm") spec.conditioning_key = "crossattn";

    ConditionerConfig other;
    other.prefix = "cond_stage_model.";
    other.role = spec.conditioning_key == "concat" ? "concat" : "crossattn";
    const bool has_one = !spec.conditioners.empty();
    if (special == "__is_unconditional__") {
        spec.kind = "unconditional";
        spec.conditioners.clear();
    } else if (special == "__is_first_stage__") {
        spec.kind = "inpaint";
        other.kind = "first_stage", other.input = "image";
        spec.conditioners = {other};
    } else if (apply_clip_class(detection, 0, target, stage_params, block)) {
        const bool concat = spec.unet && spec.unet->in_channels > spec.unet->out_channels;
        const int extra = spec.unet ? spec.unet->in_channels - spec.unet->out_channels : 0;
        spec.kind = !concat                                     ? "text"
                    : extra == spec.unet->out_channels + 1      ? "inpaint"
                    : spec.unet->class_embedding == "embedding" ? "superres"
                                                                : "text";
    } else if (contains(target, "BERTEmbedder")) {
        const bool layout = !flag_at(stage_params, "use_tokenizer", true);
        spec.kind = layout ? "layout" : "text";
        if (has_one)
            spec.conditioners[0].kind = layout ? "layout" : "bert_text",
            spec.conditioners[0].input = layout ? "layout" : "prompt";
    } else if (contains(target, "ClassEmbedder")) {
        spec.kind = "class";
    } else if (contains(target, "SpatialRescaler")) {
        spec.kind = "semantic";
        if (has_one) spec.conditioners[0].params["stages"] = int_at(stage_params, "n_stages", 1);
    } else if (contains(target, "Identity")) {
        const bool concat = spec.conditioning_key == "concat";
        spec.kind = concat ? "superres" : "rdm";
        other.kind = concat ? "identity" : "external", other.input = concat ? "image" : "embeddings";
        spec.conditioners = {other};
    } else if (!target.empty()) {
        unknown_class(target, "conditioner", "FrozenCLIPEmbedder");
    }
}

/// sgm: a list of embedders, of which only the text towers have weights.
void apply_embedders(Detection & detection, const Json & conditioner_config, const Json & config) {
    const Json params = object_at(conditioner_config, "params");
    const auto list = params.is_object() ? params.find("emb_models") : params.end();
    if (list == params.end() || !list->is_array() || list->size() > 32) return;
    size_t index = 0;
    for (const Json & embedder : *list) {
        if (!embedder.is_object()) continue;
        const std::string target = text_at(embedder, "target");
        const Json block = object_at(config, target.find("OpenCLIP") == std::string::npos ? "text_encoder" : "text_encoder_2");
        if (apply_clip_class(detection, index, target, object_at(embedder, "params"), block)) ++index;
    }
    detection.spec.conditioning_key = "crossattn";
    detection.spec.kind = "text";
}

/// What the reference classes say by themselves, with the nearest family for models that no table knows.
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
    if (spec.unet && !unet.is_null()) apply_unet(detection, object_at(unet, "params"));
    if (const Json stage = object_at(params, "first_stage_config"); spec.first_stage && !stage.is_null()) {
        apply_first_stage(detection, text_at(stage, "target"), object_at(stage, "params"));
    }
    apply_text_encoder(detection, 0, object_at(config, "text_encoder"));
    if (config.contains("text_encoder_2"))
        apply_text_encoder(detection, config.contains("text_encoder") ? 1 : 0, object_at(config, "text_encoder_2"));
    if (!spec.unet) return;

    if (sgm) {
        apply_embedders(detection, object_at(params, "conditioner_config"), config);
    } else {
        apply_conditioning(detection, params, object_at(config, "text_encoder"));
    }
    NoiseSchedule & schedule = spec.schedule;
    if (model.betas.empty() || params.contains("linear_start")) {
        schedule.beta_start = number_at(params, "linear_start", sgm ? 0.00085 : 0.0001);
        schedule.beta_end = number_at(params, "linear_end", sgm ? 0.012 : 0.02);
        schedule.timesteps = int_at(params, "timesteps", 1000);
        const std::string form = text_at(params, "beta_schedule", "linear");  // "linear" is linear in the roots there
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
    if (sgm && contains(object_at(params, "denoiser_config").dump(), "VScaling")) spec.prediction = Prediction::v;
    spec.use_ema = flag_at(params, "use_ema", !sgm) && model.ema_tensors > 0;
    const int latent_size = int_at(params, "image_size", 0), factor = spec.first_stage ? spec.first_stage->downsampling() : 8;
    if (latent_size > 0 && latent_size < 8192) spec.image_size = latent_size * factor;
    name_family(spec, known_before);
    apply_kind_defaults(spec);
}

}  // namespace latent::formats
