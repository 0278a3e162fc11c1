#pragma once

#include "core/conditioner_params.h"
#include "core/span.h"

namespace latent::pipeline {

constexpr int kUpscalingTile = 128;  // latent pixels, notebook_helpers.py: larger images run through U-Net and decoder in tiles

/// The x4 upscaler's ImageConcatWithNoiseAugmentation: adds `noise`, of the image's size, at timestep `level` of the low-scale
/// schedule.
void augment_with_noise(Span<float> image, Span<const float> noise, int level, const NoiseSchedule & schedule);

}  // namespace latent::pipeline
