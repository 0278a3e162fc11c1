#include <ggml-metal.h>

#include "backend/backend_start.h"

namespace latent::backend {

ggml_backend_reg_t start() {
    return ggml_backend_metal_reg();
}

// The matrix kernels round their operands to 16 bits.
bool float32_products() {
    return false;
}

}  // namespace latent::backend
