// ggml's backend, in one file with what needs its static objects.
#include <ggml-vulkan.cpp>

#include <set>

#include "backend/backend_start.h"

namespace latent::backend {

// ggml's static destructor destroys devices: half opened ones abort in the loader, and on Windows the driver may have been
// unloaded before.
void keep_devices() {
    static auto & kept = *new std::set<vk_device>();  // never destroyed, so the last reference is never given up
    for (const vk_device & device : vk_instance.devices) {
        if (device) kept.insert(device);
    }
}

}  // namespace latent::backend
