#include <ggml-vulkan.h>
#include <vulkan/vulkan.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <vector>

#include "backend/backend_start.h"
#include "backend/vulkan_loader.h"

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

class Instance {
public:
    Instance() {
        VkApplicationInfo application{};
        application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, application.apiVersion = VK_API_VERSION_1_2;
        VkInstanceCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, info.pApplicationInfo = &application;
#if defined(__APPLE__)
        // MoltenVK's devices are listed only where they are asked for.
        const char * const extension = VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME;
        info.enabledExtensionCount = 1, info.ppEnabledExtensionNames = &extension;
        info.flags = VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR;
#endif
        if (vkCreateInstance(&info, nullptr, &instance_) != VK_SUCCESS) instance_ = VK_NULL_HANDLE;
    }
    ~Instance() {
        if (instance_) vkDestroyInstance(instance_, nullptr);
    }
    Instance(const Instance &) = delete;
    Instance & operator=(const Instance &) = delete;

    /// Empty without an instance.
    std::vector<VkPhysicalDevice> devices() const {
        uint32_t count = 0;
        if (!instance_ || vkEnumeratePhysicalDevices(instance_, &count, nullptr) != VK_SUCCESS) return {};
        std::vector<VkPhysicalDevice> all(count);
        if (vkEnumeratePhysicalDevices(instance_, &count, all.data()) < VK_SUCCESS) return {};
        all.resize(count);
        return all;
    }

private:
    VkInstance instance_ = VK_NULL_HANDLE;
};

/// "NVIDIA 575.51.02", by the name of the device. Devices of one name have one driver.
std::map<std::string, std::string> list_drivers() {
    std::map<std::string, std::string> drivers;
    const Instance instance;
    for (VkPhysicalDevice device : instance.devices()) {
        VkPhysicalDeviceDriverProperties driver{};
        driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
        VkPhysicalDeviceProperties2 properties{};
        properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
        vkGetPhysicalDeviceProperties(device, &properties.properties);
        if (properties.properties.apiVersion < VK_API_VERSION_1_2) continue;
        properties.pNext = &driver;
        vkGetPhysicalDeviceProperties2(device, &properties);
        const std::string name = driver.driverName, version = driver.driverInfo;
        drivers[properties.properties.deviceName] = version.empty() ? name : name + " " + version;
    }
    return drivers;
}

}  // namespace

std::string driver_of(const std::string & description) {
    static const std::map<std::string, std::string> drivers = list_drivers();
    const auto found = drivers.find(description);
    return found == drivers.end() ? std::string() : found->second;
}

ggml_backend_reg_t start() {
    if (std::getenv("LATENT_VULKAN_FLOAT32")) {
        for (const char * name : roundings) set_variable(name);
    }
    require_vulkan_loader();
    ggml_backend_vk_get_device_count();  // throws the reason, which ggml_backend_vk_reg() only logs
    return ggml_backend_vk_reg();
}

bool float32_products() {
    for (const char * name : roundings) {
        if (!std::getenv(name)) return false;
    }
    return true;
}

void memory_of(ggml_backend_dev_t device, size_t * free, size_t * total) {
    ggml_backend_dev_memory(device, free, total);
}

// Allocating returns null where it fails, and freeing is not checked.
void guard_buffers(ggml_backend_buffer_type_t) {}

void forget_errors() {}

bool can_free(ggml_backend_t) {
    return true;
}

}  // namespace latent::backend
