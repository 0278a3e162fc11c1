#include "graph/device.h"

#include <utility>

#include "core/cpu.h"
#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "graph/home.h"
#include "kernels/common/choice.h"

namespace latent::graph {

namespace {

[[noreturn]] void refuse(const std::string & name, const std::string & why, const std::string & known) {
    throw Error(ErrorCode::device, why + " Devices: " + known + ".", Json{{"device", name}, {"devices", known}}.dump());
}

}  // namespace

Device::Device(std::string name, std::string kind, int threads)
    : name_(std::move(name)), kind_(std::move(kind)), threads_(threads > 0 ? threads : usable_cores()) {}

std::vector<DeviceInfo> list_devices() {
    std::vector<DeviceInfo> all;
    for (const DeviceSource & source : device_sources()) {
        for (DeviceInfo & info : source.list()) all.push_back(std::move(info));
    }
    return all;
}

// "auto" is the CPU until the golden tests of a backend have run on such a device (docs/gpu.md).
std::shared_ptr<Device> Device::create(const std::string & name, int threads) {
    kernels::kernels_allowed("portable"), preferred_home();  // throws if the environment names something unknown
    const std::string wanted = name == "auto" ? "cpu" : name;
    std::string known, refused;
    for (const DeviceSource & source : device_sources()) {
        for (const DeviceInfo & info : source.list()) {
            if (wanted != info.name && wanted != info.kind) {
                if (info.refused.empty()) known += (known.empty() ? "" : ", ") + info.name;
                continue;
            }
            if (info.refused.empty()) return source.open(info.name, threads);
            if (refused.empty()) refused = "The device \"" + info.name + "\" cannot be used: " + info.refused;
        }
    }
    refuse(name, refused.empty() ? "There is no device \"" + name + "\"." : refused, known);
}

uint64_t Device::available() const {
    const uint64_t free = info().memory_free;
    return free ? free : UINT64_MAX;
}

void Device::require(uint64_t bytes, const std::string & what) const {
    const uint64_t free = available();
    if (bytes <= free) return;
    throw Error(ErrorCode::out_of_memory,
                what + " needs " + mebibytes(bytes) + " of memory, and " + mebibytes(free) + " are available on " + name_,
                Json{{"what", what}, {"required", bytes}, {"available", free}, {"device", name_}}.dump());
}

}  // namespace latent::graph
