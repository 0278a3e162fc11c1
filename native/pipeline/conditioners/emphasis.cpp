#include "pipeline/conditioners/emphasis.h"

#include <algorithm>
#include <numeric>

namespace latent::pipeline {

bool has_emphasis(const TokenChunk & chunk) {
    return std::any_of(chunk.weights.begin(), chunk.weights.end(), [](float weight) { return weight != 1.0f; });
}

void apply_emphasis(Span<float> z, Span<const float> weights, int64_t dim, const std::string & method, Span<const float> empty) {
    const auto mean = [&] { return std::accumulate(z.begin(), z.end(), 0.0) / static_cast<double>(z.size()); };
    const bool comfy = method == "comfy", original = method == "original";
    if (!comfy && !original && method != "no_norm") {
        throw Error(ErrorCode::invalid_argument, "emphasis \"" + method + "\": expected original, no_norm or comfy");
    }
    if (std::all_of(weights.begin(), weights.end(), [](float weight) { return weight == 1.0f; })) return;

    const double before = original ? mean() : 0.0;
    for (size_t token = 0; token < weights.size(); ++token) {
        for (int64_t i = 0; i < dim; ++i) {
            const size_t at = token * static_cast<size_t>(dim) + static_cast<size_t>(i);
            z[at] = comfy ? (z[at] - empty[at]) * weights[token] + empty[at] : z[at] * weights[token];
        }
    }
    if (!original) return;
    const double after = mean();
    if (after == 0.0) return;  // all weights zero: nothing to restore
    const float ratio = static_cast<float>(before / after);
    for (float & value : z) value *= ratio;
}

}  // namespace latent::pipeline
