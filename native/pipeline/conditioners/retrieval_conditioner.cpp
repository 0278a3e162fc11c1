#include "pipeline/conditioners/retrieval_conditioner.h"

#include <algorithm>
#include <cmath>

#include "pipeline/messages.h"

namespace latent::pipeline {
namespace {

constexpr int64_t kUsualEmbeddings = 11;  // knn2img.py: the text and ten neighbours
constexpr int64_t kMostEmbeddings = 4096;

/// Scales each row to unit length; a row of zeros is unchanged.
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

RetrievalConditioner::RetrievalConditioner(int64_t dim, std::unique_ptr<models::ClipText> clip, PartResidency & residency)
    : TokenConditioner(std::move(clip), residency, {false, false, true}),
      dim_(dim),
      clip_(static_cast<models::ClipText *>(encoder_.get())) {}

std::vector<InputUse> RetrievalConditioner::reads() const {
    if (!clip_) return {{Input::embeddings, false}};
    return {{Input::prompt, false}, {Input::embeddings, false}};
}

ConditioningForm RetrievalConditioner::form() const {
    ConditioningForm form;
    form.tokens = true;
    return form;
}

void RetrievalConditioner::info(Json & out) const {
    if (clip_) TokenConditioner::info(out);
}

int64_t RetrievalConditioner::tokens(const Inputs * inputs) const {
    if (!inputs) return kUsualEmbeddings;
    return (inputs->prompt ? static_cast<int64_t>(inputs->prompt->chunks.size()) : 0) +
           (inputs->embeddings ? inputs->embeddings->count : 0);
}

void RetrievalConditioner::check(const Inputs & inputs, int64_t) const {
    if (!inputs.prompt && !inputs.embeddings) refuse("embeddings are missing; " + this_model_takes());
    if (inputs.prompt) {
        if (clip_->config().projection_dim != dim_) {
            refuse("prompt: this text encoder does not make embeddings of width " + std::to_string(dim_) + "; give embeddings");
        }
        if (inputs.prompt->chunks.size() != 1) refuse("prompt: an embedding is computed from a single window of tokens");
    }
    if (inputs.embeddings) check_embeddings(*inputs.embeddings);
    if (inputs.prompt) check_tokens(*inputs.prompt);
}

void RetrievalConditioner::check_embeddings(const EmbeddingRows & rows) const {
    if (rows.count < 1 || rows.count > kMostEmbeddings || rows.dim != dim_ ||
        rows.data.size() != static_cast<size_t>(rows.count * rows.dim)) {
        refuse("embeddings: " + std::to_string(rows.count) + " rows of " + std::to_string(rows.dim) + "; this model takes 1 to " +
               std::to_string(kMostEmbeddings) + " of " + std::to_string(dim_));
    }
    if (!all_finite(rows.data)) refuse("embeddings: some values are not finite");
}

void RetrievalConditioner::check_unconditional(const std::optional<PromptTokens> & negative) const {
    if (negative) refuse("negative is given; the unconditional input of this model is zero embeddings");
}

void RetrievalConditioner::encode(const Inputs & inputs, const EncodeContext & context, Conditioning & out) {
    out.dim = dim_;
    if (inputs.prompt) {
        out.data = embed_text(inputs.prompt->chunks.front(), context.job);
    }
    if (inputs.embeddings) out.data.insert(out.data.end(), inputs.embeddings->data.begin(), inputs.embeddings->data.end());
    out.tokens = static_cast<int64_t>(out.data.size()) / out.dim;
    normalise_rows(out.data, out.dim);
}

void RetrievalConditioner::encode_unconditional(const Inputs & inputs, const std::optional<PromptTokens> &, const EncodeContext &,
                                                Conditioning & out) {
    out.tokens = tokens(&inputs);
    out.dim = dim_;
    out.data.assign(static_cast<size_t>(out.tokens * out.dim), 0.0f);
}

}  // namespace latent::pipeline
