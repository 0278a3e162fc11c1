#pragma once

#include <vector>

#include "pipeline/requests.h"

namespace latent::pipeline {

/// Float planar -1..1 to 8-bit interleaved, rounding as diffusers does. One Picture per batch row.
std::vector<Picture> to_pictures(const ImageTensor & image);

}  // namespace latent::pipeline
