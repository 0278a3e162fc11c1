#pragma once

#include <ggml-backend.h>

namespace latent::backend {

/// Starts the driver; each backend has a file with it. Throws, or returns null, if it cannot be started.
ggml_backend_reg_t start();
/// Whether products of float32 are computed in float32.
bool float32_products();

}  // namespace latent::backend
