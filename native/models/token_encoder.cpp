#include "models/token_encoder.h"

namespace latent::models {

namespace {

constexpr int64_t max_token_batch = 4096;

}  // namespace

void TokenEncoder::forward_with(const TokenRuns &, Span<const int32_t>, int, Span<float>, const JobContext &) {
    throw Error(ErrorCode::unsupported_model, "Embeddings are for CLIP text encoders");
}

void TokenEncoder::check(Span<const int32_t> ids, int64_t batch, int64_t length, size_t context) const {
    if (batch < 1 || batch > max_token_batch || length < 1 || length > max_length()) {
        throw Error(ErrorCode::invalid_argument, "A call of the " + weights_.part() + " takes 1 to " +
                                                     std::to_string(max_token_batch) + " windows of 1 to " +
                                                     std::to_string(max_length()) + " tokens");
    }
    require_loaded();
    require_size(ids.size(), batch * length, "token list");
    require_size(context, batch * length * dim(), "context");
    for (const int32_t id : ids) {
        if (id < 0 || id >= vocabulary()) {
            throw Error(ErrorCode::invalid_argument, "Token " + std::to_string(id) + " of the " + weights_.part() +
                                                         " is outside its vocabulary of " + std::to_string(vocabulary()));
        }
    }
}

}  // namespace latent::models
