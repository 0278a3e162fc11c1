#include "pipeline/image/to_pictures.h"

#include <algorithm>
#include <cmath>

namespace latent::pipeline {

std::vector<Picture> to_pictures(const ImageTensor & image) {
    const auto [n, c, h, w] = image.shape;
    const size_t plane = static_cast<size_t>(h * w);
    std::vector<Picture> pictures;
    pictures.reserve(static_cast<size_t>(n));
    for (int64_t row = 0; row < n; ++row) {
        Picture picture{static_cast<int>(w), static_cast<int>(h), static_cast<int>(c), {}};
        picture.data.resize(plane * static_cast<size_t>(c));
        for (int64_t channel = 0; channel < c; ++channel) {
            const float * source = image.data.data() + static_cast<size_t>(row * c + channel) * plane;
            uint8_t * target = picture.data.data() + channel;
            for (size_t i = 0; i < plane; ++i) {
                // nearbyint: round half to even, as numpy's round in diffusers' numpy_to_pil; NaN becomes 0
                const float unit = source[i] * 0.5f + 0.5f;
                const float bounded = unit > 0.0f ? std::min(unit, 1.0f) : 0.0f;
                target[i * static_cast<size_t>(c)] = static_cast<uint8_t>(std::nearbyint(bounded * 255.0f));
            }
        }
        pictures.push_back(std::move(picture));
    }
    return pictures;
}

}  // namespace latent::pipeline
