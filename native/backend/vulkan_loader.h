#pragma once

namespace latent::backend {

/// Throws std::runtime_error if the system has no Vulkan loader.
void require_vulkan_loader();

}  // namespace latent::backend
