// The functions of the Vulkan loader that ggml and vulkan.cpp call by name. The loader is opened when the backend starts, not
// linked: building needs only headers, and without a loader the error says what to install.
#include <vulkan/vulkan.h>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#include <stdexcept>
#include <string>

#include "backend/vulkan_loader.h"

namespace latent::backend {
namespace {

#if defined(_WIN32)
const char * const file_name = "vulkan-1.dll";

void * open_loader() {
    // Drivers install it in the system's folder; no other is searched.
    return reinterpret_cast<void *>(LoadLibraryExA(file_name, nullptr, LOAD_LIBRARY_SEARCH_SYSTEM32));
}

void * find(void * loader, const char * name) {
    return reinterpret_cast<void *>(GetProcAddress(static_cast<HMODULE>(loader), name));
}
#else
#if defined(__APPLE__)
const char * const file_name = "libvulkan.1.dylib";
#else
const char * const file_name = "libvulkan.so.1";
#endif

void * open_loader() {
    void * opened = dlopen(file_name, RTLD_NOW | RTLD_LOCAL);
#if defined(__APPLE__)
    // macOS has none of its own, and does not search the Vulkan SDK's folder: vulkan.cmake names it.
    if (!opened) opened = dlopen("@rpath/libvulkan.1.dylib", RTLD_NOW | RTLD_LOCAL);
#endif
    return opened;
}

void * find(void * loader, const char * name) {
    return dlsym(loader, name);
}
#endif

/// Never closed: drivers keep threads.
void * loader() {
    static void * const opened = open_loader();
    return opened;
}

template <typename Function>
Function loaded(const char * name) {
    require_vulkan_loader();
    const auto function = reinterpret_cast<Function>(find(loader(), name));
    if (!function) throw std::runtime_error(std::string(file_name) + " has no " + name + "; update the driver");
    return function;
}

}  // namespace

void require_vulkan_loader() {
    if (loader()) return;
#if defined(__APPLE__)
    const char * const how = "install the Vulkan SDK for macOS, which has it and MoltenVK";
#else
    const char * const how = "install the GPU's driver, and on Linux the loader (Debian and Ubuntu: libvulkan1)";
#endif
    throw std::runtime_error(std::string("the Vulkan loader ") + file_name + " was not found; " + how);
}

}  // namespace latent::backend

/// Defines NAME, which calls the loader's function of that name.
#define LATENT_VULKAN_FUNCTION(result, name, parameters, ...)                    \
    VKAPI_ATTR result VKAPI_CALL name parameters {                               \
        static const auto function = latent::backend::loaded<PFN_##name>(#name); \
        return function(__VA_ARGS__);                                            \
    }

extern "C" {

LATENT_VULKAN_FUNCTION(PFN_vkVoidFunction, vkGetInstanceProcAddr, (VkInstance instance, const char * name), instance, name)

LATENT_VULKAN_FUNCTION(VkResult, vkCreateInstance,
                       (const VkInstanceCreateInfo * info, const VkAllocationCallbacks * allocator, VkInstance * instance), info,
                       allocator, instance)

LATENT_VULKAN_FUNCTION(void, vkDestroyInstance, (VkInstance instance, const VkAllocationCallbacks * allocator), instance,
                       allocator)

LATENT_VULKAN_FUNCTION(VkResult, vkEnumeratePhysicalDevices, (VkInstance instance, uint32_t * count, VkPhysicalDevice * devices),
                       instance, count, devices)

LATENT_VULKAN_FUNCTION(void, vkGetPhysicalDeviceProperties, (VkPhysicalDevice device, VkPhysicalDeviceProperties * properties),
                       device, properties)

LATENT_VULKAN_FUNCTION(void, vkGetPhysicalDeviceProperties2, (VkPhysicalDevice device, VkPhysicalDeviceProperties2 * properties),
                       device, properties)

LATENT_VULKAN_FUNCTION(void, vkGetPhysicalDeviceFeatures2, (VkPhysicalDevice device, VkPhysicalDeviceFeatures2 * features),
                       device, features)

LATENT_VULKAN_FUNCTION(void, vkCmdCopyBuffer,
                       (VkCommandBuffer commands, VkBuffer from, VkBuffer to, uint32_t count, const VkBufferCopy * regions),
                       commands, from, to, count, regions)
}
