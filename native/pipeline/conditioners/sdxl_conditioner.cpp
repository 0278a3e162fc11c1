#include "pipeline/conditioners/sdxl_conditioner.h"

#include <algorithm>
#include <cmath>

#include "graph/ops.h"
#include "pipeline/messages.h"

namespace latent::pipeline {
namespace {

constexpr int kEmbedding = 256;  // width per number
constexpr double kScore = 6.0, kNegativeScore = 2.5;
constexpr double kLargestSize = 1 << 20;  // pixels

/// The same window, with another tower's padding after the end of text.
TokenChunk repadded(const TokenChunk & chunk, const ClipTextConfig & config) {
    TokenChunk out = chunk;
    const auto end = std::find(out.ids.begin(), out.ids.end(), config.eos_token_id);
    if (end != out.ids.end()) std::fill(end + 1, out.ids.end(), config.pad_token_id);
    return out;
}

}  // namespace

// ---- text ------------------------------------------------------------------------------------------------------------

SdxlTextConditioner::SdxlTextConditioner(std::vector<std::unique_ptr<models::ClipText>> towers, bool zero_empty,
                                         PartResidency & residency)
    : TokenConditioner(std::move(towers.front()), residency, {true, false, true}), zero_empty_(zero_empty) {
    towers_.push_back(static_cast<models::ClipText *>(encoder_.get()));
    for (auto & tower : towers) {
        if (!tower) continue;
        towers_.push_back(tower.get());
        own_.push_back(std::move(tower));
    }
}

std::vector<models::Network *> SdxlTextConditioner::networks() const {
    return {towers_.begin(), towers_.end()};
}

std::vector<std::pair<const models::Network *, graph::GraphMeasure>> SdxlTextConditioner::measure(int64_t, int64_t) const {
    std::vector<std::pair<const models::Network *, graph::GraphMeasure>> out;
    for (const models::ClipText * tower : towers_) {
        const int64_t length = tower->max_length();
        out.emplace_back(tower, tower == &pooling() ? tower->measure_pooled(1, length) : tower->measure(1, length));
    }
    return out;
}

std::vector<int64_t> SdxlTextConditioner::vector_widths() const {
    std::vector<int64_t> widths;
    for (const models::ClipText * tower : towers_) widths.push_back(tower->dim());
    return widths;
}

ConditioningForm SdxlTextConditioner::form() const {
    ConditioningForm form;
    form.tokens = true;
    for (const models::ClipText * tower : towers_) form.dim += tower->dim();
    form.vector = pooling().config().projection_dim;
    return form;
}

void SdxlTextConditioner::info(Json & out) const {
    TokenConditioner::info(out);
    if (zero_empty_) out["zeroNegative"] = true;
}

void SdxlTextConditioner::encode_tokens(const PromptTokens & tokens, const JobContext & job, Conditioning & out) {
    check_tokens(tokens);
    std::vector<std::vector<float>> parts;
    std::vector<float> pooled;
    int64_t done = 0;
    const int64_t windows = static_cast<int64_t>(tokens.chunks.size() * towers_.size());
    for (models::ClipText * tower : towers_) {
        residency_.use(*tower, job);
        const ClipTextConfig & config = tower->config();
        const auto encode = [&](const TokenChunk & given) {
            const TokenChunk chunk = repadded(given, config);
            const int64_t length = static_cast<int64_t>(chunk.ids.size());
            std::vector<float> context(static_cast<size_t>(length * tower->dim()));
            const bool pools = tower == &pooling() && pooled.empty();  // the first window represents the prompt
            std::vector<float> vector(pools ? static_cast<size_t>(config.projection_dim) : 0);
            const models::TokenRuns runs = runs_of(chunk, parts.size());
            residency_.run_finite(*tower, [&]() -> Span<const float> {
                if (pools) {
                    tower->forward_pooled(chunk.ids, 1, length, tokens.clip_skip, context, vector, job, runs);
                    return all_finite(vector) ? Span<const float>(context) : Span<const float>(vector);
                }
                if (runs.empty()) {
                    tower->forward(chunk.ids, 1, length, tokens.clip_skip, context, job);
                } else {
                    tower->forward_with(runs, chunk.ids, tokens.clip_skip, context, job);
                }
                return context;
            });
            if (pools) pooled = std::move(vector);
            return context;
        };
        parts.push_back(encode_windows(
            tokens, tower->dim(), encode, [&](size_t length) { return blank_clip_window(config, length); },
            [&] { job.report(Phase::encode, ++done, windows); }, job));
    }
    out.dim = form().dim;
    out.tokens = count(tokens);
    out.data.reserve(static_cast<size_t>(out.tokens * out.dim));
    for (int64_t token = 0; token < out.tokens; ++token) {
        for (size_t i = 0; i < towers_.size(); ++i) {
            const auto row = parts[i].begin() + token * towers_[i]->dim();
            out.data.insert(out.data.end(), row, row + towers_[i]->dim());
        }
    }
    out.vector.insert(out.vector.end(), pooled.begin(), pooled.end());
}

void SdxlTextConditioner::encode_unconditional(const Inputs & inputs, const std::optional<PromptTokens> & negative,
                                               const EncodeContext & context, Conditioning & out) {
    if (negative) return encode_tokens(*negative, context.job, out);
    const ConditioningForm sizes = form();
    out.tokens = tokens(&inputs), out.dim = sizes.dim;
    out.data.assign(static_cast<size_t>(out.tokens * out.dim), 0.0f);
    out.vector.insert(out.vector.end(), static_cast<size_t>(sizes.vector), 0.0f);
}

// ---- sizes -----------------------------------------------------------------------------------------------------------

bool SizeConditioner::scores() const {
    return numbers_ == 5 * kEmbedding;
}

ConditioningForm SizeConditioner::form() const {
    ConditioningForm form;
    form.vector = numbers_;
    return form;
}

std::string SizeConditioner::misfit(const ModelSpec &) const {
    if (scores() || numbers_ == 6 * kEmbedding) return "";
    return "its U-Net reads a vector of sizes that differs from SDXL's";
}

void SizeConditioner::info(Json & out) const {
    out["sizes"] = scores() ? "refiner" : "base";
}

void SizeConditioner::check(const Inputs & inputs, int64_t) const {
    if (!inputs.sizes) return;
    const SizeInputs & given = *inputs.sizes;
    if (scores() && given.target) refuse("sizes: this model reads an aesthetic score and no target size");
    if (!scores() && (given.score || given.negative_score)) refuse("sizes: this model reads no aesthetic score");
    for (const auto * size : {&given.original, &given.crop, &given.target}) {
        if (!*size) continue;
        for (const double number : **size) {
            if (!(number >= 0 && number <= kLargestSize)) refuse("sizes: a number is outside 0..1048576");
        }
    }
    for (const auto * score : {&given.score, &given.negative_score}) {
        if (*score && !(**score >= 0 && **score <= 100)) refuse("sizes: an aesthetic score is outside 0..100");
    }
}

void SizeConditioner::append(const Inputs & inputs, const Frame & frame, bool negative, Conditioning & out) const {
    const SizeInputs given = inputs.sizes.value_or(SizeInputs{});
    const std::array<double, 2> target =
        given.target.value_or(std::array<double, 2>{static_cast<double>(frame.height), static_cast<double>(frame.width)});
    const std::array<double, 2> original = given.original.value_or(target), crop = given.crop.value_or(std::array<double, 2>{});
    std::vector<double> numbers = {original[0], original[1], crop[0], crop[1]};
    if (scores()) {
        numbers.push_back(negative ? given.negative_score.value_or(kNegativeScore) : given.score.value_or(kScore));
    } else {
        numbers.insert(numbers.end(), target.begin(), target.end());
    }
    for (const double number : numbers) {
        out.vector.resize(out.vector.size() + kEmbedding);
        graph::timestep_embedding(number, kEmbedding, out.vector.data() + out.vector.size() - kEmbedding);
    }
}

void SizeConditioner::encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) {
    append(inputs, context.frame, false, out);
}

void SizeConditioner::encode_unconditional(const Inputs & inputs, const std::optional<PromptTokens> &,
                                           const EncodeContext & context, Conditioning & out) {
    append(inputs, context.frame, true, out);
}

}  // namespace latent::pipeline
