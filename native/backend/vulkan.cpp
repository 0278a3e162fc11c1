#include <ggml-vulkan.h>

#include <cstdlib>

#include "backend/backend_start.h"

namespace latent::backend {
namespace {

/// Unless set, ggml rounds the float32 operands of products to 16 or 8 bits where the device can. Read when a device is opened.
const char * const roundings[] = {"GGML_VK_DISABLE_F16", "GGML_VK_DISABLE_COOPMAT", "GGML_VK_DISABLE_COOPMAT2",
                                  "GGML_VK_DISABLE_INTEGER_DOT_PRODUCT"};

void set_variable(const char * name) {
#if defined(_WIN32)
    _putenv_s(name, "1");
#else
    setenv(name, "1", 1);
#endif
}

}  // namespace

ggml_backend_reg_t start() {
    if (std::getenv("LATENT_VULKAN_FLOAT32")) {
        for (const char * name : roundings) set_variable(name);
    }
    ggml_backend_vk_get_device_count();  // throws the reason, which ggml_backend_vk_reg() only logs
    return ggml_backend_vk_reg();
}

bool float32_products() {
    for (const char * name : roundings) {
        if (!std::getenv(name)) return false;
    }
    return true;
}

}  // namespace latent::backend
