#include "graph/cuda/cuda_device.h"

#include <algorithm>

#include "core/error.h"
#include "core/json.h"
#include "graph/cuda/cuda_library.h"
#include "graph/home.h"

namespace latent::graph {
namespace {

const char * const cuda_kind = "cuda";

std::string last_words(const latent_cuda_api & api) {
    latent_cuda_error error{};
    api.last_error(&error);
    error.message[sizeof error.message - 1] = 0;
    return error.message;
}

DeviceInfo refused(const std::string & name, const std::string & description, const std::string & why) {
    DeviceInfo info;
    info.name = name, info.kind = cuda_kind, info.description = description, info.refused = why;
    return info;
}

DeviceInfo describe(const latent_cuda_api & api, int index) {
    const std::string name = std::string(cuda_kind) + ":" + std::to_string(index);
    latent_cuda_device_info found{};
    if (api.device_info(index, &found) != LATENT_CUDA_OK) return refused(name, "", last_words(api));
    found.name[sizeof found.name - 1] = 0, found.why[sizeof found.why - 1] = 0;
    DeviceInfo info;
    info.name = name, info.kind = cuda_kind, info.description = found.name;
    // The newest CUDA version that the driver supports, as 13010 for 13.1.
    if (const int version = found.driver_version)
        info.driver = "driver for CUDA " + std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
    info.memory_total = found.memory_total;
    info.home = home_for(cuda_kind).name();
    if (!found.usable) info.refused = found.why[0] ? found.why : "the engine does not support it";
    return info;
}

std::vector<DeviceInfo> list(const std::string &) {
    const CudaLibrary library = cuda_library();
    if (!library.refused.empty()) return {refused(cuda_kind, "", library.refused)};
    if (!library.api) return {};
    int32_t count = 0;
    if (library.api->device_count(&count) != LATENT_CUDA_OK) return {refused(cuda_kind, "", last_words(*library.api))};
    std::vector<DeviceInfo> all;
    for (int index = 0; index < count; ++index) all.push_back(describe(*library.api, index));
    return all;
}

}  // namespace

CudaDevice::CudaDevice(const latent_cuda_api * api, int index, int threads)
    : Device(std::string(cuda_kind) + ":" + std::to_string(index), cuda_kind, threads), api_(api), index_(index) {
    info_ = describe(*api, index);
}

DevicePtr CudaDevice::open(const std::string & name, int threads) {
    const CudaLibrary library = cuda_library();
    const size_t colon = name.find(':');
    if (!library.api || colon == std::string::npos) throw Error(ErrorCode::internal, "No CUDA device \"" + name + "\"");
    std::shared_ptr<CudaDevice> device(new CudaDevice(library.api, std::stoi(name.substr(colon + 1)), threads));
    device->call("Opening the device", &latent_cuda_api::device_open, device->index_, static_cast<int32_t>(LATENT_CUDA_BF16),
                 &device->device_);
    return device;
}

CudaDevice::~CudaDevice() {
    if (device_) api_->device_close(device_);
}

// May be called from any thread: while a graph runs, the free memory is the last known value.
DeviceInfo CudaDevice::info() const {
    latent_cuda_memory memory{};
    std::unique_lock<std::mutex> free(mutex_, std::try_to_lock);
    const bool known = free.owns_lock() && device_ && api_->device_memory(device_, &memory) == LATENT_CUDA_OK;
    const std::lock_guard<std::mutex> lock(info_mutex_);
    if (known) info_.memory_total = memory.total, info_.memory_free = memory.free, info_.memory_known = true;
    return info_;
}

void CudaDevice::fail(const char * what, int status) const {
    latent_cuda_error error{};
    api_->last_error(&error);
    error.message[sizeof error.message - 1] = 0;
    const std::string message = std::string(what) + " failed on " + name() + ": " + error.message;
    switch (status) {
        case LATENT_CUDA_OUT_OF_MEMORY:
            throw Error(ErrorCode::out_of_memory, message,
                        Json{{"required", error.wanted_bytes},
                             {"available", error.free_bytes},
                             {"total", error.total_bytes},
                             {"device", name()}}
                            .dump());
        case LATENT_CUDA_CANCELLED: throw Error(ErrorCode::aborted, "The operation was aborted");
        case LATENT_CUDA_UNSUPPORTED: throw Error(ErrorCode::unsupported_model, message, Json{{"device", name()}}.dump());
        case LATENT_CUDA_NO_DEVICE:
        case LATENT_CUDA_DEVICE_FAILED:
            throw Error(ErrorCode::device, message, Json{{"device", name()}, {"driverCode", error.driver_code}}.dump());
        default: throw Error(ErrorCode::internal, message);
    }
}

void CudaDevice::start_profile() {
    const std::lock_guard<std::mutex> lock(mutex_);
    profiling_ = true;
    profile_.clear();
}

std::vector<OpTime> CudaDevice::stop_profile() {
    const std::lock_guard<std::mutex> lock(mutex_);
    profiling_ = false;
    std::vector<OpTime> rows = std::move(profile_);
    profile_.clear();
    std::sort(rows.begin(), rows.end(), [](const OpTime & a, const OpTime & b) { return a.milliseconds > b.milliseconds; });
    return rows;
}

void CudaDevice::count(const std::vector<latent_cuda_launch_time> & launches) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const latent_cuda_launch_time & launch : launches) {
        const std::string label(launch.label, std::find(launch.label, launch.label + sizeof launch.label, '\0'));
        auto row = std::find_if(profile_.begin(), profile_.end(), [&](const OpTime & each) { return each.label == label; });
        if (row == profile_.end()) {
            row = profile_.insert(profile_.end(), OpTime{});
            row->label = label, row->fastest = launch.milliseconds;
        }
        ++row->calls;
        row->milliseconds += launch.milliseconds;
        row->fastest = std::min(row->fastest, launch.milliseconds);
        row->flops += launch.flops;
    }
}

void CudaDevice::trim() {
    ask(&latent_cuda_api::device_trim, device_);
}

DeviceSource cuda_devices() {
    return {cuda_kind, [](const std::string &) { return cuda_library_given(); }, list, CudaDevice::open};
}

}  // namespace latent::graph
