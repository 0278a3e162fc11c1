#include "pipeline/image/preview.h"

#include <algorithm>
#include <cmath>

#include "pipeline/image/latent_scaling.h"

namespace latent::pipeline {
namespace {

// 4 latent channels x RGB (golden latent_preview, set webui_sd1 and webui_sdxl)
constexpr float kSd1[4][3] = {
    {0.298f, 0.207f, 0.208f}, {0.187f, 0.286f, 0.173f}, {-0.158f, 0.189f, 0.264f}, {-0.184f, -0.271f, -0.473f}};
constexpr float kSdxl[4][3] = {
    {0.3448f, 0.4168f, 0.4395f}, {-0.1953f, -0.029f, 0.025f}, {0.1074f, 0.0886f, -0.0163f}, {-0.373f, -0.2499f, -0.2088f}};

/// [channels + 1, 3] of a model, the last row being the bias; empty if nothing is known.
std::vector<float> factors_of(const ModelSpec & spec, int64_t channels) {
    const size_t wanted = static_cast<size_t>(channels + 1) * 3;
    if (spec.preview_factors.size() == wanted) return {spec.preview_factors.begin(), spec.preview_factors.end()};
    const bool sdxl = spec.family == "sdxl";
    const bool own_stage = spec.kind == "superres";  // the x4 upscaler's f4
    if (channels != 4 || own_stage || !(sdxl || spec.family == "sd1" || spec.family == "sd2")) return {};
    const float * table = sdxl ? kSdxl[0] : kSd1[0];
    std::vector<float> factors(table, table + 12);
    factors.resize(wanted, 0.0f);
    // The table is for latents that are scaled as those of the family.
    const LatentScaling scaling = LatentScaling::of_tiny(spec);
    for (size_t i = 0; i < scaling.mean.size(); ++i) {
        for (size_t rgb = 0; rgb < 3; ++rgb) {
            float & factor = factors[3 * i + rgb];
            factors[12 + rgb] += factor * static_cast<float>(scaling.mean[i]);
            factor *= static_cast<float>(scaling.deviation[i] / scaling.factor);
        }
    }
    return factors;
}

/// The factor that scales two standard deviations to 1; 0 if there is none.
float unit_scale(Span<const float> z) {
    double sum = 0, squares = 0;
    for (const float v : z) sum += v, squares += static_cast<double>(v) * v;
    const double n = static_cast<double>(z.size()), mean = sum / n;
    const double deviation = std::sqrt(std::max(0.0, squares / n - mean * mean));
    return deviation > 0 && std::isfinite(deviation) ? static_cast<float>(0.5 / deviation) : 0.0f;
}

uint8_t to_byte(float rgb) {
    const float unit = rgb / 2.0f + 0.5f;
    return static_cast<uint8_t>(std::floor(255.0f * (unit > 0.0f ? std::min(unit, 1.0f) : 0.0f)));  // NaN becomes 0
}

}  // namespace

Picture linear_preview(const Latents & latents, int index, const ModelSpec & spec) {
    const auto [n, c, h, w] = latents.shape;
    if (index < 0 || index >= n) {
        throw Error(ErrorCode::invalid_argument,
                    "preview: image " + std::to_string(index) + " of a batch of " + std::to_string(n));
    }
    const std::vector<float> factors = factors_of(spec, c);
    const size_t plane = static_cast<size_t>(h * w);
    const float * z = latents.data.data() + static_cast<size_t>(index * c) * plane;
    const float scale = factors.empty() ? unit_scale({z, static_cast<size_t>(std::min<int64_t>(c, 3)) * plane}) : 1.0f;

    Picture picture{static_cast<int>(w), static_cast<int>(h), 3, std::vector<uint8_t>(plane * 3)};
    for (size_t i = 0; i < plane; ++i) {
        for (size_t rgb = 0; rgb < 3; ++rgb) {
            const auto channel = [&](int64_t k) { return z[static_cast<size_t>(k) * plane + i]; };
            float value = 0.0f;
            if (factors.empty()) {
                value = channel(std::min<int64_t>(static_cast<int64_t>(rgb), c - 1)) * scale;
            } else {
                for (int64_t k = 0; k < c; ++k) value += channel(k) * factors[static_cast<size_t>(k) * 3 + rgb];
                value += factors[static_cast<size_t>(c) * 3 + rgb];
            }
            picture.data[i * 3 + rgb] = to_byte(value);
        }
    }
    return picture;
}

}  // namespace latent::pipeline
