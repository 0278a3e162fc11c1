#include <ggml-vulkan.h>

#include <cstdlib>

#include "backend/backend_start.h"

namespace latent::backend {

ggml_backend_reg_t start() {
    ggml_backend_vk_get_device_count();  // throws the reason, which ggml_backend_vk_reg() only logs
    return ggml_backend_vk_reg();
}

// ggml reads both once, when a device is first opened. By default the operands of products are rounded to 16 bits, or to 8 bits
// next to quantised weights.
bool float32_products() {
    return std::getenv("GGML_VK_DISABLE_F16") && std::getenv("GGML_VK_DISABLE_INTEGER_DOT_PRODUCT");
}

}  // namespace latent::backend
