#include <algorithm>

#include "formats/spec/config.h"
#include "formats/spec/few_step.h"

namespace latent::formats {

namespace {

bool is_list(const Json & object, const char * key) {
    return object.contains(key) && object.at(key).is_array();
}

void apply_unet_config(Detection & detection, const Json & config) {
    UNetConfig & c = *detection.spec.unet;
    const std::string name = text_at(config, "_class_name");
    c.in_channels = int_at(config, "in_channels", c.in_channels);
    c.out_channels = int_at(config, "out_channels", c.out_channels);
    const std::vector<int> channels = ints_at(config, "block_out_channels", {});
    const int base = channels.empty() ? c.model_channels : channels[0];
    if (base > 0 && !channels.empty()) {
        c.model_channels = base;
        c.channel_mult.clear();
        for (const int size : channels) {
            if (size % base != 0) {
                throw Error(ErrorCode::unsupported_model,
                            "unet/config.json: block_out_channels are not multiples of the first one",
                            Json{{"found", "block_out_channels"}, {"nearest", "latent diffusion U-Net"}}.dump());
            }
            c.channel_mult.push_back(size / base);
        }
    }
    // These settings select different arithmetic, which the weights do not show.
    const bool plain = int_at(config, "norm_num_groups", 32) == 32 && number_at(config, "norm_eps", 1e-5) == 1e-5 &&
                       text_at(config, "act_fn", "silu") == "silu" && flag_at(config, "flip_sin_to_cos", true) &&
                       number_at(config, "freq_shift", 0) == 0 && !flag_at(config, "center_input_sample", false) &&
                       number_at(config, "mid_block_scale_factor", 1) == 1 && int_at(config, "downsample_padding", 1) == 1 &&
                       !flag_at(config, "dual_cross_attention", false) &&
                       text_at(config, "time_embedding_type", "positional") == "positional" &&
                       text_at(config, "timestep_post_act").empty() && number_at(config, "resnet_out_scale_factor", 1) == 1 &&
                       !flag_at(config, "resnet_skip_time_act", false) && text_at(config, "time_embedding_act_fn").empty();
    if (!plain) {
        throw Error(
            ErrorCode::unsupported_model,
            "unet/config.json selects a normalisation, activation, time embedding or scaling that latent diffusion does not use",
            Json{{"found", name.empty() ? "diffusers U-Net" : name}, {"nearest", "UNet2DConditionModel of Stable Diffusion"}}
                .dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    if (name == "UNet2DModel") {
        c.num_head_channels = int_at(config, "attention_head_dim", 8);
        c.heads_per_level.clear();
    } else {
        // attention_head_dim is the number of heads here, unless num_attention_heads is given.
        const bool proper = config.contains("num_attention_heads") && !config.at("num_attention_heads").is_null();
        const char * key = proper ? "num_attention_heads" : "attention_head_dim";
        const std::vector<int> heads = ints_at(config, key, {8});
        c.num_head_channels = -1;
        c.heads_per_level.clear();
        if (is_list(config, key) && heads.size() > 1) {
            c.heads_per_level = heads;
        } else {
            c.num_heads = heads.empty() ? 8 : heads[0];
        }
    }
    detection.unknown.erase("/unet/numHeads");
    const int sample_size = int_at(config, "sample_size", 0),
              factor = detection.spec.first_stage ? detection.spec.first_stage->downsampling() : 8;
    if (sample_size > 0 && sample_size <= 8192) detection.spec.image_size = sample_size * factor;
}

/// A tiny autoencoder works on scaled latents, those of the denoising network.
void apply_tiny_vae(const Json & config) {
    const double shift = number_at(config, "latent_shift", 0.5), magnitude = number_at(config, "latent_magnitude", 3);
    if (shift == 0.5 && magnitude == 3 && text_at(config, "act_fn", "relu") == "relu" &&
        number_at(config, "scaling_factor", 1.0) == 1.0 && number_at(config, "shift_factor", 0.0) == 0.0) {
        return;
    }
    throw Error(ErrorCode::unsupported_model, "vae/config.json describes a tiny autoencoder that differs from TAESD",
                Json{{"found", "vae/config.json"}, {"nearest", "TAESD"}}.dump());
}

/// latents_mean or latents_std of a first stage, per channel; empty if there is none.
std::vector<double> statistics_at(const Json & config, const char * key) {
    if (!config.contains(key) || config.at(key).is_null()) return {};
    std::vector<double> values;
    if (is_list(config, key) && config.at(key).size() <= 1024) {
        for (const Json & value : config.at(key)) {
            if (value.is_number()) values.push_back(value.get<double>());
        }
        if (values.size() == config.at(key).size()) return values;
    }
    throw Error(ErrorCode::model_format, std::string("vae/config.json: ") + key + " must be a list of numbers");
}

void apply_vae(Detection & detection, const Json & config) {
    ModelSpec & spec = detection.spec;
    AutoencoderConfig & c = *spec.first_stage;
    if (c.kind == "tiny") return apply_tiny_vae(config);
    if (int_at(config, "norm_num_groups", 32) != 32 || text_at(config, "act_fn", "silu") != "silu") {
        throw Error(ErrorCode::unsupported_model,
                    "vae/config.json selects a normalisation or activation that latent diffusion does not use",
                    Json{{"found", "vae/config.json"}, {"nearest", "AutoencoderKL"}}.dump());
    }
    if (config.contains("shift_factor") && !config.at("shift_factor").is_null() && number_at(config, "shift_factor", 0) != 0) {
        throw Error(ErrorCode::unsupported_model, "A first stage with a shift_factor belongs to Stable Diffusion 3 or Flux",
                    Json{{"found", "shift_factor"}, {"nearest", "AutoencoderKL"}}.dump());
    }
    c.z_channels = int_at(config, "latent_channels", c.z_channels);
    spec.latents_mean = statistics_at(config, "latents_mean");
    spec.latents_std = statistics_at(config, "latents_std");
    if (config.contains("scaling_factor") && !config.at("scaling_factor").is_null()) {
        spec.scale_factor = number_at(config, "scaling_factor", spec.scale_factor);
        detection.unknown.erase("/scaleFactor");
    } else if (c.kind == "vq") {
        spec.scale_factor = 1.0;  // not the library's default 0.18215: VQ latents are not scaled
        detection.unknown.erase("/scaleFactor");
    } else if (spec.unet) {
        spec.scale_factor = 0.18215;  // AutoencoderKL's default
        detection.unknown.erase("/scaleFactor");
    }
}

/// Statistics belong to the latents of the U-Net, whichever first stage takes the place of the model's own.
void apply_statistics(Detection & detection, const Json & config) {
    if (!config.is_object() || !config.contains("latents_mean") || config.at("latents_mean").is_null()) return;
    detection.spec.latents_mean = statistics_at(config, "latents_mean");
    detection.spec.latents_std = statistics_at(config, "latents_std");
    detection.spec.scale_factor = number_at(config, "scaling_factor", detection.spec.scale_factor);
    detection.unknown.erase("/scaleFactor");
}

NoiseSchedule schedule_of(const Json & config) {
    NoiseSchedule s;
    s.timesteps = int_at(config, "num_train_timesteps", 1000);
    s.beta_start = number_at(config, "beta_start", 0.0001);
    s.beta_end = number_at(config, "beta_end", 0.02);
    s.beta_schedule = text_at(config, "beta_schedule", "linear");
    s.zero_terminal_snr = flag_at(config, "rescale_betas_zero_snr", false);
    const auto trained = config.find("trained_betas");
    if (trained != config.end() && trained->is_array()) {
        if (trained->size() > 100000)
            throw Error(ErrorCode::model_format, "scheduler_config.json: trained_betas has too many entries");
        for (const Json & beta : *trained) {
            if (!beta.is_number()) throw Error(ErrorCode::model_format, "scheduler_config.json: trained_betas must be numbers");
            s.betas.push_back(beta.get<double>());
        }
        s.timesteps = static_cast<int>(s.betas.size());
    }
    return s;
}

/// EDMEulerScheduler, EDMDPMSolverMultistepScheduler: "epsilon" stands for EDM's preconditioning there.
void apply_edm_scheduler(ModelSpec & spec, const Json & config) {
    EdmSchedule edm;
    edm.sigma_min = number_at(config, "sigma_min", edm.sigma_min);
    edm.sigma_max = number_at(config, "sigma_max", edm.sigma_max);
    edm.sigma_data = number_at(config, "sigma_data", edm.sigma_data);
    spec.schedule.edm = edm;
    if (spec.prediction == Prediction::eps) spec.prediction = Prediction::edm;
}

void apply_scheduler(Detection & detection, const Json & config) {
    detection.spec.schedule = schedule_of(config);
    detection.spec.prediction = prediction_from_name(text_at(config, "prediction_type", "epsilon"));
    if (text_at(config, "_class_name").rfind("EDM", 0) == 0) apply_edm_scheduler(detection.spec, config);
    detection.unknown.erase("/schedule");
}

/// The id that pads a prompt. CLIPTextConfig's own field is 1 in most files, which no tokenizer uses.
int pad_token(const Json & config, const Json & tokenizer, const ClipTextConfig & c) {
    if (tokenizer.is_object() && tokenizer.contains("pad_token")) {
        const Json & pad = tokenizer.at("pad_token");
        const std::string text = pad.is_string() ? pad.get<std::string>() : pad.is_object() ? text_at(pad, "content") : "";
        if (text == "!") return 0;
        if (text == "<|endoftext|>") return c.eos_token_id;
    }
    const int stored = int_at(config, "pad_token_id", 1);
    return stored != 1 ? stored : c.hidden_act == "gelu" ? 0 : c.eos_token_id;
}

void apply_text_encoder(Detection & detection, size_t index, const Json & config, const Json & tokenizer) {
    if (config.is_null() || index >= detection.spec.conditioners.size()) return;
    if (detection.spec.conditioners[index].kind != "clip_text") return;
    ClipTextConfig & c = detection.spec.conditioners[index].clip;
    const std::string at = "/conditioners/" + std::to_string(index) + "/clip/";
    const Json inner = object_at(config, "text_config");  // the configuration of a whole CLIPModel
    const Json & t = inner.is_null() ? config : inner;
    c.num_attention_heads = int_at(t, "num_attention_heads", 12);
    c.hidden_act = text_at(t, "hidden_act", "quick_gelu");
    c.layer_norm_eps = number_at(t, "layer_norm_eps", 1e-5);
    c.num_hidden_layers = int_at(t, "num_hidden_layers", c.num_hidden_layers);
    const int bos = int_at(t, "bos_token_id", 0), eos = int_at(t, "eos_token_id", 2);
    if (!(bos == 0 && eos == 2)) c.bos_token_id = bos, c.eos_token_id = eos;  // 0 and 2 are a default that no CLIP uses
    c.pad_token_id = pad_token(t, tokenizer, c);
    // Folders of SD 2 omit the tower's last layer; the remaining layers are the ones used.
    const bool sdxl = detection.spec.conditioners[index].prefix.rfind("conditioner.", 0) == 0;
    if (!sdxl) c.skip_layers = 0, c.final_norm = true;
    detection.unknown.erase(at + "numAttentionHeads");
    detection.unknown.erase(at + "hiddenAct");
}

/// LDMBertModel of diffusers' LDMTextToImagePipeline.
void apply_bert(Detection & detection, const Json & config) {
    ModelSpec & spec = detection.spec;
    for (size_t i = 0; i < spec.conditioners.size(); ++i) {
        ConditionerConfig & c = spec.conditioners[i];
        if (c.kind != "bert_text" && c.kind != "layout") continue;
        if (text_at(config, "activation_function", "gelu") != "gelu")
            unknown_class(text_at(config, "activation_function"), "text encoder's activation", "gelu");
        BertConfig bert = bert_config(c.params);
        bert.num_heads = int_at(config, "encoder_attention_heads", bert.num_heads);
        bert.head_dim = int_at(config, "head_dim", bert.head_dim);
        bert.num_layers = int_at(config, "encoder_layers", bert.num_layers);
        bert.hidden_size = int_at(config, "d_model", bert.hidden_size);
        bert.intermediate_size = int_at(config, "encoder_ffn_dim", bert.intermediate_size);
        c.params.update(to_json(bert));
        c.kind = "bert_text";
        detection.unknown.erase("/conditioners/" + std::to_string(i) + "/params/numHeads");
    }
}

/// StableDiffusionUpscalePipeline's noise on the low-resolution image.
void apply_low_res_scheduler(ModelSpec & spec, const DiffusersConfigs & configs) {
    for (ConditionerConfig & c : spec.conditioners) {
        if (c.kind != "low_scale") continue;
        LowScaleConfig low_scale = low_scale_config(c.params);
        if (!configs.low_res_scheduler.is_null()) low_scale.schedule = schedule_of(configs.low_res_scheduler);
        const int steps = low_scale.schedule.timesteps;
        low_scale.max_noise_level = std::min(int_at(configs.index, "max_noise_level", low_scale.max_noise_level), steps - 1);
        low_scale.noise_level = std::min(low_scale.noise_level, low_scale.max_noise_level);
        c.params.update(to_json(low_scale));
    }
}

void apply_index(ModelSpec & spec, const Json & index) {
    const std::string name = text_at(index, "_class_name");
    if (name == "LDMPipeline") spec.kind = "unconditional", spec.family = "ldm";
    if (name == "LDMTextToImagePipeline") spec.kind = "text", spec.family = "ldm";
    if (name == "LDMSuperResolutionPipeline") spec.kind = "superres", spec.family = "ldm";
    if (name.find("StableUnCLIP") != std::string::npos || name.find("StableDiffusion3") != std::string::npos ||
        name.find("Flux") != std::string::npos) {
        throw Error(
            ErrorCode::unsupported_model, "A diffusers " + name + " is not supported",
            Json{{"found", name}, {"nearest", "StableDiffusionPipeline"}}.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
}

}  // namespace

bool DiffusersConfigs::any() const {
    return !index.is_null() || !unet.is_null() || !vae.is_null() || !scheduler.is_null() || !text_encoder.is_null() ||
           !text_encoder_2.is_null();
}

int DiffusersConfigs::attention_head_dim() const {
    return text_at(unet, "_class_name") == "UNet2DModel" ? int_at(unet, "attention_head_dim", 8) : 0;
}

void apply_diffusers_configs(Detection & detection, const DiffusersConfigs & configs) {
    ModelSpec & spec = detection.spec;
    if (spec.unet && !configs.unet.is_null()) apply_unet_config(detection, configs.unet);
    if (spec.first_stage && !configs.vae.is_null()) apply_vae(detection, configs.vae);
    if (spec.unet) apply_statistics(detection, configs.replaced_vae);
    if (!configs.scheduler.is_null()) apply_scheduler(detection, configs.scheduler);
    if (!configs.text_encoder.is_null()) apply_text_encoder(detection, 0, configs.text_encoder, configs.tokenizer);
    if (!configs.text_encoder_2.is_null()) {
        apply_text_encoder(detection, configs.text_encoder.is_null() ? 0 : 1, configs.text_encoder_2, configs.tokenizer_2);
    }
    if (!configs.text_encoder.is_null()) apply_bert(detection, configs.text_encoder);
    const Json vision = object_at(configs.image_encoder, "vision_config");  // the configuration of a whole CLIPModel
    apply_vision_config(detection, vision.is_null() ? configs.image_encoder : vision);
    apply_low_res_scheduler(spec, configs);
    if (!configs.index.is_null()) apply_index(spec, configs.index);
    if (!spec.unet) return;
    apply_kind_defaults(spec);
    apply_scheduler_defaults(spec, configs.scheduler);
}

}  // namespace latent::formats
