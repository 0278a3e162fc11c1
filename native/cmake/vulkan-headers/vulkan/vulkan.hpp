#pragma once

#include_next <vulkan/vulkan.hpp>

// VK_EXT_layer_settings came with version 1.3.272 of the headers. ggml fills its structure on every start, although only the
// validation layer reads it; Debian 12 and Ubuntu 22.04 have older headers.
#if VK_HEADER_VERSION < 272 && !defined(VK_EXT_layer_settings)

#include <vector>

namespace vk {

enum class LayerSettingTypeEXT { eBool32 = 0 };

struct LayerSettingEXT {
    const char * pLayerName;
    const char * pSettingName;
    LayerSettingTypeEXT type;
    uint32_t valueCount;
    const void * pValues;
};

struct LayerSettingsCreateInfoEXT {
    explicit LayerSettingsCreateInfoEXT(const std::vector<LayerSettingEXT> & settings)
        : settingCount(static_cast<uint32_t>(settings.size())), pSettings(settings.data()) {}
    VkStructureType sType = static_cast<VkStructureType>(1000496000);
    const void * pNext = nullptr;
    uint32_t settingCount;
    const LayerSettingEXT * pSettings;
};

}  // namespace vk

#endif
