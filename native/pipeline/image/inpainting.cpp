#include "pipeline/image/inpainting.h"

#include <algorithm>

namespace latent::pipeline {
namespace {

/// The mask's plane for a row of the batch.
const float * mask_of(const ImageTensor & mask, int64_t row) {
    return mask.data.data() + (mask.shape[0] == 1 ? 0 : row) * mask.shape[2] * mask.shape[3];
}

}  // namespace

void binarise(ImageTensor & mask) {
    for (float & value : mask.data) value = value >= 0.5f ? 1.0f : 0.0f;
}

ImageTensor with_hole(const ImageTensor & image, const ImageTensor & mask, float hole) {
    ImageTensor out{image.shape, std::vector<float>(image.data.size(), hole)};
    keep_outside(out, image, mask);
    return out;
}

Latents inpainting_channels(const InpaintingForm & form, const Latents & code, const ImageTensor & mask) {
    const auto [n, c, h, w] = code.shape;
    const int64_t plane = h * w, step_y = mask.shape[2] / h, step_x = mask.shape[3] / w;
    Latents out{{n, c + 1, h, w}, std::vector<float>(static_cast<size_t>(n * (c + 1) * plane))};
    for (int64_t row = 0; row < n; ++row) {
        float * target = out.data.data() + row * (c + 1) * plane;
        float * channel = target + (form.mask_first ? 0 : c * plane);
        const float * inside = mask_of(mask, row);
        for (int64_t y = 0; y < h; ++y) {
            for (int64_t x = 0; x < w; ++x) {
                const bool hole = inside[y * step_y * mask.shape[3] + x * step_x] != 0.0f;
                channel[y * w + x] = hole ? form.mask_in : form.mask_out;
            }
        }
        std::copy_n(code.data.data() + row * c * plane, c * plane, target + (form.mask_first ? plane : 0));
    }
    return out;
}

Latents latent_hole(const ImageTensor & mask, int64_t h, int64_t w) {
    const int64_t n = mask.shape[0], height = mask.shape[2], width = mask.shape[3];
    Latents out{{n, 1, h, w}, std::vector<float>(static_cast<size_t>(n * h * w))};
    for (int64_t row = 0; row < n; ++row) {
        const float * inside = mask_of(mask, row);
        for (int64_t i = 0; i < height * width; ++i) {
            const int64_t y = i / width * h / height, x = i % width * w / width;
            if (inside[i] != 0.0f) out.data[static_cast<size_t>((row * h + y) * w + x)] = 1.0f;
        }
    }
    return out;
}

void keep_outside(ImageTensor & picture, const ImageTensor & original, const ImageTensor & mask) {
    const auto [n, c, h, w] = picture.shape;
    const int64_t plane = h * w;
    for (int64_t row = 0; row < n; ++row) {
        const float * inside = mask_of(mask, row);
        for (int64_t channel = 0; channel < c; ++channel) {
            float * target = picture.data.data() + (row * c + channel) * plane;
            const float * source = original.data.data() + ((original.shape[0] == 1 ? 0 : row) * c + channel) * plane;
            for (int64_t i = 0; i < plane; ++i) {
                if (inside[i] == 0.0f) target[i] = source[i];
            }
        }
    }
}

}  // namespace latent::pipeline
