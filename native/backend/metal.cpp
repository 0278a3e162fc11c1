#include <ggml-metal.h>

#include <cstdlib>

#include "backend/backend_start.h"

namespace latent::backend {

// process.exit() leaves pipelines, and ggml's static destructors end the process if buffers in residency sets are left
// (ggml_metal_rsets_free). Without these sets, buffers are made resident by each command that uses them, as before macOS 15.
ggml_backend_reg_t start() {
    setenv("GGML_METAL_NO_RESIDENCY", "1", 0);
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

void memory_of(ggml_backend_dev_t device, size_t * free, size_t * total) {
    ggml_backend_dev_memory(device, free, total);
}

// Freeing cannot fail.
void guard_buffers(ggml_backend_buffer_type_t) {}

bool can_free(ggml_backend_dev_t) {
    return true;
}

}  // namespace latent::backend
