#include "graph/portable/ggml_backend_device.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>

#include "core/error.h"
#include "core/json.h"
#include "graph/home.h"
#include "graph/portable/cuda_scratch.h"
#include "graph/portable/ggml_handles.h"
#include "graph/portable/ggml_library.h"
#include "graph/portable/profile.h"
#include "graph/portable/vulkan_scratch.h"

namespace latent::graph {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// A graph runs in slices of about this duration, between which it can be cancelled. Waiting for a GPU costs some 0.1 ms.
constexpr double slice_milliseconds = 40;
constexpr double first_slice_work = 2e9, least_slice_work = 1e7, most_slice_work = 1e13;

/// Multiply-adds of a node, or an equivalent for those that are bound by memory.
double work_of(const ggml_tensor * node) {
    if (does_nothing(node)) return 0;
    const double elements = static_cast<double>(ggml_nelements(node));
    if (node->op == GGML_OP_MUL_MAT) return elements * static_cast<double>(node->src[0]->ne[0]);
    return elements * 30;
}

/// ggml's Metal backend prepares the nodes after these in other threads, where a failed assertion would end the process.
int most_nodes(const std::string & kind) {
    return kind == "metal" ? 64 : 1 << 20;
}

DeviceInfo refused(const std::string & kind, const std::string & name, const std::string & why) {
    DeviceInfo info;
    info.name = name, info.kind = kind, info.refused = why;
    return info;
}

DeviceInfo describe(const latent_backend_api & api, const std::string & kind, int index, bool * float32 = nullptr) {
    const std::string name = kind + ":" + std::to_string(index);
    latent_backend_device_info found{};
    if (api.device_info(index, &found) != LATENT_BACKEND_OK) return refused(kind, name, api.last_error());
    DeviceInfo info;
    info.name = name, info.kind = kind, info.description = found.description, info.driver = found.driver;
    if (kind == "metal") info.description += " (checked by rule, not run by us)";  // docs/gpu.md
    info.memory_total = found.memory_total, info.memory_free = found.memory_free;
    info.memory_known = found.memory_total > 0;
    info.home = home_for(kind).name();
    if (float32) *float32 = found.float32 != 0;
    return info;
}

std::vector<DeviceInfo> list(const std::string & kind) {
    std::vector<DeviceInfo> all;
    const BackendLibrary library = backend_library(kind);
    int32_t count = 0;
    if (!library.refused.empty()) {
        all.push_back(refused(kind, kind, library.refused));
    } else if (library.api && library.api->device_count(&count) != LATENT_BACKEND_OK) {
        all.push_back(refused(kind, kind, library.api->last_error()));
    } else if (library.api && count == 0) {
        all.push_back(refused(kind, kind, "the driver lists no GPU that ggml supports"));
    }
    for (int index = 0; index < count; ++index) all.push_back(describe(*library.api, kind, index));
    return all;
}

}  // namespace

/// Memory that the library keeps of a GPU to compute with, for all its devices in this process.
struct GgmlBackendDevice::Scratch {
    std::atomic<uint64_t> kept{0};  // measured: what was taken while graphs ran that need more than those before
    std::atomic<uint64_t> most{0};  // that a graph needed so far, at most
    std::atomic<bool> measuring{false};

    /// One at a time, so that nothing is counted twice. What other pipelines allocate meanwhile is counted too, less what they
    /// free. `kept` is at most the bound of the graph measured. Where it is too high, a later graph may run out of memory, which
    /// starts the count anew; where it is too low, that graph asks for memory that it has already.
    struct Measurement {
        std::atomic<bool> & running;
        const bool mine;
        Measurement(Scratch & scratch, bool wanted) : running(scratch.measuring), mine(wanted && !running.exchange(true)) {}
        ~Measurement() {
            if (mine) running = false;
        }
    };
};

/// The library frees it when the last device is closed, and so it is counted anew.
std::shared_ptr<GgmlBackendDevice::Scratch> GgmlBackendDevice::scratch_of(const std::string & name) {
    static std::mutex mutex;
    static auto & all = *new std::map<std::string, std::weak_ptr<Scratch>>();
    const std::lock_guard<std::mutex> lock(mutex);
    std::shared_ptr<Scratch> scratch = all[name].lock();
    if (!scratch) all[name] = scratch = std::make_shared<Scratch>();
    return scratch;
}

uint64_t GgmlBackendDevice::reusable() const {
    return scratch_->kept;
}

GgmlBackendDevice::GgmlBackendDevice(const latent_backend_api * api, std::string kind, int index, int threads)
    : GgmlDevice(kind + ":" + std::to_string(index), kind, threads), api_(api), index_(index), slice_work_(first_slice_work) {
    info_ = describe(*api, kind, index, &float32_);
    scratch_ = scratch_of(name());
}

DevicePtr GgmlBackendDevice::open(const std::string & name, int threads) {
    const size_t colon = name.find(':');
    const std::string kind = name.substr(0, colon);
    const BackendLibrary library = backend_library(kind);
    if (!library.api || colon == std::string::npos) throw Error(ErrorCode::internal, "No device \"" + name + "\"");
    std::shared_ptr<GgmlBackendDevice> device(
        new GgmlBackendDevice(library.api, kind, std::atoi(name.c_str() + colon + 1), threads));
    device->check(library.api->device_open(device->index_, &device->device_), "Opening the device");
    return device;
}

GgmlBackendDevice::~GgmlBackendDevice() {
    api_->device_close(device_);
}

void GgmlBackendDevice::check(int status, const char * what) const {
    if (status == LATENT_BACKEND_OK) return;
    const std::string logged = take_ggml_error();
    const std::string message =
        std::string(what) + " failed on " + name() + ": " + api_->last_error() + (logged.empty() ? "" : " (" + logged + ")");
    if (status == LATENT_BACKEND_OUT_OF_MEMORY) {
        const DeviceInfo now = describe(*api_, kind(), index_);
        throw Error(ErrorCode::out_of_memory, message,
                    Json{{"available", now.memory_free}, {"total", now.memory_total}, {"device", name()}}.dump());
    }
    throw Error(ErrorCode::device,
                message + ". The device cannot be used again in this process: restart the process, or use device \"cpu\"",
                Json{{"device", name()}}.dump());
}

void GgmlBackendDevice::check_answers() const {
    latent_backend_device_info found{};
    if (api_->device_info(index_, &found) != LATENT_BACKEND_OK) check(LATENT_BACKEND_FAILED, "Allocating memory");
}

// May be called from any thread: while a graph runs, the free memory is the last known value.
DeviceInfo GgmlBackendDevice::info() const {
    std::unique_lock<std::mutex> idle(mutex_, std::try_to_lock);
    if (!idle.owns_lock()) {
        const std::lock_guard<std::mutex> lock(info_mutex_);
        return info_;
    }
    const DeviceInfo now = describe(*api_, kind(), index_);
    const std::lock_guard<std::mutex> lock(info_mutex_);
    if (now.refused.empty()) info_ = now;
    return info_;
}

uint64_t GgmlBackendDevice::work_bytes(ggml_cgraph * graph, bool) const {
    if (kind() == "vulkan") return vulkan_scratch_bytes(graph, float32_);
    return kind() == "ggml-cuda" ? cuda_scratch_bytes(graph) : 0;
}

uint64_t GgmlBackendDevice::host_work_bytes() const {
    return LATENT_BACKEND_TRANSFER;
}

ggml_backend_buffer_type * GgmlBackendDevice::buffer_type() const {
    return api_->buffer_type(device_);
}

bool GgmlBackendDevice::supports(const ggml_tensor * node) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    int32_t supported = 0;
    check(api_->supports(device_, node, &supported), "Planning a graph");
    return supported != 0;
}

void GgmlBackendDevice::write(ggml_tensor * tensor, const void * data) {
    const std::lock_guard<std::mutex> lock(mutex_);
    check(api_->write(device_, tensor, data, ggml_nbytes(tensor)), "Writing to the device");
}

void GgmlBackendDevice::read(const ggml_tensor * tensor, void * data) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    check(api_->read(device_, tensor, data, ggml_nbytes(tensor)), "Reading from the device");
}

void GgmlBackendDevice::copy(const ggml_tensor * from, ggml_tensor * to) {
    const std::lock_guard<std::mutex> lock(mutex_);
    check(api_->copy(device_, from, to), "Copying on the device");
}

// Which scratch a graph takes depends on the GPU. What the driver counts is known; work_bytes() is a bound of it.
void GgmlBackendDevice::compute(ggml_cgraph * graph, const CancelToken & cancel, bool own_threads, WeightStream *) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const uint64_t bound = work_bytes(graph, own_threads);
    const Scratch::Measurement measurement(*scratch_, bound > scratch_->most);
    try {
        const uint64_t before = measurement.mine ? describe(*api_, kind(), index_).memory_free : 0;
        run(graph, cancel);
        if (!measurement.mine) return;
        const uint64_t after = describe(*api_, kind(), index_).memory_free;
        if (after < before) scratch_->kept = std::min(scratch_->kept + (before - after), bound);
        scratch_->most = bound;
    } catch (const Error & error) {  // of memory: the library gives back what it kept
        if (error.code() == ErrorCode::out_of_memory) scratch_->kept = scratch_->most = 0;
        throw;
    }
}

// The size of a slice follows the speed of the device. While profiling, every node is a slice.
void GgmlBackendDevice::run(ggml_cgraph * graph, const CancelToken & cancel) {
    const int nodes = ggml_graph_n_nodes(graph);
    for (int first = 0; first < nodes;) {
        cancel.check();
        const ggml_tensor * counted = nullptr;
        double work = 0;
        int last = first;
        const int most = std::min(nodes, first + most_nodes(kind()));
        while (last < most && (work == 0 || (work < slice_work_ && !profiling_))) {
            const double next = work_of(ggml_graph_node(graph, last));
            if (next > 0) counted = ggml_graph_node(graph, last);
            work += next;
            ++last;
        }
        while (last < most && does_nothing(ggml_graph_node(graph, last))) ++last;
        if (work == 0) {
            first = last;
            continue;
        }
        const auto start = Clock::now();
        check(api_->compute(device_, graph, first, last), "Computing");
        const double taken = milliseconds_since(start);
        if (profiling_) {
            count(counted, taken);
        } else if (last < nodes && (work >= slice_work_ || taken > slice_milliseconds)) {  // smaller slices say little
            const double change = std::clamp(slice_milliseconds / std::max(taken, 1e-3), 0.25, 2.0);
            slice_work_ = std::clamp(slice_work_ * change, least_slice_work, most_slice_work);
        }
        first = last;
    }
    cancel.check();
}

void GgmlBackendDevice::count(const ggml_tensor * node, double milliseconds) {
    const std::string label = std::string("ggml ") + ggml_op_desc(node);
    OpTime & row = profile_[label];
    row.label = label;
    row.fastest = row.calls == 0 ? milliseconds : std::min(row.fastest, milliseconds);
    ++row.calls;
    row.milliseconds += milliseconds;
    if (node->op == GGML_OP_MUL_MAT) row.flops += 2 * work_of(node);
    row.bytes += static_cast<double>(ggml_nbytes(node));
    for (const ggml_tensor * source : node->src)
        if (source) row.bytes += static_cast<double>(ggml_nbytes(source));
}

void GgmlBackendDevice::start_profile() {
    const std::lock_guard<std::mutex> lock(mutex_);
    profiling_ = true;
    profile_.clear();
}

std::vector<OpTime> GgmlBackendDevice::stop_profile() {
    const std::lock_guard<std::mutex> lock(mutex_);
    profiling_ = false;
    std::vector<OpTime> rows;
    for (const auto & [label, row] : profile_) rows.push_back(row);
    profile_.clear();
    std::sort(rows.begin(), rows.end(), [](const OpTime & a, const OpTime & b) { return a.milliseconds > b.milliseconds; });
    return rows;
}

std::vector<DeviceSource> backend_devices() {
    std::vector<DeviceSource> all;
    for (const std::string & kind : backend_kinds()) all.push_back({kind, backend_library_given, list, GgmlBackendDevice::open});
    return all;
}

}  // namespace latent::graph
