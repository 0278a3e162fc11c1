// ggml's backend, in one file with what needs its static objects.
#include <ggml-vulkan.cpp>

#include <set>

#include "backend/ggml_vulkan.h"

namespace latent::backend {

void keep_ggml_devices() {
    static auto & kept = *new std::set<vk_device>();  // never destroyed, so the last reference is never given up
    for (const vk_device & device : vk_instance.devices) {
        if (device) kept.insert(device);
    }
}

}  // namespace latent::backend
