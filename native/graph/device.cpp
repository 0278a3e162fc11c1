#include "graph/device.h"

#include <map>
#include <mutex>
#include <utility>

#include "core/cpu.h"
#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "graph/home.h"
#include "kernels/common/choice.h"

namespace latent::graph {

namespace {

struct Refusals {
    std::mutex mutex;
    std::map<std::string, std::string> reasons;  // by the device's name
};

Refusals & refusals() {
    static Refusals & all = *new Refusals;  // never destroyed: a thread may still list devices at exit
    return all;
}

/// The devices of a source, with the reasons of refuse_device().
std::vector<DeviceInfo> devices_of(const DeviceSource & source) {
    std::vector<DeviceInfo> all = source.list(source.kind);
    const std::lock_guard<std::mutex> lock(refusals().mutex);
    for (DeviceInfo & info : all) {
        const auto reason = refusals().reasons.find(info.name);
        if (reason != refusals().reasons.end() && info.refused.empty()) info.refused = reason->second;
    }
    return all;
}

struct Found {
    const DeviceSource * source = nullptr;
    std::string name;
    std::string refused, known;  // why there is none, and the usable devices that were looked at
};

// Only the wanted kind is listed, as that starts its driver, and the CPU. "auto" is the CPU until the golden tests of a backend
// have run on such a device (docs/gpu.md).
Found find(const std::string & name) {
    const std::string wanted = name == "auto" ? "cpu" : name, kind = wanted.substr(0, wanted.find(':'));
    Found found;
    for (const DeviceSource & source : device_sources()) {
        if (source.kind != kind && source.kind != "cpu") continue;
        for (const DeviceInfo & info : devices_of(source)) {
            // An entry without a number says why its kind has no devices.
            const bool named = wanted == info.name || wanted == info.kind;
            const bool whole_kind = info.name == info.kind && info.kind == kind && !info.refused.empty();
            if (!named && !whole_kind) {
                if (info.refused.empty()) found.known += (found.known.empty() ? "" : ", ") + info.name;
            } else if (info.refused.empty()) {
                found.source = &source, found.name = info.name;
                return found;
            } else if (found.refused.empty()) {
                found.refused = "The device \"" + (named ? info.name : wanted) + "\" cannot be used: " + info.refused;
            }
        }
    }
    return found;
}

[[noreturn]] void refuse(const std::string & name, const std::string & why, const std::string & known) {
    const bool ended = !why.empty() && why.back() == '.';
    throw Error(ErrorCode::device, why + (ended ? " Devices: " : ". Devices: ") + known + ".",
                Json{{"device", name}, {"devices", known}}.dump());
}

}  // namespace

Device::Device(std::string name, std::string kind, int threads)
    : name_(std::move(name)), kind_(std::move(kind)), threads_(threads > 0 ? threads : usable_cores()) {}

std::vector<DeviceInfo> list_devices(const std::string & kind) {
    std::vector<DeviceInfo> all;
    for (const DeviceSource & source : device_sources()) {
        if (!kind.empty() && source.kind != kind) continue;
        for (DeviceInfo & info : devices_of(source)) all.push_back(std::move(info));
    }
    return all;
}

void refuse_device(const std::string & name, const std::string & reason) {
    const std::lock_guard<std::mutex> lock(refusals().mutex);
    if (reason.empty()) {
        refusals().reasons.erase(name);
    } else {
        refusals().reasons[name] = reason;
    }
}

std::vector<std::string> device_kinds() {
    std::vector<std::string> kinds;
    for (const DeviceSource & source : device_sources())
        if (source.given(source.kind)) kinds.push_back(source.kind);
    return kinds;
}

std::string device_name(const std::string & name) {
    const Found found = find(name);
    return found.source ? found.name : name;
}

std::shared_ptr<Device> Device::create(const std::string & name, int threads) {
    kernels::kernels_allowed("portable"), preferred_home();  // throws if the environment names something unknown
    const Found found = find(name);
    if (found.source) return found.source->open(found.name, threads);
    refuse(name, found.refused.empty() ? "There is no device \"" + name + "\"" : found.refused, found.known);
}

uint64_t Device::available() const {
    const DeviceInfo now = info();
    return now.memory_known ? now.memory_free : UINT64_MAX;
}

void Device::require(uint64_t bytes, const std::string & what) const {
    const uint64_t free = available();
    if (bytes <= free) return;
    throw Error(ErrorCode::out_of_memory,
                what + " needs " + mebibytes(bytes) + " of memory, and " + mebibytes(free) + " are available on " + name_,
                Json{{"what", what}, {"required", bytes}, {"available", free}, {"device", name_}}.dump());
}

}  // namespace latent::graph
