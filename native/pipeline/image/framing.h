#pragma once

#include "pipeline/requests.h"

namespace latent::pipeline {

/// The size of the final image, and of the padded image that fits the networks, whose top left part it is.
struct Frame {
    int64_t width = 0, height = 0;                // of the final image, in pixels
    int64_t padded_width = 0, padded_height = 0;  // multiples of the networks' granularity

    bool padded() const { return padded_width != width || padded_height != height; }
};

/// The size rounded up to a multiple, the networks' granularity in pixels.
Frame make_frame(int64_t width, int64_t height, int64_t multiple);

/// Pads [n, c, h, w] to height x width by repeating the last row and column.
ImageTensor pad_edges(const ImageTensor & image, int64_t height, int64_t width);

/// The top left height x width pixels.
ImageTensor crop_to(const ImageTensor & image, int64_t height, int64_t width);

/// Row `row` of a batch, or the only row.
ImageTensor row_or_only(const ImageTensor & image, int64_t row);

}  // namespace latent::pipeline
