#include "pipeline/image/upscaling.h"

#include <cmath>

#include "samplers/noise_table.h"

namespace latent::pipeline {

void augment_with_noise(Span<float> image, Span<const float> noise, int level, const NoiseSchedule & schedule) {
    const auto table = samplers::make_noise_table(schedule, samplers::TableArithmetic::float64, samplers::TerminalSnr::zero);
    const double abar = table.abar(level);
    const float keep = static_cast<float>(std::sqrt(abar)), spread = static_cast<float>(std::sqrt(1.0 - abar));
    for (size_t i = 0; i < image.size(); ++i) image[i] = keep * image[i] + spread * noise[i];
}

}  // namespace latent::pipeline
