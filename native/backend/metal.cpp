#include <ggml-metal.h>

#include "backend/backend_start.h"

namespace latent::backend {

ggml_backend_reg_t start() {
    return ggml_backend_metal_reg();
}

// It is a part of the system, which has the version.
std::string driver_of(const std::string &) {
    return {};
}

// The matrix kernels round their operands to 16 bits.
bool float32_products() {
    return false;
}

}  // namespace latent::backend
