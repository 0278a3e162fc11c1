// How a checked request becomes Conditioning.
#include <algorithm>
#include <cmath>

#include "pipeline/checks.h"
#include "pipeline/conditioners/conditioners.h"
#include "pipeline/conditioners/conditioning.h"
#include "pipeline/image/inpainting.h"
#include "pipeline/image/upscaling.h"

namespace latent::pipeline {
namespace {

constexpr int32_t kBertStart = 101, kBertEnd = 102;  // [CLS], [SEP] of bert-base-uncased; [PAD] is 0

/// Each row to unit length; a row of zeros stays what it is.
void normalise_rows(std::vector<float> & data, int64_t dim) {
    for (auto row = data.begin(); row != data.end(); row += dim) {
        double squares = 0;
        for (auto at = row; at != row + dim; ++at) squares += static_cast<double>(*at) * *at;
        if (squares == 0) continue;
        const double length = std::sqrt(squares);
        std::transform(row, row + dim, row, [&](float v) { return static_cast<float>(v / length); });
    }
}

}  // namespace

Conditioning Conditioners::encode(const ConditionRequest & request, const Frame & frame, int64_t pictures, NoiseSource & noise,
                                  const JobContext & job) {
    Conditioning out;
    if (token_kind_ == Tokens::embeddings) {
        out = encode_embeddings(request, job);
    } else if (request.prompt) {
        out = encode_tokens(*request.prompt, job);
    }
    switch (channels_) {
        case Channels::none: break;
        case Channels::labels: out.concat = encode_labels(*request.labels, job); break;
        case Channels::low_resolution: out.concat = encode_low_resolution(request, frame, pictures, noise); break;
        case Channels::hole: out.concat = encode_hole(request, frame, job); break;
    }
    out.class_label = class_label(request);
    return out;
}

Conditioning Conditioners::unconditional(const std::optional<PromptTokens> & negative, const Conditioning & conditional,
                                         const JobContext & job) {
    if (negative) return encode_tokens(*negative, job);
    if (null_class_ >= 0) {
        PromptTokens null_class;
        null_class.chunks.push_back({{null_class_}, {}});
        return encode_tokens(null_class, job);
    }
    Conditioning zeros;
    zeros.tokens = conditional.tokens;
    zeros.dim = conditional.dim;
    zeros.data.assign(conditional.data.size(), 0.0f);
    return zeros;
}

// ---- tokens ----------------------------------------------------------------------------------------------------------

std::vector<float> Conditioners::encode_window(const TokenChunk & chunk, int clip_skip, const JobContext & job) {
    const int64_t length = static_cast<int64_t>(chunk.ids.size());
    std::vector<float> context(static_cast<size_t>(length * encoder_->dim()));
    host_.run_finite(*encoder_, [&]() -> Span<const float> {
        encoder_->forward(chunk.ids, 1, length, clip_skip, context, job);
        return context;
    });
    return context;
}

/// The empty prompt, of which the "comfy" emphasis measures.
TokenChunk Conditioners::blank_window(size_t length) const {
    TokenChunk blank;
    blank.ids.assign(length, clip_ ? clip_->config().pad_token_id : 0);
    blank.ids.front() = clip_ ? clip_->config().bos_token_id : kBertStart;
    if (length > 1) blank.ids[1] = clip_ ? clip_->config().eos_token_id : kBertEnd;
    return blank;
}

Conditioning Conditioners::encode_tokens(const PromptTokens & tokens, const JobContext & job) {
    check_tokens(tokens);
    host_.use(*encoder_, job);
    Conditioning out;
    out.dim = encoder_->dim();
    std::vector<float> empty;
    int64_t done = 0;
    for (const TokenChunk & chunk : tokens.chunks) {
        job.check();
        std::vector<float> z = encode_window(chunk, tokens.clip_skip, job);
        if (has_emphasis(chunk)) {
            if (tokens.emphasis == "comfy" && empty.size() != z.size()) {
                empty = encode_window(blank_window(chunk.ids.size()), tokens.clip_skip, job);
            }
            apply_emphasis(z, chunk.weights, out.dim, tokens.emphasis, empty);
        }
        out.tokens += static_cast<int64_t>(chunk.ids.size());
        out.data.insert(out.data.end(), z.begin(), z.end());
        job.report(Phase::encode, ++done, static_cast<int64_t>(tokens.chunks.size()));
    }
    return out;
}

/// Retrieval-augmented diffusion, knn2img.py: the prompt's own CLIP embedding, then the neighbours', each of unit length.
Conditioning Conditioners::encode_embeddings(const ConditionRequest & request, const JobContext & job) {
    Conditioning out;
    out.dim = spec_.unet->context_dim;
    if (request.prompt) {
        host_.use(*encoder_, job);
        const TokenChunk & chunk = request.prompt->chunks.front();
        out.data.resize(static_cast<size_t>(out.dim));
        host_.run_finite(*encoder_, [&]() -> Span<const float> {
            clip_->embed(chunk.ids, 1, static_cast<int64_t>(chunk.ids.size()), out.data, job);
            return out.data;
        });
        job.report(Phase::encode, 1, 1);
    }
    if (request.embeddings) out.data.insert(out.data.end(), request.embeddings->data.begin(), request.embeddings->data.end());
    out.tokens = static_cast<int64_t>(out.data.size()) / out.dim;
    normalise_rows(out.data, out.dim);
    return out;
}

EmbeddingRows Conditioners::embed_images(const ImageTensor & pixels, const JobContext & job) {
    if (!image_encoder_) {
        throw Error(ErrorCode::unsupported_model,
                    "embedImages: this model has no CLIP image encoder; load one as textEncoder or on its own");
    }
    const ClipVisionConfig & config = image_encoder_->config();
    const auto [n, c, h, w] = pixels.shape;
    if (n < 1 || c != config.num_channels || h != config.image_size || w != config.image_size) {
        refuse("embedImages: pictures of " + std::to_string(c) + " channels and " + size_text(w, h) +
               "; the image encoder takes " + std::to_string(config.num_channels) + " channels of " +
               size_text(config.image_size, config.image_size));
    }
    host_.use(*image_encoder_, job);
    EmbeddingRows out{n, config.projection_dim, std::vector<float>(static_cast<size_t>(n * config.projection_dim))};
    const size_t row = pixels.data.size() / static_cast<size_t>(n), dim = static_cast<size_t>(out.dim);
    for (int64_t i = 0; i < n; ++i) {  // one at a time: the working set does not grow with their number
        job.check();
        const size_t at = static_cast<size_t>(i);
        host_.run_finite(*image_encoder_, [&]() -> Span<const float> {
            const Span<float> embedding(out.data.data() + at * dim, dim);
            image_encoder_->forward({pixels.data.data() + at * row, row}, 1, embedding, job);
            return {embedding.data(), embedding.size()};
        });
        job.report(Phase::encode, i + 1, n);
    }
    return out;
}

// ---- channels --------------------------------------------------------------------------------------------------------

Latents Conditioners::encode_labels(const LabelMap & labels, const JobContext & job) {
    host_.use(*rescaler_, job);
    Latents out{{1, rescaler_->config().out_channels, labels.height / rescaler_->factor(), labels.width / rescaler_->factor()},
                {}};
    out.data.resize(elements(out.shape));
    host_.run_finite(*rescaler_, [&]() -> Span<const float> {
        rescaler_->forward(labels.data, labels.height, labels.width, out.data, job);
        return out.data;
    });
    return out;
}

Latents Conditioners::encode_low_resolution(const ConditionRequest & request, const Frame & frame, int64_t pictures,
                                            NoiseSource & noise) {
    const int64_t factor = spec_.downsampling();
    ImageTensor picture = pad_edges(*request.image, frame.padded_height / factor, frame.padded_width / factor);
    if (!noise_levels_) return {picture.shape, std::move(picture.data)};

    const auto [n, c, h, w] = picture.shape;
    const size_t row = static_cast<size_t>(c * h * w);
    Latents out{{pictures, c, h, w}, {}};
    for (int64_t i = 0; i < pictures; ++i) {
        const auto from = picture.data.begin() + (n == 1 ? 0 : i) * static_cast<std::ptrdiff_t>(row);
        out.data.insert(out.data.end(), from, from + static_cast<std::ptrdiff_t>(row));
    }
    std::vector<float> drawn(out.data.size());
    noise.normal(drawn);
    augment_with_noise(out.data, drawn, class_label(request), noise_levels_->schedule);
    return out;
}

Latents Conditioners::encode_hole(const ConditionRequest & request, const Frame & frame, const JobContext & job) {
    const InpaintingForm form =
        spec_.conditioning_key == "concat" ? InpaintingForm::latent_diffusion() : InpaintingForm::stable_diffusion();
    ImageTensor image = pad_edges(*request.image, frame.padded_height, frame.padded_width);
    ImageTensor mask = pad_edges(*request.mask, frame.padded_height, frame.padded_width);
    binarise(mask);
    if (image.shape[0] < mask.shape[0]) {  // one picture with a hole for each of several masks
        ImageTensor rows{{mask.shape[0], image.shape[1], image.shape[2], image.shape[3]}, {}};
        for (int64_t i = 0; i < mask.shape[0]; ++i) rows.data.insert(rows.data.end(), image.data.begin(), image.data.end());
        image = std::move(rows);
    }
    // The references draw from the posterior of the masked picture; its mean gives the same channels every time.
    Latents code = host_.encode(with_hole(image, mask, form.hole), job);
    if (form.scaled) {
        const float scale = static_cast<float>(spec_.scale_factor);
        for (float & value : code.data) value *= scale;
    }
    return inpainting_channels(form, code, mask);
}

}  // namespace latent::pipeline
