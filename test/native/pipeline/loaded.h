#pragma once

#include <memory>
#include <string>

#include "check.h"
#include "golden.h"
#include "pipeline/pipeline.h"

// Golden cases (test/fixtures/models) as pipelines, for the tests of whole systems.
namespace loaded {

using namespace latent;
using namespace latent::pipeline;

inline LoadRequest exact_request() {
    LoadRequest request;
    request.device = "cpu";
    request.threads = 1;
    request.precision = Precision::exact;
    return request;
}

/// A case's checkpoint in the layout of the public file, opened with its own configuration.
class Loaded {
public:
    explicit Loaded(const std::string & name, LoadRequest request = exact_request()) : golden_(golden::load(name)) {
        request.model = golden::write_layout(golden_, "compvis", folder_.path());
        request.config = golden_.config();
        pipeline_ = Pipeline::load(request, {});
    }

    const golden::Case & golden() const { return golden_; }
    Pipeline & operator*() const { return *pipeline_; }
    Pipeline * operator->() const { return pipeline_.get(); }

    golden::Values input(const std::string & name) const { return golden::input(golden_, name); }
    golden::Values expected(const std::string & name) const { return golden::expected(golden_, name); }

    /// Row `row` of an input [n, c, h, w] as a batch of one.
    Latents latents(const std::string & name, int64_t row) const {
        const golden::Values values = input(name);
        return {{1, values.shape[1], values.shape[2], values.shape[3]}, row_of(values, row)};
    }
    ImageTensor image(const std::string & name, int64_t row) const {
        Latents values = latents(name, row);
        return {values.shape, std::move(values.data)};
    }
    /// Row `row` of token ids as one window.
    PromptTokens tokens(const std::string & name, int64_t row) const {
        PromptTokens tokens;
        const golden::Values values = input(name);
        const std::vector<float> ids = row_of(values, row);
        tokens.chunks.push_back({{ids.begin(), ids.end()}, {}});
        return tokens;
    }

    static std::vector<float> row_of(const golden::Values & values, int64_t row) {
        const size_t size = values.data.size() / static_cast<size_t>(values.shape[0]);
        const auto begin = values.data.begin() + row * static_cast<std::ptrdiff_t>(size);
        return {begin, begin + static_cast<std::ptrdiff_t>(size)};
    }

private:
    golden::Case golden_;
    golden::TempFolder folder_;
    std::shared_ptr<Pipeline> pipeline_;
};

/// Largest difference, infinite for numbers that are none and other sizes.
inline double difference(const std::vector<float> & actual, const std::vector<float> & expected) {
    if (actual.size() != expected.size()) return INFINITY;
    double worst = 0;
    for (size_t i = 0; i < actual.size(); ++i)
        worst = std::fmax(worst, std::isfinite(actual[i]) ? std::fabs(actual[i] - expected[i]) : INFINITY);
    return worst;
}

/// Every `stride`-th row and column of a picture, as reference pictures are kept.
inline std::vector<float> strided(const ImageTensor & image, int stride) {
    const auto [n, c, h, w] = image.shape;
    std::vector<float> out;
    for (int64_t plane = 0; plane < n * c; ++plane) {
        for (int64_t y = 0; y < h; y += stride) {
            for (int64_t x = 0; x < w; x += stride) out.push_back(image.data[static_cast<size_t>((plane * h + y) * w + x)]);
        }
    }
    return out;
}

inline void within(const std::string & what, double difference, double tolerance) {
    std::printf("     %-40s %.2e of %.2e\n", what.c_str(), difference, tolerance);
    if (!(difference <= tolerance)) check::fail("golden", 0, what + " is off by " + std::to_string(difference));
}

}  // namespace loaded
