// Which conditioning a model takes, and what a request has to bring for it.
#include "pipeline/conditioners/conditioners.h"

#include <algorithm>

#include "models/bert_text.h"
#include "models/class_embedder.h"
#include "pipeline/checks.h"

namespace latent::pipeline {
namespace {

constexpr int64_t kUsualEmbeddings = 11;  // knn2img.py: the text and ten neighbours
constexpr int64_t kMostEmbeddings = 4096;

}  // namespace

Conditioners::Conditioners(const ModelSpec & spec, const graph::DevicePtr & device, ConditioningHost host)
    : spec_(spec), host_(std::move(host)) {
    const ConditionerConfig * rescaler = nullptr;
    LowScaleConfig low_scale;
    for (const ConditionerConfig & conditioner : spec.conditioners) {
        if (conditioner.kind == "spatial_rescaler") {
            rescaler = &conditioner;
        } else if (conditioner.kind == "low_scale") {
            low_scale = low_scale_config(conditioner.params);
        } else if (conditioner.kind == "external" && spec.kind == "rdm") {
            continue;  // embeddings, which come as they are
        } else if (conditioner.kind == "clip_vision") {
            image_encoder_ =
                std::make_unique<models::ClipVision>(clip_vision_config(conditioner.params), device, conditioner.prefix);
        } else if (conditioner.role == "crossattn") {
            add_crossattn(conditioner, device);
        } else if (conditioner.role != "concat") {
            cannot_run("conditioning by \"" + conditioner.role + "\" is not known");
        }
    }
    if (spec.kind == "rdm") token_kind_ = Tokens::embeddings;
    add_channels(rescaler, device);
    if (upscales() && spec.unet && spec.unet->class_embedding == "embedding") noise_levels_ = low_scale;
    if (spec.unet) require_fit();
}

Conditioners::~Conditioners() = default;

void Conditioners::add_crossattn(const ConditionerConfig & conditioner, const graph::DevicePtr & device) {
    if (encoder_) cannot_run("it has several text encoders");
    if (conditioner.kind == "clip_text") {
        auto clip = std::make_unique<models::ClipText>(conditioner.clip, device, conditioner.prefix);
        clip_ = clip.get();
        encoder_ = std::move(clip);
        token_kind_ = Tokens::prompt;
    } else if (conditioner.kind == "bert_text" || conditioner.kind == "layout") {
        encoder_ = std::make_unique<models::BertText>(bert_config(conditioner.params), device, conditioner.prefix);
        token_kind_ = conditioner.kind == "layout" ? Tokens::layout : Tokens::prompt;
    } else if (conditioner.kind == "class") {
        const ClassConfig config = class_config(conditioner.params);
        encoder_ = std::make_unique<models::ClassEmbedder>(config, device, conditioner.prefix);
        token_kind_ = Tokens::classes;
        null_class_ = config.null_class;
    } else {
        cannot_run("a conditioner of kind \"" + conditioner.kind + "\" makes no tokens");
    }
}

void Conditioners::add_channels(const ConditionerConfig * rescaler, const graph::DevicePtr & device) {
    if (rescaler) {
        rescaler_ = std::make_unique<models::SpatialRescaler>(rescaler_config(rescaler->params), device, rescaler->prefix);
        channels_ = Channels::labels;
    } else if (spec_.kind == "superres") {
        channels_ = Channels::low_resolution;
    } else if (spec_.kind == "inpaint") {
        channels_ = Channels::hole;
    }
}

void Conditioners::cannot_run(const std::string & why) const {
    const Json details = {{"found", spec_.name}, {"kind", spec_.kind}, {"conditioningKey", spec_.conditioning_key}};
    throw Error(ErrorCode::unsupported_model,
                "This model was recognised as " + (spec_.name.empty() ? "kind \"" + spec_.kind + "\"" : spec_.name) +
                    ", which this version cannot run: " + why,
                details.dump(-1, ' ', false, Json::error_handler_t::replace));
}

/// The U-Net's inputs are exactly those that the conditioners make.
void Conditioners::require_fit() const {
    const UNetConfig & unet = *spec_.unet;
    const bool cross = unet.attention == UNetAttention::spatial_transformer;
    if (cross && token_kind_ == Tokens::none) {
        cannot_run("its U-Net reads a prompt, and there is no text encoder; name one with textEncoder");
    }
    if (!cross && token_kind_ != Tokens::none) cannot_run("its U-Net does not read what its conditioner makes");
    if (encoder_ && token_kind_ != Tokens::embeddings && encoder_->dim() != unet.context_dim) {
        cannot_run("its conditioner makes vectors of width " + std::to_string(encoder_->dim()) + ", its U-Net takes " +
                   std::to_string(unet.context_dim));
    }
    int made = 0;
    switch (channels_) {
        case Channels::none: break;
        case Channels::labels: made = rescaler_->config().out_channels; break;
        case Channels::low_resolution: made = spec_.first_stage ? spec_.first_stage->in_channels : 3; break;
        case Channels::hole: made = unet.out_channels + 1; break;
    }
    if (unet.in_channels - unet.out_channels != made) {
        cannot_run("its U-Net takes " + std::to_string(unet.in_channels - unet.out_channels) +
                   " channels of conditioning, its conditioners make " + std::to_string(made));
    }
    if (channels_ == Channels::labels && rescaler_->factor() != spec_.downsampling()) {
        cannot_run("its label map is not reduced to the size of the latents");
    }
    if (!unet.class_embedding.empty() && !noise_levels_) {
        cannot_run("its U-Net has a " + unet.class_embedding + " embedding beside the timestep's");
    }
    if (noise_levels_ && unet.class_count <= noise_levels_->max_noise_level) {
        cannot_run("its table of noise levels is too short");
    }
    if (unet.guidance_embed_dim != 0) cannot_run("its U-Net has an embedding of the guidance scale");
}

std::vector<models::Network *> Conditioners::networks() const {
    std::vector<models::Network *> out;
    if (encoder_) out.push_back(encoder_.get());
    if (rescaler_) out.push_back(rescaler_.get());
    if (image_encoder_) out.push_back(image_encoder_.get());
    return out;
}

Json Conditioners::info() const {
    const bool guided = token_kind_ == Tokens::prompt || token_kind_ == Tokens::embeddings || null_class_ >= 0;
    Json out = {{"guidance", guided}};
    if (token_kind_ != Tokens::none) out["dim"] = spec_.unet ? spec_.unet->context_dim : encoder_->dim();
    if (image_encoder_) {
        const ClipVisionConfig & images = image_encoder_->config();
        out["imageEncoder"] = {{"size", images.image_size}, {"dim", images.projection_dim}};
    }
    if (token_kind_ == Tokens::prompt || token_kind_ == Tokens::layout || (token_kind_ == Tokens::embeddings && clip_)) {
        out["tokens"] = encoder_->max_length();
        out["vocabulary"] = encoder_->vocabulary();
    } else if (token_kind_ == Tokens::classes) {
        out["classes"] = encoder_->vocabulary();
        if (null_class_ >= 0) out["nullClass"] = null_class_;
    }
    if (rescaler_) out["labels"] = rescaler_->config().classes;
    if (upscales()) out["factor"] = spec_.downsampling();
    if (noise_levels_) {
        out["maxNoiseLevel"] = noise_levels_->max_noise_level;
        out["noiseLevel"] = noise_levels_->noise_level;
    }
    return out;
}

std::vector<std::pair<const models::Network *, graph::GraphMeasure>> Conditioners::measure(int64_t width, int64_t height) const {
    std::vector<std::pair<const models::Network *, graph::GraphMeasure>> out;
    if (encoder_) out.emplace_back(encoder_.get(), encoder_->measure(1, encoder_->max_length()));
    if (rescaler_) out.emplace_back(rescaler_.get(), rescaler_->measure(height, width));
    if (image_encoder_) out.emplace_back(image_encoder_.get(), image_encoder_->measure(1));
    return out;
}

int64_t Conditioners::tokens(const ConditionRequest * request) const {
    if (token_kind_ == Tokens::none) return 0;
    if (request == nullptr) return token_kind_ == Tokens::embeddings ? kUsualEmbeddings : encoder_->max_length();
    int64_t windows = 0, sum = 0;
    if (request->prompt) {
        for (const TokenChunk & chunk : request->prompt->chunks) ++windows, sum += static_cast<int64_t>(chunk.ids.size());
    }
    if (token_kind_ != Tokens::embeddings) return sum;
    return windows + (request->embeddings ? request->embeddings->count : 0);
}

int32_t Conditioners::class_label(const ConditionRequest & request) const {
    return noise_levels_ ? request.noise_level.value_or(noise_levels_->noise_level) : -1;
}

// ---- sizes -----------------------------------------------------------------------------------------------------------

int64_t Conditioners::size_multiple() const {
    // The reference's super-resolution takes sides that halve evenly all the way.
    return int64_t{spec_.downsampling()} * (upscales() ? spec_.unet->downsampling() : spec_.unet->size_multiple());
}

Frame Conditioners::frame(const ConditionRequest & request, int64_t width, int64_t height) const {
    const int64_t factor = spec_.downsampling(), multiple = size_multiple();
    const auto given_by = [&](const char * what, int64_t w, int64_t h) {
        if ((width != 0 && width != w) || (height != 0 && height != h)) {
            refuse("size " + size_text(width, height) + ": the " + what + " makes the picture " + size_text(w, h) +
                   "; leave width and height out");
        }
        width = w, height = h;
    };
    if (takes_image() && request.image) {
        const int64_t scale = upscales() ? factor : 1;
        given_by("picture", request.image->shape[3] * scale, request.image->shape[2] * scale);
    }
    if (channels_ == Channels::labels && request.labels) given_by("label map", request.labels->width, request.labels->height);
    if (width <= 0) width = spec_.image_size;
    if (height <= 0) height = spec_.image_size;
    if (takes_image()) return make_frame(width, height, multiple);
    const Frame out{width, height, width, height};
    if (out.width % multiple != 0 || out.height % multiple != 0) {
        refuse("size " + size_text(out.width, out.height) + ": width and height must be multiples of " +
               std::to_string(multiple) + (request.labels ? "; the label map has the size of the picture" : ""));
    }
    return out;
}

// ---- checks ----------------------------------------------------------------------------------------------------------

std::string Conditioners::takes() const {
    std::vector<std::string> inputs;
    switch (token_kind_) {
        case Tokens::none: break;
        case Tokens::prompt: inputs.push_back("a prompt"); break;
        case Tokens::layout: inputs.push_back("a layout of boxes"); break;
        case Tokens::classes: inputs.push_back("a class"); break;
        case Tokens::embeddings: inputs.push_back(clip_ ? "a prompt or embeddings" : "embeddings"); break;
    }
    switch (channels_) {
        case Channels::none: break;
        case Channels::labels: inputs.push_back("a label map"); break;
        case Channels::low_resolution: inputs.push_back("a picture to enlarge"); break;
        case Channels::hole: inputs.push_back("a picture and a mask"); break;
    }
    if (inputs.empty()) return "this model is unconditional";
    return "this model takes " + inputs[0] + (inputs.size() > 1 ? " and " + inputs[1] : "");
}

void Conditioners::check(const ConditionRequest & request, int64_t pictures) const {
    const bool reads_tokens = encoder_ != nullptr, embeddings = token_kind_ == Tokens::embeddings;
    const auto only = [&](bool given, bool taken, const char * what) {
        if (given && !taken) refuse(std::string(what) + " is given; " + takes());
    };
    const auto needed = [&](bool given, bool taken, const char * what) {
        only(given, taken, what);
        if (taken && !given) refuse(std::string(what) + " is missing; " + takes());
    };
    if (embeddings) {
        only(request.prompt.has_value(), clip_ != nullptr, "prompt");
        if (!request.prompt && !request.embeddings) refuse("embeddings are missing; " + takes());
        check_embeddings(request);
    } else {
        needed(request.prompt.has_value(), reads_tokens, "prompt");
        only(request.embeddings.has_value(), false, "embeddings");
    }
    if (request.prompt) check_tokens(*request.prompt);
    needed(request.labels.has_value(), channels_ == Channels::labels, "labels");
    needed(request.image.has_value(), takes_image(), "image");
    needed(request.mask.has_value(), inpaints(), "mask");
    only(request.noise_level.has_value(), noise_levels_.has_value(), "noise_level");
    if (request.labels) check_labels(*request.labels);
    if (request.image) check_image(*request.image, "image", spec_.first_stage ? spec_.first_stage->in_channels : 3, pictures);
    if (request.mask) {
        check_image(*request.mask, "mask", 1, pictures);
        const auto & image = request.image->shape;
        const auto & mask = request.mask->shape;
        if (mask[2] != image[2] || mask[3] != image[3]) {
            refuse("mask is " + size_text(mask[3], mask[2]) + ", the picture " + size_text(image[3], image[2]) +
                   "; both must have the same size");
        }
    }
    if (request.noise_level && (*request.noise_level < 0 || *request.noise_level > noise_levels_->max_noise_level)) {
        refuse("noise_level " + std::to_string(*request.noise_level) + " is outside 0.." +
               std::to_string(noise_levels_->max_noise_level));
    }
}

void Conditioners::check_tokens(const PromptTokens & tokens) const {
    if (!encoder_) refuse("prompt is given; " + takes());
    const bool prompt = token_kind_ == Tokens::prompt;
    const size_t window = static_cast<size_t>(encoder_->max_length());
    if (tokens.chunks.empty()) refuse("prompt: no tokens; the empty prompt is one window of padding");
    if (!prompt && tokens.chunks.size() != 1) refuse("prompt: " + takes() + ", which is one window of tokens");
    if (!clip_ && tokens.clip_skip != 0) refuse("clip_skip is for CLIP text encoders; " + takes());
    for (const TokenChunk & chunk : tokens.chunks) {
        const bool length_fits = prompt || token_kind_ == Tokens::embeddings ? !chunk.ids.empty() && chunk.ids.size() <= window
                                                                             : chunk.ids.size() == window;
        if (!length_fits || (!chunk.weights.empty() && chunk.weights.size() != chunk.ids.size())) {
            refuse("prompt: a window holds " + std::string(prompt ? "1 to " : "") + std::to_string(window) +
                   " tokens and one weight for each");
        }
        if (!prompt && std::any_of(chunk.weights.begin(), chunk.weights.end(), [](float w) { return w != 1.0f; })) {
            refuse("prompt: weights are for prompts; " + takes());
        }
        for (const int32_t id : chunk.ids) {
            if (id >= 0 && id < encoder_->vocabulary()) continue;
            const std::string range = "0.." + std::to_string(encoder_->vocabulary() - 1);
            refuse((token_kind_ == Tokens::classes ? "class " : "token ") + std::to_string(id) + " is outside " + range);
        }
    }
}

void Conditioners::check_unconditional(const std::optional<PromptTokens> & negative) const {
    if (negative) {
        if (token_kind_ == Tokens::embeddings) refuse("negative is given; this model is guided away from zero embeddings");
        return check_tokens(*negative);
    }
    if (null_class_ >= 0 || token_kind_ == Tokens::embeddings) return;
    if (token_kind_ == Tokens::none) {
        refuse("guidance_scale must be 1: " + takes() + ", and was trained without an unconditional input");
    }
    refuse("guidance_scale other than 1 needs negative, the tokens of the unconditional input; " + takes());
}

void Conditioners::check_image(const ImageTensor & image, const char * what, int64_t channels, int64_t pictures) const {
    const auto [n, c, h, w] = image.shape;
    if (n < 1 || h < 1 || w < 1 || c != channels) {
        refuse(std::string(what) + ": " + std::to_string(c) + " channels of " + size_text(w, h) + "; it needs " +
               std::to_string(channels) + " channels and a size");
    }
    if (n != 1 && n != pictures) {
        refuse(std::string(what) + ": " + std::to_string(n) + " of them for " + std::to_string(pictures) +
               " pictures; give one, or one for each");
    }
}

void Conditioners::check_labels(const LabelMap & labels) const {
    const int64_t classes = rescaler_->config().classes;
    if (labels.height < 1 || labels.width < 1 || labels.data.size() != static_cast<size_t>(labels.height * labels.width)) {
        refuse("labels: the map has another number of labels than its size says");
    }
    for (const int32_t label : labels.data) {
        if (label >= 0 && label < classes) continue;
        refuse("labels: " + std::to_string(label) + " is outside 0.." + std::to_string(classes - 1));
    }
}

void Conditioners::check_embeddings(const ConditionRequest & request) const {
    const int64_t dim = spec_.unet->context_dim;
    if (request.prompt) {
        if (clip_->config().projection_dim != dim) {
            refuse("prompt: this text encoder makes no embeddings of width " + std::to_string(dim) + "; give embeddings");
        }
        if (request.prompt->chunks.size() != 1) refuse("prompt: an embedding is made of one window of tokens");
    }
    if (!request.embeddings) return;
    const EmbeddingRows & rows = *request.embeddings;
    if (rows.count < 1 || rows.count > kMostEmbeddings || rows.dim != dim ||
        rows.data.size() != static_cast<size_t>(rows.count * rows.dim)) {
        refuse("embeddings: " + std::to_string(rows.count) + " rows of " + std::to_string(rows.dim) + "; this model takes 1 to " +
               std::to_string(kMostEmbeddings) + " of " + std::to_string(dim));
    }
    if (!all_finite(rows.data)) refuse("embeddings: not every number is finite");
}

}  // namespace latent::pipeline
