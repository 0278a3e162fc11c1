#include "graph/home.h"

#include <algorithm>

#include "core/environment.h"
#include "core/error.h"
#include "graph/cuda/cuda_device.h"
#include "graph/cuda/cuda_home.h"
#include "graph/fused/fused_home.h"
#include "graph/portable/ggml_backend_device.h"
#include "graph/portable/ggml_cpu_device.h"
#include "graph/portable/portable_home.h"

namespace latent::graph {

const std::vector<const Home *> & homes() {
    static const std::vector<const Home *> all = {&fused_home(), &portable_home(), &cuda_home()};
    return all;
}

// The CPU is last.
const std::vector<DeviceSource> & device_sources() {
    static const std::vector<DeviceSource> all = [] {
        std::vector<DeviceSource> sources = backend_devices();
        sources.insert(sources.begin(), cuda_devices());
        sources.push_back(cpu_devices());
        return sources;
    }();
    return all;
}

const Home * preferred_home() {
    static const Home * const preferred = []() -> const Home * {
        std::vector<std::string> names;
        for (const Home * home : homes()) names.push_back(home->name());
        const std::string choice = environment_choice("LATENT_OPS", names);
        const auto found =
            std::find_if(homes().begin(), homes().end(), [&](const Home * home) { return choice == home->name(); });
        return found == homes().end() ? nullptr : *found;
    }();
    return preferred;
}

std::string float32_advice(const Device & device) {
    return device.kind() == "vulkan" ? ", or start the program with LATENT_VULKAN_FLOAT32=1 in its environment" : "";
}

const Home & home_for(const std::string & kind, const std::string & name) {
    const Home * preferred = name.empty() ? preferred_home() : nullptr;
    if (preferred && preferred->runs_on(kind)) return *preferred;
    for (const Home * home : homes()) {
        if (home->runs_on(kind) && (name.empty() || name == home->name())) return *home;
    }
    throw Error(ErrorCode::internal, "No home \"" + name + "\" runs on a device of kind " + kind);
}

}  // namespace latent::graph
