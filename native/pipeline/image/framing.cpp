#include "pipeline/image/framing.h"

#include <algorithm>

namespace latent::pipeline {
namespace {

/// The pixels of `image` at (min(y, h - 1), min(x, w - 1)) for y, x of the new size.
ImageTensor resampled(const ImageTensor & image, int64_t height, int64_t width) {
    const auto [n, c, h, w] = image.shape;
    ImageTensor out{{n, c, height, width}, std::vector<float>(static_cast<size_t>(n * c * height * width))};
    float * target = out.data.data();
    const int64_t kept = std::min(w, width);
    for (int64_t plane = 0; plane < n * c; ++plane) {
        for (int64_t y = 0; y < height; ++y) {
            const float * source = image.data.data() + (plane * h + std::min(y, h - 1)) * w;
            target = std::copy_n(source, kept, target);
            target = std::fill_n(target, width - kept, source[w - 1]);
        }
    }
    return out;
}

}  // namespace

Frame make_frame(int64_t width, int64_t height, int64_t multiple) {
    const auto up = [&](int64_t side) { return (side + multiple - 1) / multiple * multiple; };
    return {width, height, up(width), up(height)};
}

ImageTensor pad_edges(const ImageTensor & image, int64_t height, int64_t width) {
    return resampled(image, std::max(height, image.shape[2]), std::max(width, image.shape[3]));
}

ImageTensor crop_to(const ImageTensor & image, int64_t height, int64_t width) {
    return resampled(image, std::min(height, image.shape[2]), std::min(width, image.shape[3]));
}

ImageTensor row_or_only(const ImageTensor & image, int64_t row) {
    const auto [n, c, h, w] = image.shape;
    const auto size = static_cast<std::ptrdiff_t>(c * h * w);
    const auto begin = image.data.begin() + (n == 1 ? 0 : row) * size;
    return {{1, c, h, w}, {begin, begin + size}};
}

}  // namespace latent::pipeline
