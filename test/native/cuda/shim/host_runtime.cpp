#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <stdexcept>
#include <vector>

#include "shim/host_device.h"
#include "shim/watch.h"

struct HostGraph {
    std::vector<std::function<void()>> work;
};
struct HostStream {
    int device = 0;
    HostGraph * capture = nullptr;
};
struct HostEvent {
    std::chrono::steady_clock::time_point at;
};

namespace latent_host {
namespace {

struct Memory {
    std::map<void *, size_t> device, pinned;
    size_t held = 0, held_pinned = 0, limit = SIZE_MAX;
    int devices = 1, driver = 13000;
    bool no_graphs = false, lost = false;
};
/// By kernel that is loaded: the dynamic shared memory that it may have.
std::map<const void *, int> & kernels() {
    static std::map<const void *, int> all;
    return all;
}
cudaError_t last_error = cudaSuccess;
int captures = 0;  // under way
thread_local int current_device = 0;

/// Calls with a stream are for the device that the thread has chosen.
void need_device(cudaStream_t stream) {
    if (stream && stream->device != current_device) throw std::runtime_error("a stream of another device");
}

Memory & memory() {
    static Memory m;
    return m;
}

}  // namespace

void limit_memory(size_t bytes) {
    memory().limit = bytes;
}
bool is_device_memory(const void * p, size_t bytes) {
    const auto after = memory().device.upper_bound(const_cast<void *>(p));
    if (after == memory().device.begin()) return false;
    const auto & [begin, size] = *std::prev(after);
    const auto offset = static_cast<size_t>(static_cast<const char *>(p) - static_cast<const char *>(begin));
    return offset + bytes <= size;
}
size_t held_memory() {
    return memory().held;
}
size_t held_pinned() {
    return memory().held_pinned;
}
GraphCounts & counted() {
    static GraphCounts counts;
    return counts;
}
GraphCounts graph_counts() {
    return counted();
}
void show_devices(int count) {
    memory().devices = count;
}
void show_driver(int version) {
    memory().driver = version;
}
void lose_device(bool lost) {
    memory().lost = lost;
}
void refuse_graphs(bool refuse) {
    memory().no_graphs = refuse;
}

void unload_kernels() {
    kernels().clear();
}

void check_shared_memory(const void * kernel, size_t shared) {
    if (shared > static_cast<size_t>(kernels()[kernel])) throw std::runtime_error("a kernel has not asked for its shared memory");
}

void run_or_record(cudaStream_t stream, std::function<void()> work) {
    need_device(stream);
    if (stream && stream->capture)
        stream->capture->work.push_back(std::move(work));
    else
        ++counted().outside, work();
}

}  // namespace latent_host

using latent_host::memory;

const char * cudaGetErrorString(cudaError_t error) {
    switch (error) {
        case cudaSuccess: return "no error";
        case cudaErrorMemoryAllocation: return "out of memory";
        case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
        case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
        case cudaErrorNoDevice: return "no CUDA-capable device is detected";
        case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
        case cudaErrorInvalidValue: break;
    }
    return "invalid argument";
}
cudaError_t cudaGetLastError() {
    const cudaError_t error = latent_host::last_error;
    latent_host::last_error = cudaSuccess;
    return error;
}
cudaError_t cudaFuncSetAttribute(const void * kernel, cudaFuncAttribute, int value) {
    if (value > latent_host::kMostShared) return latent_host::last_error = cudaErrorInvalidValue;
    latent_host::kernels()[kernel] = static_cast<size_t>(value);
    return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes * attributes, const void * kernel) {
    if (latent_host::captures > 0 && latent_host::kernels().count(kernel) == 0)
        return latent_host::last_error = cudaErrorStreamCaptureUnsupported;
    attributes->maxDynamicSharedSizeBytes = latent_host::kernels().emplace(kernel, 48 << 10).first->second;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int * count) {
    *count = memory().devices;
    if (memory().driver < CUDART_VERSION) return cudaErrorInsufficientDriver;
    return memory().devices > 0 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp * p, int device) {
    if (device < 0 || device >= memory().devices) return cudaErrorNoDevice;
    *p = {};
    std::snprintf(p->name, sizeof(p->name), "the host");
    p->totalGlobalMem = size_t{1} << 34;
    p->sharedMemPerBlockOptin = 99 << 10;
    p->major = 8, p->minor = 6, p->multiProcessorCount = 4;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int * version) {
    *version = memory().driver;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
    if (memory().lost) return cudaErrorIllegalAddress;
    if (device < 0 || device >= memory().devices) return cudaErrorNoDevice;
    latent_host::current_device = device;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t * free, size_t * total) {
    *total = size_t{1} << 34;
    const size_t bound = memory().limit < *total ? memory().limit : *total;
    *free = bound > memory().held ? bound - memory().held : 0;
    return cudaSuccess;
}
cudaError_t cudaMalloc(void ** p, size_t bytes) {
    *p = nullptr;
    if (bytes > memory().limit || memory().held > memory().limit - bytes)
        return latent_host::last_error = cudaErrorMemoryAllocation;
    void * taken = ::operator new (bytes, std::align_val_t{256});
    std::memset(taken, 0xff, bytes);  // NaN in every type
    memory().device[taken] = bytes;
    memory().held += bytes;
    if (latent_host::watch()) latent_host::watch()->allocated(taken, bytes);
    *p = taken;
    return cudaSuccess;
}
cudaError_t cudaFree(void * p) {
    if (!p) return memory().lost ? cudaErrorIllegalAddress : cudaSuccess;
    const auto found = memory().device.find(p);
    if (found == memory().device.end()) return cudaErrorInvalidValue;
    memory().held -= found->second;
    memory().device.erase(found);
    if (latent_host::watch()) latent_host::watch()->freed(p);
    ::operator delete (p, std::align_val_t{256});
    return cudaSuccess;
}
cudaError_t cudaMallocHost(void ** p, size_t bytes) {
    *p = ::operator new (bytes, std::align_val_t{256});
    memory().pinned[*p] = bytes;
    memory().held_pinned += bytes;
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void * p) {
    if (!p) return cudaSuccess;
    const auto found = memory().pinned.find(p);
    if (found == memory().pinned.end()) return cudaErrorInvalidValue;
    memory().held_pinned -= found->second;
    memory().pinned.erase(found);
    ::operator delete (p, std::align_val_t{256});
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void * to, const void * from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
    latent_host::run_or_record(stream, [=] { std::memmove(to, from, bytes); });
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void * to, int value, size_t bytes, cudaStream_t stream) {
    latent_host::run_or_record(stream, [=] { std::memset(to, value, bytes); });
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t * stream, unsigned) {
    *stream = new HostStream;
    (*stream)->device = latent_host::current_device;
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    delete stream;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
    return memory().lost ? cudaErrorIllegalAddress : cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    if (!stream || stream->capture) return cudaErrorInvalidValue;
    stream->capture = new HostGraph, ++latent_host::captures;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t * graph) {
    if (!stream || !stream->capture) return cudaErrorInvalidValue;
    *graph = stream->capture;
    stream->capture = nullptr, --latent_host::captures;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t * exec, cudaGraph_t graph, unsigned long long) {
    if (memory().no_graphs) return latent_host::last_error = cudaErrorMemoryAllocation;
    *exec = new HostGraph(*graph);
    ++latent_host::counted().made;
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    ++latent_host::counted().destroyed;
    delete exec;
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    latent_host::need_device(stream);
    ++latent_host::counted().launched;
    for (const auto & work : exec->work) work();
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t * event, unsigned) {
    *event = new HostEvent{};
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete event;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    latent_host::need_device(stream);
    event->at = std::chrono::steady_clock::now();
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
    return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float * milliseconds, cudaEvent_t from, cudaEvent_t to) {
    *milliseconds = std::chrono::duration<float, std::milli>(to->at - from->at).count();
    return cudaSuccess;
}
void latent_host_graph_counts(latent_host::GraphCounts * counts) {
    *counts = latent_host::graph_counts();
}
