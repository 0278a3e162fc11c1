#include "graph/portable/ggml_cpu_device.h"

#include <ggml-cpu.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "core/cpu.h"
#include "core/json.h"
#include "core/memory.h"
#include "graph/home.h"
#include "graph/portable/ggml_handles.h"
#include "graph/portable/weight_stream.h"

namespace latent::graph {

namespace {

const char * const cpu_kind = "cpu";

/// Reasons for a graph to end early; checked after every node.
struct Stop {
    const CancelToken * cancel;
    const std::atomic<bool> * node_failed;
    Profile * profile;
    WeightStream * stream;
};

bool abort_requested(void * data) {
    const Stop & stop = *static_cast<const Stop *>(data);
    if (stop.profile) stop.profile->lap();
    if (stop.stream) stop.stream->next();
    return stop.cancel->cancelled() || stop.node_failed->load();
}

DeviceInfo describe_cpu() {
    DeviceInfo info;
    info.name = cpu_kind, info.kind = cpu_kind;
    info.home = home_for(cpu_kind).name();
    info.description = cpu_brand();
    info.memory_total = total_memory();
    info.memory_free = available_memory();
    info.memory_known = info.memory_free > 0;
    return info;
}

}  // namespace

GgmlCpuDevice::GgmlCpuDevice(int threads)
    : GgmlDevice(cpu_kind, cpu_kind, std::min(threads > 0 ? threads : usable_cores(), GGML_MAX_N_THREADS)),
      pool_(this->threads()) {}

DevicePtr GgmlCpuDevice::open(const std::string &, int threads) {
    quiet_ggml();
    ggml_cpu_init();
    return DevicePtr(new GgmlCpuDevice(threads));
}

GgmlCpuDevice::~GgmlCpuDevice() {
    if (ggml_pool_) ggml_threadpool_free(ggml_pool_);
}

DeviceInfo GgmlCpuDevice::info() const {
    return describe_cpu();
}

void GgmlCpuDevice::write(ggml_tensor * tensor, const void * data) {
    ggml_backend_tensor_set(tensor, data, 0, ggml_nbytes(tensor));
}

void GgmlCpuDevice::read(const ggml_tensor * tensor, void * data) const {
    ggml_backend_tensor_get(tensor, data, 0, ggml_nbytes(tensor));
}

void GgmlCpuDevice::copy(const ggml_tensor * from, ggml_tensor * to) {
    ggml_backend_tensor_copy(const_cast<ggml_tensor *>(from), to);
}

uint64_t GgmlCpuDevice::work_bytes(ggml_cgraph * graph, bool own_threads) const {
    return ggml_graph_plan(graph, own_threads ? 1 : threads(), nullptr).work_size;
}

void GgmlCpuDevice::compute(ggml_cgraph * graph, const CancelToken & cancel, bool own_threads, WeightStream * stream) {
    const std::lock_guard<std::mutex> lock(computing_);
    cancel.check();
    const ggml_status status = static_cast<ggml_status>(run(graph, cancel, own_threads, stream));
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
int GgmlCpuDevice::run(ggml_cgraph * graph, const CancelToken & cancel, bool own_threads, WeightStream * stream) {
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
    Stop stop{&cancel, &node_failed_, profile_.get(), stream};
    if (profile_) profile_->start(graph);
    plan.abort_callback_data = &stop;
    const ggml_status status = ggml_graph_compute(graph, &plan);
    // There is no check after the last node.
    return node_failed_ ? GGML_STATUS_ABORTED : status;
}

void GgmlCpuDevice::fail_node(const char * what) {
    if (node_failed_.exchange(true)) return;
    node_failure_ = what;
}

void GgmlCpuDevice::start_profile() {
    const std::lock_guard<std::mutex> lock(computing_);
    profile_ = std::make_unique<Profile>();
}

std::vector<OpTime> GgmlCpuDevice::stop_profile() {
    const std::lock_guard<std::mutex> lock(computing_);
    std::vector<OpTime> rows = profile_ ? profile_->rows() : std::vector<OpTime>{};
    profile_.reset();
    return rows;
}

void GgmlCpuDevice::trim() {
    const std::lock_guard<std::mutex> lock(computing_);
    scratch_.reset();
    buffers_.trim();
}

void GgmlCpuDevice::reuse_memory(bool on) {
    buffers_.reuse(on);
}

DeviceSource cpu_devices() {
    const auto given = [](const std::string &) { return true; };
    const auto list = [](const std::string &) { return std::vector<DeviceInfo>{describe_cpu()}; };
    return {cpu_kind, given, list, GgmlCpuDevice::open};
}

}  // namespace latent::graph
