#pragma once

#include "core/conditioner_params.h"
#include "core/span.h"

namespace latent::pipeline {

constexpr int kUpscalingTile = 128;  // latent pixels, notebook_helpers.py: above it U-Net and decoder run in tiles

/// The x4 upscaler's ImageConcatWithNoiseAugmentation: the image noised as at timestep `level` of the low-scale schedule.
/// `noise` has the image's size.
void augment_with_noise(Span<float> image, Span<const float> noise, int level, const NoiseSchedule & schedule);

}  // namespace latent::pipeline
