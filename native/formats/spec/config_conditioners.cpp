#include <algorithm>

#include "formats/spec/config.h"

namespace latent::formats {

bool mentions(const std::string & text, const char * part) {
    return text.find(part) != std::string::npos;
}

void unknown_class(const std::string & target, const char * what, const char * nearest) {
    throw Error(ErrorCode::unsupported_model,
                std::string("The configuration names a ") + what + " that is not supported: " + target,
                Json{{"found", target}, {"nearest", nearest}}.dump(-1, ' ', false, Json::error_handler_t::replace));
}

namespace {

/// Classes of ldm.modules.encoders and sgm.modules.encoders that read a prompt through CLIP.
/// `block` is the tower's own configuration, or null.
bool apply_clip_class(Detection & detection, size_t index, const std::string & target, const Json & params, const Json & block) {
    if (!mentions(target, "FrozenCLIPEmbedder") && !mentions(target, "FrozenOpenCLIPEmbedder")) return false;
    if (index >= detection.spec.conditioners.size()) return true;  // the text encoder is in another file, or absent
    ClipTextConfig & c = detection.spec.conditioners[index].clip;
    const std::string layer = text_at(params, "layer", "last");
    const std::string at = "/conditioners/" + std::to_string(index) + "/clip/";
    if (mentions(target, "FrozenOpenCLIPEmbedder")) {
        c.hidden_act = "gelu";
        c.pad_token_id = 0;
        detection.unknown.erase(at + "hiddenAct");
        // diffusers' folders of SD 2 omit the unused last layer, so their last layer is the penultimate one.
        const int declared = int_at(object_at(block, "text_cfg"), "layers", c.hidden_size == 1024 ? 24 : c.num_hidden_layers);
        c.skip_layers = layer == "penultimate" && c.num_hidden_layers >= declared ? 1 : 0;
        c.final_norm = !mentions(target, "FrozenOpenCLIPEmbedder2") || flag_at(params, "legacy", true);
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

/// Replaces the trained conditioners by one without tensors; CLIP towers, which come from other files, stay.
void set_untrained(ModelSpec & spec, const char * kind, const char * role) {
    ConditionerConfig c;
    c.kind = kind, c.role = role;
    c.prefix = cond_prefix;
    auto & list = spec.conditioners;
    const auto is_clip = [](const ConditionerConfig & one) { return one.kind == "clip_text" || one.kind == "clip_vision"; };
    list.erase(std::remove_if(list.begin(), list.end(), [&](const ConditionerConfig & one) { return !is_clip(one); }),
               list.end());
    const auto after =
        std::find_if(list.begin(), list.end(), [](const ConditionerConfig & one) { return one.kind == "clip_vision"; });
    list.insert(after, std::move(c));
}

ConditionerConfig * find_conditioner(ModelSpec & spec, std::initializer_list<const char *> kinds) {
    for (ConditionerConfig & c : spec.conditioners) {
        for (const char * kind : kinds) {
            if (c.kind == kind) return &c;
        }
    }
    return nullptr;
}

/// BERTEmbedder, or TransformerEmbedder, which takes token ids directly; `encoding`: how boxes become tokens, as in
/// taming-transformers.
void apply_bert_class(ModelSpec & spec, const std::string & target, const Json & params, const Json & encoding) {
    const bool layout = mentions(target, "TransformerEmbedder") || !flag_at(params, "use_tokenizer", true);
    spec.kind = layout ? "layout" : "text";
    ConditionerConfig * c = find_conditioner(spec, {"bert_text", "layout"});
    if (!c) return;  // in another file, or absent
    c->kind = layout ? "layout" : "bert_text";
    BertConfig bert = bert_config(c->params);
    bert.hidden_size = int_at(params, "n_embed", bert.hidden_size);
    bert.num_layers = int_at(params, "n_layer", bert.num_layers);
    bert.vocab_size = int_at(params, "vocab_size", bert.vocab_size);
    bert.max_length = int_at(params, "max_seq_len", bert.max_length);
    LayoutConfig boxes = layout_config(c->params);
    boxes.classes = int_at(encoding, "no_object_classes", boxes.classes);
    boxes.group_flag = flag_at(encoding, "use_group_parameter", boxes.group_flag);
    boxes.attribute_flags = flag_at(encoding, "use_additional_parameters", boxes.attribute_flags);
    c->params.update(to_json(bert));
    if (layout) c->params.update(to_json(boxes));
}

void apply_rescaler_class(ModelSpec & spec, const Json & params) {
    spec.kind = "semantic";
    if (text_at(params, "method", "bilinear") != "bilinear" || number_at(params, "multiplier", 0.5) != 0.5) {
        throw Error(ErrorCode::unsupported_model, "A SpatialRescaler that does not halve bilinearly is not supported",
                    Json{{"found", "SpatialRescaler"}, {"nearest", "semantic synthesis (n_stages 2)"}}.dump());
    }
    if (ConditionerConfig * c = find_conditioner(spec, {"spatial_rescaler"})) c->params["stages"] = int_at(params, "n_stages", 1);
}

/// ImageConcatWithNoiseAugmentation of the x4 upscaler.
void apply_low_scale(ModelSpec & spec, const Json & low_scale, const CanonicalModel & model) {
    ConditionerConfig * c = find_conditioner(spec, {"low_scale"});
    if (!c || low_scale.is_null()) return;
    const Json params = object_at(low_scale, "params"), schedule = object_at(params, "noise_schedule_config");
    LowScaleConfig config = low_scale_config(c->params);
    if (model.low_scale_betas.empty() || schedule.contains("linear_start")) {
        config.schedule.beta_start = number_at(schedule, "linear_start", 0.0001);
        config.schedule.beta_end = number_at(schedule, "linear_end", 0.02);
        config.schedule.timesteps = int_at(schedule, "timesteps", 1000);
        config.schedule.betas.clear();
        if (text_at(schedule, "beta_schedule", "linear") != "linear")
            unknown_class(text_at(schedule, "beta_schedule"), "noise schedule", "linear");
    }
    config.max_noise_level = std::min(int_at(params, "max_noise_level", 1000), config.schedule.timesteps - 1);
    config.noise_level = std::min(config.noise_level, config.max_noise_level);
    c->params.update(to_json(config));
}

/// The kind of a model with a CLIP text encoder, from the U-Net's extra input channels.
const char * kind_with_clip(const ModelSpec & spec) {
    const int extra = spec.unet ? spec.unet->in_channels - spec.unet->out_channels : 0;
    if (extra <= 0) return "text";
    if (extra == spec.unet->out_channels + 1) return "inpaint";
    if (spec.unet->class_embedding == "embedding") return "superres";
    if (extra == 1) return "depth";
    return extra == spec.unet->out_channels ? "edit" : "text";
}

}  // namespace

void apply_clip_config(Detection & detection, size_t index, const Json & block) {
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

void apply_vision_config(Detection & detection, const Json & block) {
    if (block.is_null()) return;
    ModelSpec & spec = detection.spec;
    for (size_t i = 0; i < spec.conditioners.size(); ++i) {
        ConditionerConfig & conditioner = spec.conditioners[i];
        if (conditioner.kind != "clip_vision") continue;
        ClipVisionConfig c = clip_vision_config(conditioner.params);
        c.hidden_size = int_at(block, "hidden_size", c.hidden_size);
        c.intermediate_size = int_at(block, "intermediate_size", c.intermediate_size);
        c.num_hidden_layers = int_at(block, "num_hidden_layers", c.num_hidden_layers);
        c.num_attention_heads = int_at(block, "num_attention_heads", 12);  // CLIPVisionConfig's defaults
        c.hidden_act = text_at(block, "hidden_act", "quick_gelu");
        c.layer_norm_eps = number_at(block, "layer_norm_eps", 1e-5);
        c.image_size = int_at(block, "image_size", c.image_size);
        c.patch_size = int_at(block, "patch_size", c.patch_size);
        conditioner.params.update(to_json(c));
        const std::string at = "/conditioners/" + std::to_string(i) + "/params/";
        detection.unknown.erase(at + "numAttentionHeads");
        detection.unknown.erase(at + "hiddenAct");
    }
}

void apply_conditioning(Detection & detection, const Json & params, const Json & config, const CanonicalModel & model) {
    ModelSpec & spec = detection.spec;
    const auto found = params.find("cond_stage_config");
    const std::string special = found != params.end() && found->is_string() ? found->get<std::string>() : "";
    const Json stage = found != params.end() && found->is_object() ? *found : Json();
    const std::string target = text_at(stage, "target");
    const Json stage_params = object_at(stage, "params");
    const std::string key = text_at(params, "conditioning_key", flag_at(params, "concat_mode", true) ? "concat" : "crossattn");
    spec.conditioning_key = special == "__is_unconditional__" ? "none" : key == "hybrid-adm" ? "hybrid" : key;
    if (spec.conditioning_key == "crossattn-adm") spec.conditioning_key = "crossattn";

    if (special == "__is_unconditional__") {
        spec.kind = "unconditional";
        spec.conditioners.clear();
    } else if (special == "__is_first_stage__") {
        spec.kind = "inpaint";
        set_untrained(spec, "first_stage", "concat");
    } else if (apply_clip_class(detection, 0, target, stage_params, object_at(config, "text_encoder"))) {
        spec.kind = kind_with_clip(spec);
    } else if (mentions(target, "BERTEmbedder") || mentions(target, "TransformerEmbedder")) {
        apply_bert_class(spec, target, stage_params, object_at(config, "layout_encoding"));
    } else if (mentions(target, "ClassEmbedder")) {
        spec.kind = "class";
    } else if (mentions(target, "SpatialRescaler")) {
        apply_rescaler_class(spec, stage_params);
    } else if (mentions(target, "Identity")) {
        const bool concat = spec.conditioning_key == "concat";
        spec.kind = concat ? "superres" : "rdm";
        set_untrained(spec, concat ? "identity" : "external", concat ? "concat" : "crossattn");
    } else if (!target.empty()) {
        unknown_class(target, "conditioner", "FrozenCLIPEmbedder");
    }
    apply_low_scale(spec, object_at(params, "low_scale_config"), model);
}

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
    detection.spec.kind = kind_with_clip(detection.spec);
    detection.spec.conditioning_key = detection.spec.kind == "text" ? "crossattn" : "hybrid";
}

}  // namespace latent::formats
