#include "formats/detect.h"

#include <algorithm>
#include <cmath>

namespace latent::formats {

namespace {

constexpr int any = -1;

/// A public model by what can be seen of it (ldm-systems sections 3, 9-11 and 14), and what cannot.
struct KnownModel {
    int model_channels, in_channels, out_channels, context_dim;  // context 0: no cross-attention
    UNetAttention attention;
    int linear;             // 1: Linear projections, 0: convolutions, any
    std::vector<int> mult;  // empty: any
    const char * name;
    const char * family;
    const char * kind;
    const char * conditioning_key;
    int heads, head_channels;
    double scale_factor, beta_start, beta_end;
    Prediction prediction;
    int image_size;
    bool ema_by_default;     // the reference script samples with the EMA weights where the file has them
    bool heads_are_certain;  // against the public yaml
};

constexpr auto st = UNetAttention::spatial_transformer;
constexpr auto ab = UNetAttention::attention_block;
constexpr auto eps = Prediction::eps;

const std::vector<KnownModel> & known_models() {
    static const std::vector<int> sd = {1, 2, 4, 4};
    static const std::vector<KnownModel> models = {
        {320,     4,       4,     768, st,  0,     sd,   "Stable Diffusion 1.x", "sd1", "text", "crossattn", 8, -1,
         0.18215, 0.00085, 0.012, eps, 512, false, false},
        {320,     9,       4,     768, st,  0,     sd,   "Stable Diffusion 1.x inpainting", "sd1", "inpaint", "hybrid", 8, -1,
         0.18215, 0.00085, 0.012, eps, 512, false, false},
        {320,     8,       4,     768, st,  0,     sd,   "InstructPix2Pix", "sd1", "text", "hybrid", 8, -1,
         0.18215, 0.00085, 0.012, eps, 512, false, false},
        {320,     4,       4,     1024, st,  1,     sd,   "Stable Diffusion 2.x", "sd2", "text", "crossattn", 8, 64,
         0.18215, 0.00085, 0.012, eps,  512, false, false},
        {320,     9,       4,     1024, st,  1,     sd,   "Stable Diffusion 2.x inpainting", "sd2", "inpaint", "hybrid", 8, 64,
         0.18215, 0.00085, 0.012, eps,  512, false, false},
        {320,     5,       4,     1024, st,  1,     sd,   "Stable Diffusion 2.x depth", "sd2", "text", "hybrid", 8, 64,
         0.18215, 0.00085, 0.012, eps,  512, false, false},
        {256,           7,          4,        1024, st, 1,       {1, 2, 2, 4}, "Stable Diffusion x4 upscaler",
         "sd2",         "superres", "hybrid", 8,    -1, 0.08333, 0.0001,       0.02,
         Prediction::v, 512,        false,    false},
        {320,         4, 4,  2048,    st,      1,     {1, 2, 4}, "SDXL base", "sdxl", "text",
         "crossattn", 8, 64, 0.13025, 0.00085, 0.012, eps,       1024,        false,  false},
        {320,     9,       4,     2048, st,   1,     {1, 2, 4}, "SDXL inpainting", "sdxl", "inpaint", "hybrid", 8, 64,
         0.13025, 0.00085, 0.012, eps,  1024, false, false},
        {384,         4, 4,  1280,    st,      1,     sd,  "SDXL refiner", "sdxl", "text",
         "crossattn", 8, 64, 0.13025, 0.00085, 0.012, eps, 1024,           false,  false},
        {320,     4,       4,     1280, st,  0,     sd,   "LDM text-to-image (txt2img-1p4B)", "ldm", "text", "crossattn", 8, -1,
         0.18215, 0.00085, 0.012, eps,  256, false, false},
        {224,
         3,
         3,
         0,
         ab,
         any,
         {1, 2, 3, 4},
         "LDM CelebA-HQ / FFHQ / LSUN bedrooms",
         "ldm",
         "unconditional",
         "none",
         8,
         32,
         1.0,
         0.0015,
         0.0195,
         eps,
         256,
         true,
         false},
        {192,    4,      4,   0,   ab,   any,  {1, 2, 2, 4, 4}, "LDM LSUN churches", "ldm", "unconditional", "none", 8, -1, 0,
         0.0015, 0.0155, eps, 256, true, false},
        {256, 4,      4,      512, st,  0,    {1, 2, 4}, "LDM ImageNet (cin256)", "ldm", "class", "crossattn", 1, -1,
         1.0, 0.0015, 0.0195, eps, 256, true, true},
        {192, 3,      3,      512, st,  0,     {1, 2, 3, 5}, "LDM ImageNet (cin256-v2)", "ldm", "class", "crossattn", 1, -1,
         1.0, 0.0015, 0.0195, eps, 256, false, true},
        {192,   3,      3,           640, st, 0,   {1, 2, 3, 5}, "LDM text-to-image (Conceptual Captions)",
         "ldm", "text", "crossattn", 1,   -1, 1.0, 0.0015,       0.0195,
         eps,   256,    true,        true},
        {128,   3,        3,           512, st, 0,   {1, 2, 3, 4}, "LDM layout-to-image (OpenImages)",
         "ldm", "layout", "crossattn", 1,   -1, 1.0, 0.0015,       0.0205,
         eps,   256,      true,        true},
        {128, 6,      3,      0,   ab,  any,  {1, 4, 8}, "LDM semantic synthesis", "ldm", "semantic", "concat", 8, -1,
         1.0, 0.0015, 0.0205, eps, 256, true, false},
        {160, 6,      3,      0,   ab,  any,  {1, 2, 2, 4}, "LDM super-resolution (bsr_sr)", "ldm", "superres", "concat", 8, 32,
         1.0, 0.0015, 0.0155, eps, 256, true, false},
        {256, 7,      3,      0,   ab,  any,  {1, 2, 3, 4}, "LDM inpainting (big)", "ldm", "inpaint", "concat", 8, -1,
         1.0, 0.0015, 0.0205, eps, 256, true, false},
        {448,         16, 16, 768,        st,     0,     {1, 2, 3, 4}, "RDM 768", "ldm", "rdm",
         "crossattn", 8,  32, 0.22765929, 0.0015, 0.015, eps,          768,       true,  false},
    };
    return models;
}

const KnownModel * known_model(const UNetConfig & c) {
    for (const KnownModel & m : known_models()) {
        const int context = c.attention == st ? c.context_dim : 0;
        if (m.model_channels == c.model_channels && m.in_channels == c.in_channels && m.out_channels == c.out_channels &&
            m.context_dim == context && m.attention == c.attention && m.mult == c.channel_mult && c.num_res_blocks == 2 &&
            (m.linear == any || (m.linear == 1) == c.use_linear_in_transformer)) {
            return &m;
        }
    }
    return nullptr;
}

void apply_known(ModelSpec & spec, const KnownModel & m) {
    spec.name = m.name;
    spec.family = m.family;
    spec.kind = m.kind;
    spec.conditioning_key = m.conditioning_key;
    spec.unet->num_heads = m.heads;
    spec.unet->num_head_channels = m.head_channels;
    if (m.scale_factor > 0) spec.scale_factor = m.scale_factor;
    spec.schedule.beta_start = m.beta_start;
    spec.schedule.beta_end = m.beta_end;
    spec.prediction = m.prediction;
    spec.image_size = m.image_size;
}

/// SD 2.x at 768 pixels was trained to predict v, at 512 eps, with the same shapes. The spread of one bias tells them apart.
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

/// The training buffer says start, end and form exactly; a table that is neither form is kept as it is.
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
    // Stored as float32 or float16: five significant figures give the configured value back.
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

const TensorInfo * conditioner_tensor(const TensorSource & tensors, const char * name) {
    return tensors.find(std::string("cond_stage_model.") + name);
}

ConditionerConfig bert_conditioner(const TensorSource & tensors, const TensorInfo & embedding) {
    ConditionerConfig c;
    c.prefix = "cond_stage_model.transformer.";
    int layers = 0;
    while (layers < 256 && tensors.has(c.prefix + "attn_layers.layers." + std::to_string(2 * layers) + ".1.to_q.weight"))
        ++layers;
    const TensorInfo * positions = conditioner_tensor(tensors, "transformer.pos_emb.emb.weight");
    const int64_t vocabulary = embedding.shape.empty() ? 0 : embedding.shape[0];
    c.kind = vocabulary == 8192 ? "layout" : "bert_text";
    c.input = vocabulary == 8192 ? "layout" : "prompt";
    c.params = {{"vocabSize", vocabulary},
                {"hiddenSize", embedding.shape.size() == 2 ? embedding.shape[1] : 0},
                {"numLayers", layers},
                {"maxLength", positions && !positions->shape.empty() ? positions->shape[0] : 0}};
    return c;
}

/// Conditioners other than CLIP, by their tensors.
void detect_other_conditioners(const CanonicalModel & model, ModelSpec & spec) {
    const TensorSource & tensors = *model.tensors;
    ConditionerConfig c;
    c.prefix = "cond_stage_model.";
    if (const TensorInfo * embedding = conditioner_tensor(tensors, "transformer.token_emb.weight")) {
        spec.conditioners.push_back(bert_conditioner(tensors, *embedding));
    } else if (const TensorInfo * classes = conditioner_tensor(tensors, "embedding.weight")) {
        c.kind = c.input = "class";
        const int64_t count = classes->shape.empty() ? 0 : classes->shape[0];
        c.params = {{"classes", count}};
        if (count == 1001) c.params["nullClass"] = 1000;
        spec.conditioners.push_back(c);
    } else if (const TensorInfo * mapper = conditioner_tensor(tensors, "channel_mapper.weight")) {
        c.kind = "spatial_rescaler";
        c.input = "labels";
        c.role = "concat";
        c.params = {{"classes", mapper->shape.size() > 1 ? mapper->shape[1] : 0}, {"stages", 2}};
        spec.conditioners.push_back(c);
    } else if (spec.kind == "inpaint" && spec.conditioning_key == "concat") {
        c.kind = "first_stage";
        c.input = "image";
        c.role = "concat";
        spec.conditioners.push_back(c);
    } else if (spec.kind == "superres" && spec.conditioning_key == "concat") {
        c.kind = "identity";
        c.input = "image";
        c.role = "concat";
        spec.conditioners.push_back(c);
    } else if (spec.kind == "rdm") {
        c.kind = "external";
        c.input = "embeddings";
        spec.conditioners.push_back(c);
    }
}

void detect_clip_conditioners(const CanonicalModel & model, Detection & found) {
    ModelSpec & spec = found.spec;
    for (size_t i = 0; i < 2; ++i) {
        if (model.text_prefix[i].empty()) continue;
        ConditionerConfig c;
        c.kind = "clip_text";
        c.prefix = model.text_prefix[i];
        c.clip = detect_clip_text(*model.tensors, c.prefix);
        const std::string at = "/conditioners/" + std::to_string(spec.conditioners.size()) + "/clip/";
        const int width = c.clip.hidden_size;
        const bool public_width = width == 768 || width == 1024 || width == 1280;
        if (public_width) {
            c.clip.num_attention_heads = width / 64;
        } else {
            found.unknown.insert(at + "numAttentionHeads");
        }
        const bool open_clip = model.open_clip[i] || width == 1024 || width == 1280;
        if (open_clip) {
            c.clip.hidden_act = "gelu";
            c.clip.pad_token_id = 0;
            // SD 2 and SDXL read the penultimate layer; diffusers' folders of SD 2 leave the last one out.
            const bool cut = width == 1024 && c.clip.num_hidden_layers == 23;
            c.clip.skip_layers = cut || c.clip.num_hidden_layers < 2 ? 0 : 1;
        } else if (!public_width) {
            found.unknown.insert(at + "hiddenAct");
        }
        if (c.prefix.rfind("conditioner.", 0) == 0) {  // SDXL: penultimate layers as they are
            c.clip.skip_layers = c.clip.num_hidden_layers > 1 ? 1 : 0;
            c.clip.final_norm = false;
        }
        spec.conditioners.push_back(c);
    }
}

/// Where no table knows the U-Net: what its conditioning looks like.
void describe_unknown(const CanonicalModel & model, Detection & found) {
    ModelSpec & spec = found.spec;
    const UNetConfig & c = *spec.unet;
    found.unknown.insert("/unet/numHeads");
    const bool cross = c.attention == st;
    const bool vq = spec.first_stage && spec.first_stage->kind == "vq";
    if (model.betas.empty()) found.unknown.insert("/schedule");
    if (vq) {
        spec.scale_factor = 1.0;
    } else {
        found.unknown.insert("/scaleFactor");
    }
    const bool extra = c.in_channels > c.out_channels;
    spec.conditioning_key = cross ? (extra ? "hybrid" : "crossattn") : (extra ? "concat" : "none");
    spec.kind = cross ? "text" : (extra ? "superres" : "unconditional");
    const bool clip = !model.text_prefix[0].empty();
    if (model.text_prefix[0].rfind("conditioner.", 0) == 0) {
        spec.family = "sdxl", spec.name = "SDXL-like";
    } else if (cross && clip) {
        spec.family = c.use_linear_in_transformer || model.open_clip[0] ? "sd2" : "sd1";
        spec.name = spec.family == "sd1" ? "Stable Diffusion 1.x-like" : "Stable Diffusion 2.x-like";
        if (extra && c.in_channels == 2 * c.out_channels + 1) spec.kind = "inpaint", spec.name += " inpainting";
    } else {
        spec.family = "ldm", spec.name = "latent diffusion model";
    }
    spec.image_size = spec.family == "ldm" ? 256 : spec.family == "sdxl" ? 1024 : 512;
    if (cross && extra && c.class_embedding == "embedding") spec.kind = "superres", spec.name += " upscaler";
    if (clip || !cross) return;
    if (conditioner_tensor(*model.tensors, "embedding.weight")) spec.kind = "class";
    const TensorInfo * tokens = conditioner_tensor(*model.tensors, "transformer.token_emb.weight");
    if (tokens && !tokens->shape.empty() && tokens->shape[0] == 8192) spec.kind = "layout";
}

}  // namespace

void apply_kind_defaults(ModelSpec & spec) {
    spec.sampler = "ddim";
    spec.eta = 0;
    spec.steps = 50;
    spec.guidance_scale = 1;
    if (spec.kind == "text") {
        spec.guidance_scale = spec.family == "sd2" ? 9.0 : spec.family == "sdxl" ? 5.0 : 7.5;
        if (spec.family == "ldm") spec.guidance_scale = 5, spec.steps = 200;
        if (spec.family == "sdxl") spec.sampler = "euler";
    } else if (spec.kind == "inpaint" && spec.conditioning_key == "hybrid") {
        spec.guidance_scale = 7.5, spec.eta = 1;
    } else if (spec.kind == "unconditional") {
        spec.eta = 1;
    } else if (spec.kind == "class") {
        spec.steps = 20;
        const bool guided = !spec.conditioners.empty() && spec.conditioners[0].params.contains("nullClass");
        if (guided) spec.guidance_scale = 3;
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
}

Detection detect(const CanonicalModel & model) {
    Detection found;
    ModelSpec & spec = found.spec;
    spec.layout = model.layout;
    const TensorSource & tensors = *model.tensors;
    if (!model.unknown_unet.empty()) {
        const std::string first = model.unknown_unet[0].substr(0, 200);
        throw Error(
            ErrorCode::unsupported_model,
            tensors.name() + ": the U-Net has " + std::to_string(model.unknown_unet.size()) +
                " tensors of unknown names, first \"" + first + '"',
            Json{{"found", first}, {"nearest", "latent diffusion U-Net"}}.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    if (model.has_stage) spec.first_stage = detect_first_stage(tensors);
    if (model.has_unet) {
        spec.unet = detect_unet(tensors);
        if (spec.unet->class_embedding == "vector" && (spec.unet->vector_dim == 1536 || spec.unet->vector_dim == 2048)) {
            throw Error(ErrorCode::unsupported_model, tensors.name() + " is Stable unCLIP, which this engine does not run",
                        Json{{"found", "Stable unCLIP"}, {"nearest", "Stable Diffusion 2.x"}}.dump());
        }
        if (const KnownModel * known = known_model(*spec.unet)) {
            apply_known(spec, *known);
            found.heads_are_certain = known->heads_are_certain;
            spec.use_ema = known->ema_by_default && model.ema_tensors > 100;
            if (known->scale_factor <= 0 && !model.scale_factor) found.unknown.insert("/scaleFactor");
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
        spec.name = (stage.kind == "kl" ? "KL-f" : "VQ-f") + std::to_string(stage.downsampling()) + " first stage";
        const bool stable_diffusion = stage.kind == "kl" && stage.downsampling() == 8 && stage.embed_dim == 4;
        spec.scale_factor = stable_diffusion ? 0.18215 : 1.0;
        spec.image_size = stable_diffusion && stage.channels == 128 ? 512 : 256;
    }
    detect_clip_conditioners(model, found);
    if (spec.unet) detect_other_conditioners(model, spec);
    if (!spec.unet && !spec.first_stage && !spec.conditioners.empty()) {
        spec.kind = "text", spec.family = "text_encoder", spec.name = "CLIP text encoder";
    }
    if (!spec.unet && !spec.first_stage && spec.conditioners.empty()) {
        throw Error(ErrorCode::unsupported_model,
                    tensors.name() + " holds no U-Net, first stage or text encoder with known tensor names",
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
                file + ": a model of unknown size (" + detection.spec.name + "). Its weights do not say " + missing +
                    "; give the model's own configuration (config) or these fields (spec)",
                details.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace latent::formats
