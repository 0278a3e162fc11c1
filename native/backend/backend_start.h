#pragma once

#include <ggml-backend.h>

#include <string>

namespace latent::backend {

/// Starts the driver; each backend has a file with it. Throws, or returns null, if it cannot be started.
ggml_backend_reg_t start();
/// Name and version of the driver of a device with this description; empty if unknown. Throws what the driver throws.
std::string driver_of(const std::string & description);
/// Whether products of float32 are computed in float32.
bool float32_products();

}  // namespace latent::backend
