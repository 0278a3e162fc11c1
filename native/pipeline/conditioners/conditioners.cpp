// Selects a model's conditioners and checks that they fit together.
#include "pipeline/conditioners/conditioners.h"

#include <algorithm>

#include "models/bert_text.h"
#include "models/class_embedder.h"
#include "pipeline/conditioners/depth_conditioner.h"
#include "pipeline/conditioners/label_conditioner.h"
#include "pipeline/conditioners/picture_conditioner.h"
#include "pipeline/conditioners/retrieval_conditioner.h"
#include "pipeline/conditioners/sdxl_conditioner.h"
#include "pipeline/messages.h"

namespace latent::pipeline {
namespace {

constexpr Input kInputs[] = {Input::prompt, Input::embeddings, Input::labels,      Input::image,
                             Input::mask,   Input::depth,      Input::noise_level, Input::sizes};

const char * input_name(Input input) {
    constexpr const char * names[] = {"prompt", "embeddings", "labels", "image", "mask", "depth", "noise_level", "sizes"};
    return names[static_cast<int>(input)];
}

bool is_given(const Inputs & inputs, Input input) {
    switch (input) {
        case Input::prompt: return inputs.prompt.has_value();
        case Input::embeddings: return inputs.embeddings.has_value();
        case Input::labels: return inputs.labels.has_value();
        case Input::image: return inputs.image.has_value();
        case Input::mask: return inputs.mask.has_value();
        case Input::depth: return inputs.depth.has_value();
        case Input::noise_level: return inputs.noise_level.has_value();
        case Input::sizes: break;
    }
    return inputs.sizes.has_value();
}

bool has_kind(const ModelSpec & spec, const char * kind) {
    return std::any_of(spec.conditioners.begin(), spec.conditioners.end(), [&](const auto & each) { return each.kind == kind; });
}

}  // namespace

PictureUse picture_use(const ModelSpec & spec) {
    if (has_kind(spec, "spatial_rescaler")) return PictureUse::start;
    if (spec.kind == "superres") return PictureUse::enlarge;
    if (spec.kind == "edit") return PictureUse::edit;
    return spec.kind == "inpaint" ? PictureUse::repaint : PictureUse::start;
}

// ---- which there are -------------------------------------------------------------------------------------------------

Conditioners::Conditioners(const ModelSpec & spec, PartResidency & residency, FirstStageRunner * first_stage)
    : spec_(spec), residency_(residency), picture_use_(picture_use(spec)) {
    const graph::DevicePtr & device = residency.device();
    const ConditionerConfig * rescaler = nullptr;
    LowScaleConfig low_scale;
    std::vector<std::unique_ptr<models::ClipText>> towers;  // for retrieval, or for SDXL
    const bool pooled = spec.unet && spec.unet->class_embedding == "vector";
    for (const ConditionerConfig & config : spec.conditioners) {
        if (config.kind == "spatial_rescaler") {
            rescaler = &config;
        } else if (config.kind == "low_scale") {
            low_scale = low_scale_config(config.params);
        } else if (config.kind == "external" && spec.kind == "rdm") {
            continue;  // embeddings are passed through
        } else if (config.kind == "clip_vision") {
            image_embedder_ = std::make_unique<ImageEmbedder>(
                std::make_unique<models::ClipVision>(clip_vision_config(config.params), device, config.prefix), residency);
        } else if (config.kind == "clip_text" && config.role == "crossattn" && (spec.kind == "rdm" || pooled)) {
            if (towers.size() == (pooled ? 2 : 1)) cannot_run("it has several text encoders");
            towers.push_back(std::make_unique<models::ClipText>(config.clip, device, config.prefix));
        } else if (config.role == "crossattn") {
            add_tokens(config);
        } else if (config.role != "concat") {
            cannot_run("the conditioning role \"" + config.role + "\" is unknown");
        }
    }
    if (spec.kind == "rdm") {
        const int64_t dim = spec.unet ? spec.unet->context_dim : 0;
        add(std::make_unique<RetrievalConditioner>(dim, towers.empty() ? nullptr : std::move(towers.front()), residency));
    } else if (!towers.empty()) {
        const int64_t sizes = spec.unet->vector_dim - towers.back()->config().projection_dim;
        const bool two = towers.size() == 2;
        add(std::make_unique<SdxlTextConditioner>(std::move(towers), two, residency));
        if (sizes > 0) all_.push_back(std::make_unique<SizeConditioner>(sizes));
    }
    if (rescaler) {
        all_.push_back(std::make_unique<LabelConditioner>(
            std::make_unique<models::SpatialRescaler>(rescaler_config(rescaler->params), device, rescaler->prefix), residency));
    } else if (upscales()) {
        const bool noised = spec.unet && spec.unet->class_embedding == "embedding";
        all_.push_back(std::make_unique<UpscalingConditioner>(spec, noised ? &low_scale : nullptr));
    } else if (inpaints()) {
        all_.push_back(std::make_unique<InpaintingConditioner>(spec, first_stage));
    } else if (edits()) {
        all_.push_back(std::make_unique<EditingConditioner>(spec, first_stage));
    } else if (spec.kind == "depth") {
        all_.push_back(std::make_unique<DepthConditioner>(spec));
    }
    if (spec.unet) require_fit();
}

Conditioners::~Conditioners() = default;

void Conditioners::add(std::unique_ptr<TokenConditioner> conditioner) {
    if (tokens_) cannot_run("it has several text encoders");
    tokens_ = conditioner.get();
    all_.push_back(std::move(conditioner));
}

void Conditioners::add_tokens(const ConditionerConfig & config) {
    const graph::DevicePtr & device = residency_.device();
    if (config.kind == "clip_text") {
        add(std::make_unique<ClipConditioner>(std::make_unique<models::ClipText>(config.clip, device, config.prefix),
                                              residency_));
    } else if (config.kind == "bert_text") {
        auto bert = std::make_unique<models::BertText>(bert_config(config.params), device, config.prefix);
        add(std::make_unique<BertConditioner>(std::move(bert), residency_));
    } else if (config.kind == "layout") {
        auto bert = std::make_unique<models::BertText>(bert_config(config.params), device, config.prefix);
        add(std::make_unique<LayoutConditioner>(std::move(bert), residency_));
    } else if (config.kind == "class") {
        const ClassConfig classes = class_config(config.params);
        auto table = std::make_unique<models::ClassEmbedder>(classes, device, config.prefix);
        add(std::make_unique<ClassConditioner>(std::move(table), classes.null_class, residency_));
    } else {
        cannot_run("a conditioner of kind \"" + config.kind + "\" makes no tokens");
    }
}

void Conditioners::cannot_run(const std::string & why) const {
    const Json details = {{"found", spec_.name}, {"kind", spec_.kind}, {"conditioningKey", spec_.conditioning_key}};
    throw Error(ErrorCode::unsupported_model,
                "This model was recognised as " + (spec_.name.empty() ? "kind \"" + spec_.kind + "\"" : spec_.name) +
                    ", which is not supported: " + why,
                details.dump(-1, ' ', false, Json::error_handler_t::replace));
}

/// Checks that the U-Net reads exactly what the conditioners make.
void Conditioners::require_fit() const {
    const UNetConfig & unet = *spec_.unet;
    const bool cross = unet.attention == UNetAttention::spatial_transformer;
    ConditioningForm made;
    for (const auto & each : all_) {
        const ConditioningForm form = each->form();
        made.tokens = made.tokens || form.tokens;
        made.dim += form.dim, made.channels += form.channels, made.classes += form.classes, made.vector += form.vector;
    }
    if (cross && !made.tokens) {
        cannot_run("its U-Net reads a prompt, but there is no text encoder; give one with textEncoder");
    }
    if (!cross && made.tokens) cannot_run("its U-Net has no cross-attention for its conditioner");
    if (made.dim > 0 && made.dim != unet.context_dim) {
        cannot_run("its conditioner makes tokens of width " + std::to_string(made.dim) + ", but its U-Net takes " +
                   std::to_string(unet.context_dim));
    }
    if (unet.in_channels - unet.out_channels != made.channels) {
        cannot_run("its U-Net takes " + std::to_string(unet.in_channels - unet.out_channels) +
                   " channels of conditioning, but its conditioners make " + std::to_string(made.channels));
    }
    for (const auto & each : all_) {
        const std::string why = each->misfit(spec_);
        if (!why.empty()) cannot_run(why);
    }
    const bool classes = unet.class_embedding == "embedding", vector = unet.class_embedding == "vector";
    if ((classes && made.classes == 0) || (vector && made.vector == 0)) {
        cannot_run("its U-Net has a " + unet.class_embedding + " embedding that no conditioner provides");
    }
    if (classes && unet.class_count < made.classes) cannot_run("its table of noise levels is too short");
    if (made.vector != (vector ? unet.vector_dim : 0)) {
        cannot_run("its conditioners make a vector of " + std::to_string(made.vector) + " numbers, but its U-Net takes " +
                   std::to_string(vector ? unet.vector_dim : 0));
    }
}

std::vector<models::Network *> Conditioners::networks() const {
    std::vector<models::Network *> out;
    for (const auto & each : all_) {
        for (models::Network * network : each->networks()) out.push_back(network);
    }
    if (image_embedder_) out.push_back(&image_embedder_->network());
    return out;
}

bool Conditioners::makes_conditioning(const models::Network & network) const {
    return !image_embedder_ || &network != &image_embedder_->network();
}

ImageEmbedder & Conditioners::image_embedder() const {
    if (image_embedder_) return *image_embedder_;
    throw Error(ErrorCode::unsupported_model,
                "embedImages: this model has no CLIP image encoder; give one as textEncoder, or load it alone");
}

std::vector<std::pair<const models::Network *, graph::GraphMeasure>> Conditioners::measure(int64_t width, int64_t height) const {
    std::vector<std::pair<const models::Network *, graph::GraphMeasure>> out;
    for (const auto & each : all_) {
        for (const auto & measured : each->measure(width, height)) out.push_back(measured);
    }
    if (image_embedder_) out.emplace_back(&image_embedder_->network(), image_embedder_->network().measure(1));
    return out;
}

Json Conditioners::info() const {
    Json out = {{"guidance", tokens_ && tokens_->guides()}};
    if (tokens_) out["dim"] = spec_.unet ? spec_.unet->context_dim : tokens_->form().dim;
    if (image_embedder_) {
        const ClipVisionConfig & images = image_embedder_->network().config();
        out["imageEncoder"] = {{"size", images.image_size}, {"dim", images.projection_dim}};
    }
    for (const auto & each : all_) each->info(out);
    return out;
}

// ---- sizes -----------------------------------------------------------------------------------------------------------

int64_t Conditioners::size_multiple() const {
    // The reference's super-resolution needs sides that can be halved at every level.
    return int64_t{spec_.downsampling()} * (upscales() ? spec_.unet->downsampling() : spec_.unet->size_multiple());
}

Frame Conditioners::frame(const Inputs & inputs, int64_t width, int64_t height) const {
    const int64_t multiple = size_multiple();
    for (const auto & each : all_) {
        const std::optional<InputSize> given = each->size(inputs);
        if (!given) continue;
        if ((width != 0 && width != given->width) || (height != 0 && height != given->height)) {
            refuse("size " + size_text(width, height) + ": the " + given->what + " determines the image size, " +
                   size_text(given->width, given->height) + "; leave width and height out");
        }
        width = given->width, height = given->height;
    }
    if (width <= 0) width = spec_.image_size;
    if (height <= 0) height = spec_.image_size;
    if (takes_image()) return make_frame(width, height, multiple);
    if (width % multiple != 0 || height % multiple != 0) {
        refuse("size " + size_text(width, height) + ": width and height must be multiples of " + std::to_string(multiple) +
               (inputs.labels ? "; the label map has the size of the image" : ""));
    }
    return {width, height, width, height};
}

// ---- checks ----------------------------------------------------------------------------------------------------------

std::string Conditioners::takes() const {
    std::string text;
    for (const auto & each : all_) {
        if (!each->takes().empty()) text += (text.empty() ? "this model takes " : " and ") + each->takes();
    }
    return text.empty() ? "this model is unconditional" : text;
}

void Conditioners::check(const Inputs & inputs, int64_t pictures) const {
    for (const Input input : kInputs) {
        bool taken = false, required = false;
        for (const auto & each : all_) {
            for (const InputUse & use : each->reads()) {
                if (use.input == input) taken = true, required = required || use.required;
            }
        }
        const bool given = is_given(inputs, input);
        if (given && !taken) refuse(std::string(input_name(input)) + " is given; " + takes());
        if (!given && required) refuse(std::string(input_name(input)) + " is missing; " + takes());
    }
    for (const auto & each : all_) each->check(inputs, pictures);
}

void Conditioners::check_tokens(const PromptTokens & tokens) const {
    if (!tokens_) refuse("prompt is given; " + takes());
    tokens_->check_tokens(tokens);
}

void Conditioners::check_unconditional(const std::optional<PromptTokens> & negative) const {
    if (tokens_) return tokens_->check_unconditional(negative);
    if (negative) check_tokens(*negative);
    refuse("guidance_scale must be 1: " + takes() + " and was trained without an unconditional input");
}

// ---- encoding --------------------------------------------------------------------------------------------------------

Conditioning Conditioners::encode(const Inputs & inputs, const EncodeContext & context) {
    Conditioning out;
    for (const auto & each : all_) each->encode(inputs, context, out);
    return out;
}

Conditioning Conditioners::encode_unconditional(const Inputs & inputs, const std::optional<PromptTokens> & negative,
                                                const EncodeContext & context) {
    Conditioning out;
    for (const auto & each : all_) each->encode_unconditional(inputs, negative, context, out);
    return out;
}

Conditioning Conditioners::encode_null(const Inputs & inputs, const EncodeContext & context) {
    Conditioning out;
    const std::optional<PromptTokens> negative = has_null() ? std::nullopt : inputs.prompt;
    for (const auto & each : all_) {
        const ConditioningForm form = each->form();
        if (form.channels > 0 || form.classes > 0) {
            each->encode(inputs, context, out);
        } else {
            each->encode_unconditional(inputs, negative, context, out);
        }
    }
    return out;
}

bool Conditioners::tells_size() const {
    return std::any_of(all_.begin(), all_.end(), [](const auto & each) { return each->form().vector > 0; });
}

Conditioning Conditioners::encode_tokens(const PromptTokens & tokens, const JobContext & job) {
    check_tokens(tokens);
    Conditioning out;
    tokens_->encode_tokens(tokens, job, out);
    return out;
}

EmbeddingRows Conditioners::embed_text(const PromptTokens & tokens, const JobContext & job) {
    if (!tokens_) throw Error(ErrorCode::unsupported_model, "embedText: this model has no CLIP text encoder");
    tokens_->check_tokens(tokens);
    if (tokens.chunks.size() != 1) refuse("prompt: an embedding is computed from a single window of tokens");
    EmbeddingRows out{1, 0, tokens_->embed_text(tokens.chunks.front(), job)};
    out.dim = static_cast<int64_t>(out.data.size());
    return out;
}

}  // namespace latent::pipeline
