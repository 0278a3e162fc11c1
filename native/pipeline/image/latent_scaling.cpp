#include "pipeline/image/latent_scaling.h"

namespace latent::pipeline {
namespace {

/// x * scale + offset, both per channel.
void transform(Latents & latents, const std::vector<double> & scale, const std::vector<double> & offset) {
    const auto [n, c, h, w] = latents.shape;
    const size_t plane = static_cast<size_t>(h * w), channels = scale.size();
    for (size_t i = 0; i < latents.data.size(); ++i) {
        const size_t channel = i / plane % channels;
        latents.data[i] = static_cast<float>(latents.data[i] * scale[channel] + offset[channel]);
    }
}

void multiply(Latents & latents, double factor) {
    const float scale = static_cast<float>(factor);
    for (float & value : latents.data) value *= scale;
}

}  // namespace

LatentScaling LatentScaling::of(const ModelSpec & spec) {
    return {spec.scale_factor, spec.latents_mean, spec.latents_std};
}

LatentScaling LatentScaling::of_tiny(const ModelSpec & spec) {
    if (spec.latents_mean.empty()) return {};
    LatentScaling scaling = of(spec);
    if (spec.first_stage && spec.first_stage->kind == "tiny") return scaling;
    for (double & value : scaling.mean) value *= family_scale_factor(spec);
    for (double & value : scaling.deviation) value *= family_scale_factor(spec);
    return scaling;
}

void LatentScaling::to_latents(Latents & codes) const {
    if (mean.empty()) return multiply(codes, factor);
    std::vector<double> scale, offset;
    for (size_t i = 0; i < mean.size(); ++i) scale.push_back(factor / deviation[i]), offset.push_back(-mean[i] * scale[i]);
    transform(codes, scale, offset);
}

void LatentScaling::to_codes(Latents & latents) const {
    if (mean.empty()) return multiply(latents, 1.0 / factor);
    std::vector<double> scale;
    for (const double each : deviation) scale.push_back(each / factor);
    transform(latents, scale, mean);
}

}  // namespace latent::pipeline
