#pragma once

#include "pipeline/requests.h"

namespace latent::pipeline {

/// The size of a finished image, and of the larger one that fits the networks: it is made whole and cut from its top left.
struct Frame {
    int64_t width = 0, height = 0;                // pixels of the finished image
    int64_t padded_width = 0, padded_height = 0;  // multiples of what the networks take

    bool padded() const { return padded_width != width || padded_height != height; }
};

/// `sides` rounded up to a multiple, which is that of the networks in pixels.
Frame make_frame(int64_t width, int64_t height, int64_t multiple);

/// [n, c, h, w] grown to height x width by repeating the last row and column.
ImageTensor pad_edges(const ImageTensor & image, int64_t height, int64_t width);

/// The top left height x width pixels.
ImageTensor crop_to(const ImageTensor & image, int64_t height, int64_t width);

/// Row `row` of a batch, or the only row.
ImageTensor row_or_only(const ImageTensor & image, int64_t row);

}  // namespace latent::pipeline
