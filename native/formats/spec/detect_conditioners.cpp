#include <algorithm>

#include "core/conditioner_params.h"
#include "formats/spec/detect.h"

namespace latent::formats {

namespace {

bool has(const TensorSource & tensors, const char * name) {
    return tensors.has(std::string(cond_prefix) + name);
}

std::string pointer(const ModelSpec & spec, const char * field) {
    return "/conditioners/" + std::to_string(spec.conditioners.size()) + field;
}

/// The text towers. Heads, activation and padding are not in the weights; they are known for public widths and unknown for
/// others.
void detect_text_towers(const CanonicalModel & model, Detection & found) {
    ModelSpec & spec = found.spec;
    for (size_t i = 0; i < 2; ++i) {
        if (model.text_prefix[i].empty()) continue;
        ConditionerConfig c;
        c.kind = "clip_text";
        c.prefix = model.text_prefix[i];
        c.clip = detect_clip_text(*model.tensors, c.prefix);
        const int width = c.clip.hidden_size;
        const bool public_width = width == 768 || width == 1024 || width == 1280;
        // OpenAI and OpenCLIP use the same names; a file with only CLIP and one of OpenAI's widths is taken for OpenAI's.
        const bool open_ai = model.open_clip[i] && model.bare_clip && (width == 512 || width == 768);
        const bool open_clip = (model.open_clip[i] && !open_ai) || width == 1024 || width == 1280;
        if (public_width || open_ai) {
            c.clip.num_attention_heads = width / 64;
        } else {
            found.unknown.insert(pointer(spec, "/clip/numAttentionHeads"));
        }
        if (open_clip) {
            c.clip.hidden_act = "gelu";
            c.clip.pad_token_id = 0;
            // SD 2 and SDXL read the penultimate layer; diffusers' folders of SD 2 omit the last one.
            const bool cut = width == 1024 && c.clip.num_hidden_layers == 23;
            c.clip.skip_layers = cut || c.clip.num_hidden_layers < 2 ? 0 : 1;
        } else if (open_ai) {
            c.clip.pad_token_id = 0;  // clip.tokenize
        } else if (!public_width) {
            found.unknown.insert(pointer(spec, "/clip/hiddenAct"));
        }
        if (c.prefix.rfind("conditioner.", 0) == 0) {  // SDXL: penultimate layer without the final norm
            c.clip.skip_layers = c.clip.num_hidden_layers > 1 ? 1 : 0;
            c.clip.final_norm = false;
        }
        spec.conditioners.push_back(c);
    }
}

void detect_image_tower(const CanonicalModel & model, Detection & found) {
    if (!model.has_image) return;
    ClipVisionConfig vision = detect_clip_vision(*model.tensors, std::string(image_prefix) + "vision_model.");
    // OpenAI's towers have heads of width 64; ViT-H and bigG are OpenCLIP's, with 16 heads.
    const int width = vision.hidden_size;
    const bool open_clip = width == 1280 || width == 1664;
    vision.hidden_act = open_clip ? "gelu" : "quick_gelu";
    if (open_clip) {
        vision.num_attention_heads = 16;
    } else if (width == 768 || width == 1024 || (model.open_clip_image && width % 64 == 0)) {
        vision.num_attention_heads = width / 64;
    } else {
        found.unknown.insert(pointer(found.spec, "/params/numAttentionHeads"));
    }
    if (!open_clip && width != 768 && width != 1024) found.unknown.insert(pointer(found.spec, "/params/hiddenAct"));
    ConditionerConfig c;
    c.kind = "clip_vision";
    c.prefix = std::string(image_prefix) + "vision_model.";
    c.params = to_json(vision);
    found.spec.conditioners.push_back(std::move(c));
}

void detect_bert_text(const CanonicalModel & model, Detection & found) {
    const std::string prefix = std::string(cond_prefix) + "transformer.";
    const BertConfig bert = detect_bert(*model.tensors, prefix);
    ConditionerConfig c;
    const bool layout = bert.vocab_size == 8192;
    c.kind = layout ? "layout" : "bert_text";
    c.prefix = prefix;
    c.params = to_json(bert);
    if (layout) c.params.update(to_json(LayoutConfig{}));
    if (bert.num_heads * bert.head_dim != bert_inner_width(*model.tensors, prefix))
        found.unknown.insert(pointer(found.spec, "/params/numHeads"));
    found.spec.conditioners.push_back(std::move(c));
}

/// The trained conditioners of the paper's models, recognised by their tensors.
bool detect_trained(const CanonicalModel & model, Detection & found) {
    const TensorSource & tensors = *model.tensors;
    ConditionerConfig c;
    c.prefix = cond_prefix;
    if (has(tensors, "transformer.token_emb.weight")) {
        detect_bert_text(model, found);
    } else if (has(tensors, "embedding.weight")) {
        c.kind = "class";
        c.params = to_json(detect_classes(tensors, cond_prefix));
        found.spec.conditioners.push_back(std::move(c));
    } else if (has(tensors, "channel_mapper.weight")) {
        RescalerConfig rescaler = detect_rescaler(tensors, cond_prefix);
        // The label map is reduced to the size of the latents.
        for (rescaler.stages = 0; 1 << rescaler.stages < found.spec.downsampling();) ++rescaler.stages;
        c.kind = "spatial_rescaler";
        c.role = "concat";
        c.params = to_json(rescaler);
        found.spec.conditioners.push_back(std::move(c));
    } else {
        return false;
    }
    return true;
}

/// Conditioners without tensors: concatenated to the latents, or given from outside.
void detect_untrained(const CanonicalModel & model, ModelSpec & spec) {
    ConditionerConfig c;
    c.prefix = cond_prefix;
    c.role = "concat";
    const bool concat = spec.conditioning_key == "concat";
    if (spec.kind == "inpaint" && concat) {
        c.kind = "first_stage";
    } else if (spec.kind == "superres" && concat) {
        c.kind = "identity";
    } else if (spec.kind == "superres") {
        LowScaleConfig low_scale;  // defaults of the public x4 upscaler, unless its buffers differ
        low_scale.schedule.beta_start = 0.0001;
        low_scale.schedule.beta_end = 0.02;
        use_betas(low_scale.schedule, model.low_scale_betas);
        low_scale.max_noise_level = std::min(low_scale.max_noise_level, low_scale.schedule.timesteps - 1);
        low_scale.noise_level = std::min(low_scale.noise_level, low_scale.max_noise_level);
        c.kind = "low_scale";
        c.prefix = "";
        c.params = to_json(low_scale);
    } else if (spec.kind == "rdm") {
        c.kind = "external";
        c.role = "crossattn";
    } else {
        return;
    }
    spec.conditioners.push_back(std::move(c));
}

}  // namespace

void detect_conditioners(const CanonicalModel & model, Detection & found) {
    detect_text_towers(model, found);
    if (found.spec.unet && !detect_trained(model, found)) detect_untrained(model, found.spec);
    detect_image_tower(model, found);
}

}  // namespace latent::formats
