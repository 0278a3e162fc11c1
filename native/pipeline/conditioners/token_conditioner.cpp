#include "pipeline/conditioners/token_conditioner.h"

#include <algorithm>

#include "pipeline/conditioners/emphasis.h"
#include "pipeline/messages.h"

namespace latent::pipeline {
namespace {

constexpr int32_t kBertStart = 101, kBertEnd = 102;  // [CLS], [SEP] of bert-base-uncased; [PAD] is 0

TokenChunk blank(size_t length, int32_t start, int32_t end, int32_t pad) {
    TokenChunk window;
    window.ids.assign(length, pad);
    window.ids.front() = start;
    if (length > 1) window.ids[1] = end;
    return window;
}

}  // namespace

TokenChunk blank_clip_window(const ClipTextConfig & config, size_t length) {
    return blank(length, config.bos_token_id, config.eos_token_id, config.pad_token_id);
}

TokenConditioner::TokenConditioner(std::unique_ptr<models::TokenEncoder> encoder, PartResidency & residency, Rules rules)
    : encoder_(std::move(encoder)), residency_(residency), rules_(rules) {}

std::vector<models::Network *> TokenConditioner::networks() const {
    if (!encoder_) return {};
    return {encoder_.get()};
}

std::vector<std::pair<const models::Network *, graph::GraphMeasure>> TokenConditioner::measure(int64_t, int64_t) const {
    if (!encoder_) return {};
    return {{encoder_.get(), encoder_->measure(1, encoder_->max_length())}};
}

ConditioningForm TokenConditioner::form() const {
    ConditioningForm form;
    form.tokens = true;
    form.dim = encoder_->dim();
    return form;
}

void TokenConditioner::info(Json & out) const {
    out["tokens"] = encoder_->max_length();
    out["vocabulary"] = encoder_->vocabulary();
}

int64_t TokenConditioner::tokens(const Inputs * inputs) const {
    if (!inputs) return encoder_->max_length();
    return inputs->prompt ? count(*inputs->prompt) : 0;
}

// ---- checks ----------------------------------------------------------------------------------------------------------

void TokenConditioner::check(const Inputs & inputs, int64_t) const {
    if (inputs.prompt) check_tokens(*inputs.prompt);
}

void TokenConditioner::check_tokens(const PromptTokens & tokens) const {
    if (!encoder_) refuse("prompt is given; " + this_model_takes());
    const size_t window = static_cast<size_t>(encoder_->max_length());
    if (tokens.chunks.empty()) refuse("prompt: no tokens; the empty prompt is one window of padding");
    if (!rules_.many && tokens.chunks.size() != 1) refuse("prompt: " + this_model_takes() + " of a single window of tokens");
    if (!rules_.clip_skip && tokens.clip_skip != 0) refuse("clip_skip is for CLIP text encoders; " + this_model_takes());
    for (const TokenChunk & chunk : tokens.chunks) {
        const size_t length = chunk.ids.size();
        const bool fits = rules_.whole ? length == window : length > 0 && length <= window;
        if (!fits || (!chunk.weights.empty() && chunk.weights.size() != length)) {
            refuse("prompt: a window must have " + std::string(rules_.many ? "1 to " : "") + std::to_string(window) +
                   " tokens and one weight per token");
        }
        if (!rules_.many && std::any_of(chunk.weights.begin(), chunk.weights.end(), [](float w) { return w != 1.0f; })) {
            refuse("prompt: weights are for prompts; " + this_model_takes());
        }
        check_vectors(chunk);
        for (const int32_t id : chunk.ids) {
            if (id >= 0 && id < encoder_->vocabulary()) continue;
            refuse(std::string(rules_.unit) + " " + std::to_string(id) + " is outside 0.." +
                   std::to_string(encoder_->vocabulary() - 1));
        }
    }
}

/// Checks that runs of vectors are in order and have the widths of the text encoders.
void TokenConditioner::check_vectors(const TokenChunk & chunk) const {
    const std::vector<int64_t> widths = vector_widths();
    int64_t end = 0;
    for (const TokenChunk::Vectors & run : chunk.vectors) {
        if (widths.empty()) refuse("prompt: embeddings are for models with a CLIP text encoder");
        bool fits = run.first >= end && run.count > 0 && run.count <= static_cast<int64_t>(chunk.ids.size()) - run.first &&
                    run.encoders.size() == widths.size();
        for (size_t i = 0; fits && i < widths.size(); ++i) {
            fits = static_cast<int64_t>(run.encoders[i].size()) == run.count * widths[i] && all_finite(run.encoders[i]);
        }
        if (!fits) refuse("prompt: the vectors of an embedding do not match the text encoders of this model");
        end = run.first + run.count;
    }
}

models::TokenRuns TokenConditioner::runs_of(const TokenChunk & chunk, size_t encoder) {
    models::TokenRuns runs;
    for (const TokenChunk::Vectors & run : chunk.vectors) runs.push_back({run.first, run.count, run.encoders[encoder]});
    return runs;
}

void TokenConditioner::check_unconditional(const std::optional<PromptTokens> & negative) const {
    if (negative) return check_tokens(*negative);
    if (has_null()) return;
    refuse("guidance_scale other than 1 needs negative, the tokens of the unconditional input; " + this_model_takes());
}

// ---- encoding --------------------------------------------------------------------------------------------------------

TokenChunk TokenConditioner::blank_window(size_t length) const {
    return blank(length, 0, 0, 0);
}

std::vector<float> TokenConditioner::encode_windows(const PromptTokens & tokens, int64_t dim, const WindowEncoder & encode,
                                                    const BlankWindow & blank_of, const std::function<void()> & done,
                                                    const JobContext & job) {
    std::vector<float> all, empty;
    for (const TokenChunk & chunk : tokens.chunks) {
        job.check();
        std::vector<float> z = encode(chunk);
        if (has_emphasis(chunk)) {
            if (tokens.emphasis == "comfy" && empty.size() != z.size()) empty = encode(blank_of(chunk.ids.size()));
            apply_emphasis(z, chunk.weights, dim, tokens.emphasis, empty);
        }
        all.insert(all.end(), z.begin(), z.end());
        done();
    }
    return all;
}

int64_t TokenConditioner::count(const PromptTokens & tokens) {
    int64_t sum = 0;
    for (const TokenChunk & chunk : tokens.chunks) sum += static_cast<int64_t>(chunk.ids.size());
    return sum;
}

void TokenConditioner::encode_tokens(const PromptTokens & tokens, const JobContext & job, Conditioning & out) {
    check_tokens(tokens);
    residency_.use(*encoder_, job);
    const auto encode = [&](const TokenChunk & chunk) {
        const int64_t length = static_cast<int64_t>(chunk.ids.size());
        std::vector<float> context(static_cast<size_t>(length * encoder_->dim()));
        residency_.run_finite(*encoder_, [&]() -> Span<const float> {
            const models::TokenRuns runs = runs_of(chunk, 0);
            if (runs.empty()) {
                encoder_->forward(chunk.ids, 1, length, tokens.clip_skip, context, job);
            } else {
                encoder_->forward_with(runs, chunk.ids, tokens.clip_skip, context, job);
            }
            return context;
        });
        return context;
    };
    int64_t done = 0;
    const int64_t windows = static_cast<int64_t>(tokens.chunks.size());
    out.dim = encoder_->dim();
    out.tokens = count(tokens);
    out.data = encode_windows(
        tokens, out.dim, encode, [&](size_t length) { return blank_window(length); },
        [&] { job.report(Phase::encode, ++done, windows); }, job);
}

std::vector<float> TokenConditioner::embed_text(const TokenChunk & window, const JobContext & job) {
    models::ClipText * clip = text_embedder();
    if (!clip) throw Error(ErrorCode::unsupported_model, "embedText: this model has no CLIP text encoder");
    residency_.use(*clip, job);
    const int64_t length = static_cast<int64_t>(window.ids.size());
    const size_t encoders = vector_widths().size();  // the last one pools
    std::vector<float> embedding(static_cast<size_t>(clip->config().projection_dim));
    residency_.run_finite(*clip, [&]() -> Span<const float> {
        const models::TokenRuns runs = runs_of(window, encoders == 0 ? 0 : encoders - 1);
        if (runs.empty()) {
            clip->embed(window.ids, 1, length, embedding, job);
        } else {
            std::vector<float> context(static_cast<size_t>(length * clip->dim()));
            clip->forward_pooled(window.ids, 1, length, 0, context, embedding, job, runs);
        }
        return embedding;
    });
    job.report(Phase::encode, 1, 1);
    return embedding;
}

void TokenConditioner::encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) {
    if (inputs.prompt) encode_tokens(*inputs.prompt, context.job, out);
}

void TokenConditioner::encode_unconditional(const Inputs &, const std::optional<PromptTokens> & negative,
                                            const EncodeContext & context, Conditioning & out) {
    if (negative) encode_tokens(*negative, context.job, out);
}

// ---- the encoders ----------------------------------------------------------------------------------------------------

ClipConditioner::ClipConditioner(std::unique_ptr<models::ClipText> clip, PartResidency & residency)
    : TokenConditioner(std::move(clip), residency, {true, false, true}),
      config_(static_cast<const models::ClipText &>(*encoder_).config()) {}

TokenChunk ClipConditioner::blank_window(size_t length) const {
    return blank_clip_window(config_, length);
}

BertConditioner::BertConditioner(std::unique_ptr<models::TokenEncoder> bert, PartResidency & residency)
    : TokenConditioner(std::move(bert), residency, {true}) {}

TokenChunk BertConditioner::blank_window(size_t length) const {
    return blank(length, kBertStart, kBertEnd, 0);
}

LayoutConditioner::LayoutConditioner(std::unique_ptr<models::TokenEncoder> bert, PartResidency & residency)
    : TokenConditioner(std::move(bert), residency, {false, true}) {}

ClassConditioner::ClassConditioner(std::unique_ptr<models::TokenEncoder> table, int32_t null_class, PartResidency & residency)
    : TokenConditioner(std::move(table), residency, {false, true, false, "class"}), null_class_(null_class) {}

void ClassConditioner::info(Json & out) const {
    out["classes"] = encoder_->vocabulary();
    if (null_class_ >= 0) out["nullClass"] = null_class_;
}

void ClassConditioner::encode_unconditional(const Inputs &, const std::optional<PromptTokens> & negative,
                                            const EncodeContext & context, Conditioning & out) {
    PromptTokens null_class;
    null_class.chunks.push_back({{null_class_}, {}});
    encode_tokens(negative ? *negative : null_class, context.job, out);
}

}  // namespace latent::pipeline
