#include "graph/portable/ggml_device.h"

#include <ggml-cpu.h>

#include <algorithm>
#include <cctype>
#include <new>

#include "core/cpu.h"
#include "core/json.h"
#include "core/log.h"
#include "core/memory.h"
#include "graph/home.h"
#include "graph/portable/ggml_handles.h"

namespace latent::graph {

namespace {

std::mutex log_mutex;
std::string last_error;

LogLevel log_level(ggml_log_level level) {
    switch (level) {
        case GGML_LOG_LEVEL_ERROR: return LogLevel::error;
        case GGML_LOG_LEVEL_WARN: return LogLevel::warn;
        case GGML_LOG_LEVEL_INFO: return LogLevel::info;
        default: return LogLevel::debug;
    }
}

void keep_error(ggml_log_level level, const char * text, void *) {
    log(log_level(level), text);
    if (level != GGML_LOG_LEVEL_ERROR) return;
    const std::lock_guard<std::mutex> lock(log_mutex);
    last_error = text;
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

std::string kind_of(ggml_backend_dev_t device) {
    const std::string kind = lower(ggml_backend_reg_name(ggml_backend_dev_backend_reg(device)));
    return kind == "mtl" ? "metal" : kind == "cuda" ? "ggml-cuda" : kind;  // "cuda" is our own engine
}

/// ggml's "Vulkan0" is "vulkan:0" here.
std::string name_of(ggml_backend_dev_t device) {
    const std::string kind = kind_of(device), name = lower(ggml_backend_dev_name(device));
    return kind == "cpu" ? kind : kind + ":" + name.substr(name.find_last_not_of("0123456789") + 1);
}

bool is_gpu(ggml_backend_dev_t device) {
    const auto type = ggml_backend_dev_type(device);
    return type == GGML_BACKEND_DEVICE_TYPE_GPU || type == GGML_BACKEND_DEVICE_TYPE_IGPU;
}

/// GPUs in ggml's order, then the CPU; accelerators that only assist the CPU (BLAS) are not listed as devices.
std::vector<ggml_backend_dev_t> usable_devices() {
    quiet_ggml();
    std::vector<ggml_backend_dev_t> devices;
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
        if (is_gpu(ggml_backend_dev_get(i))) devices.push_back(ggml_backend_dev_get(i));
    }
    if (ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU)) devices.push_back(cpu);
    return devices;
}

DeviceInfo describe(ggml_backend_dev_t device) {
    DeviceInfo info;
    info.name = name_of(device);
    info.kind = kind_of(device);
    info.description = ggml_backend_dev_description(device);
    info.home = home_for(info.kind).name();
    if (info.kind == "cpu") {
        info.description = cpu_brand();
        info.memory_total = total_memory();
        info.memory_free = available_memory();
    } else {
        size_t free = 0, total = 0;
        ggml_backend_dev_memory(device, &free, &total);
        info.memory_total = total;
        info.memory_free = free;
    }
    return info;
}

/// Reasons for a graph to end early; checked after every node.
struct Stop {
    const CancelToken * cancel;
    const std::atomic<bool> * node_failed;
    Profile * profile;
};

bool abort_requested(void * data) {
    const Stop & stop = *static_cast<const Stop *>(data);
    if (stop.profile) stop.profile->lap();
    return stop.cancel->cancelled() || stop.node_failed->load();
}

}  // namespace

void quiet_ggml() {
    static const bool once = [] {
        ggml_log_set(keep_error, nullptr);
        return true;
    }();
    (void)once;
}

std::string take_ggml_error() {
    const std::lock_guard<std::mutex> lock(log_mutex);
    std::string text = std::move(last_error);
    last_error.clear();
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
    return text;
}

GgmlDevice::GgmlDevice(std::string name, std::string kind, int threads)
    : Device(std::move(name), std::move(kind), std::min(threads > 0 ? threads : usable_cores(), GGML_MAX_N_THREADS)) {}

DevicePtr GgmlDevice::open(const std::string & name, int threads) {
    for (ggml_backend_dev_t each : usable_devices()) {
        if (name_of(each) != name) continue;
        std::shared_ptr<GgmlDevice> device(new GgmlDevice(name, kind_of(each), threads));
        device->backend_ = ggml_backend_dev_init(each, nullptr);
        if (!device->backend_) {
            throw Error(ErrorCode::device, "The device \"" + name + "\" could not be opened. " + take_ggml_error(),
                        Json{{"device", name}}.dump());
        }
        if (ggml_backend_dev_type(each) == GGML_BACKEND_DEVICE_TYPE_CPU)
            device->pool_ = std::make_unique<kernels::Pool>(device->threads());
        return device;
    }
    throw Error(ErrorCode::internal, "No ggml device \"" + name + "\"");
}

GgmlDevice::~GgmlDevice() {
    if (backend_) ggml_backend_free(backend_);
    if (ggml_pool_) ggml_threadpool_free(ggml_pool_);
}

DeviceInfo GgmlDevice::info() const {
    return describe(ggml_backend_get_device(backend_));
}

ggml_backend_buffer_type * GgmlDevice::buffer_type() const {
    return pool_ ? buffers_.type() : ggml_backend_dev_buffer_type(ggml_backend_get_device(backend_));
}

uint64_t GgmlDevice::work_bytes(ggml_cgraph * graph, bool own_threads) const {
    return pool_ ? ggml_graph_plan(graph, own_threads ? 1 : threads(), nullptr).work_size : 0;
}

void GgmlDevice::compute(ggml_cgraph * graph, const CancelToken & cancel, bool own_threads) {
    const std::lock_guard<std::mutex> lock(computing_);
    cancel.check();
    const ggml_status status =
        pool_ ? static_cast<ggml_status>(compute_cpu(graph, cancel, own_threads)) : ggml_backend_graph_compute(backend_, graph);
    if (status == GGML_STATUS_SUCCESS) return;
    cancel.check();
    if (node_failed_)
        throw Error(ErrorCode::out_of_memory, "The device " + name() + " could not finish an operation: " + node_failure_);
    if (status == GGML_STATUS_ALLOC_FAILED)
        throw Error(ErrorCode::out_of_memory, "The device " + name() + " has no memory left for scratch data");
    throw Error(ErrorCode::device, "The device " + name() + " failed while computing. " + take_ggml_error());
}

// Does not use ggml_backend_graph_compute: with a plan, the abort callback is set per call, and a failed allocation of scratch
// memory is our error instead of an exception inside ggml.
int GgmlDevice::compute_cpu(ggml_cgraph * graph, const CancelToken & cancel, bool own_threads) {
    if (!own_threads && threads() > 1 && !ggml_pool_) {
        ggml_threadpool_params params = ggml_threadpool_params_default(threads());
        params.poll = 10;  // threads sleep soon after a graph instead of spinning
        ggml_pool_ = ggml_threadpool_new(&params);
        if (!ggml_pool_) throw Error(ErrorCode::device, "The thread pool could not be started");
    }
    ggml_cplan plan = own_threads ? ggml_graph_plan(graph, 1, nullptr) : ggml_graph_plan(graph, threads(), ggml_pool_);
    if (scratch_.size() < plan.work_size) {
        scratch_.reset();
        try {
            scratch_ = Pages(plan.work_size);
        } catch (const std::bad_alloc &) {
            return GGML_STATUS_ALLOC_FAILED;
        }
    }
    plan.work_data = scratch_.data();
    plan.abort_callback = abort_requested;
    node_failed_ = false;
    Stop stop{&cancel, &node_failed_, profile_.get()};
    if (profile_) profile_->start(graph);
    plan.abort_callback_data = &stop;
    const ggml_status status = ggml_graph_compute(graph, &plan);
    // There is no check after the last node.
    return node_failed_ ? GGML_STATUS_ABORTED : status;
}

void GgmlDevice::fail_node(const char * what) {
    if (node_failed_.exchange(true)) return;
    node_failure_ = what;
}

void GgmlDevice::start_profile() {
    const std::lock_guard<std::mutex> lock(computing_);
    profile_ = std::make_unique<Profile>();
}

std::vector<OpTime> GgmlDevice::stop_profile() {
    const std::lock_guard<std::mutex> lock(computing_);
    std::vector<OpTime> rows = profile_ ? profile_->rows() : std::vector<OpTime>{};
    profile_.reset();
    return rows;
}

void GgmlDevice::trim() {
    const std::lock_guard<std::mutex> lock(computing_);
    scratch_.reset();
    buffers_.trim();
}

void GgmlDevice::reuse_memory(bool on) {
    buffers_.reuse(on);
}

DeviceSource ggml_devices() {
    const auto list = [] {
        std::vector<DeviceInfo> all;
        for (ggml_backend_dev_t device : usable_devices()) all.push_back(describe(device));
        return all;
    };
    return {list, GgmlDevice::open};
}

}  // namespace latent::graph
