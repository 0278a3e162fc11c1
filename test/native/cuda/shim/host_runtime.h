#pragma once

// The part of CUDA's runtime that the engine uses, on the host: memory that begins as NaN, streams that run what they are given
// at once, graphs as lists of work. limit_memory() makes allocations fail.

#include <cstddef>
#include <cstdint>

#define CUDART_VERSION 13000

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorIllegalAddress = 700,
    cudaErrorStreamCaptureUnsupported = 900,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
struct cudaFuncAttributes {
    int maxDynamicSharedSizeBytes;
};
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2;

struct HostStream;
struct HostGraph;
struct HostEvent;
typedef HostStream * cudaStream_t;
typedef HostGraph * cudaGraph_t;
typedef HostGraph * cudaGraphExec_t;
typedef HostEvent * cudaEvent_t;

struct cudaUUID_t {
    char bytes[16];
};
struct cudaDeviceProp {
    char name[256];
    cudaUUID_t uuid;
    size_t totalGlobalMem, sharedMemPerBlockOptin;
    int major, minor, multiProcessorCount;
};

const char * cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaGetDeviceCount(int * count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp * properties, int device);
cudaError_t cudaDriverGetVersion(int * version);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMemGetInfo(size_t * free, size_t * total);
cudaError_t cudaMalloc(void ** p, size_t bytes);
cudaError_t cudaFree(void * p);
cudaError_t cudaMallocHost(void ** p, size_t bytes);
cudaError_t cudaFreeHost(void * p);
cudaError_t cudaMemcpyAsync(void * to, const void * from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void * to, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t * stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaFuncSetAttribute(const void * kernel, cudaFuncAttribute attribute, int value);
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes * attributes, const void * kernel);
template <typename R, typename... P>
cudaError_t cudaFuncSetAttribute(R (*kernel)(P...), cudaFuncAttribute attribute, int value) {
    return cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), attribute, value);
}
template <typename R, typename... P>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes * attributes, R (*kernel)(P...)) {
    return cudaFuncGetAttributes(attributes, reinterpret_cast<const void *>(kernel));
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t * graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t * exec, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t * event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float * milliseconds, cudaEvent_t from, cudaEvent_t to);

namespace latent_host {

/// Shared memory of a block of a kernel that asks for it, on the devices with the least: compute capability 8.6, 8.9 and 12.0.
constexpr int kMostShared = 99 << 10;
/// Throws where a launch would fail on a GPU because the kernel has not asked for its shared memory.
void check_shared_memory(const void * kernel, size_t shared);
/// As in a new process, in which the first use of a kernel loads it; during a capture that is an error.
void unload_kernels();

/// Bytes of cudaMalloc from now on in all; SIZE_MAX: no bound.
void limit_memory(size_t bytes);
/// Whether cudaMalloc gave these bytes, all in one piece.
bool is_device_memory(const void * p, size_t bytes);
/// Bytes of cudaMalloc that are held; pinned ones of cudaMallocHost.
size_t held_memory();
size_t held_pinned();
/// Graphs since the start: instantiated, of these destroyed, and launched; and kernels and copies that ran outside graphs.
struct GraphCounts {
    int64_t made = 0, destroyed = 0, launched = 0, outside = 0;
};
GraphCounts graph_counts();
/// Devices that the driver shows; 0: as on a machine without one.
void show_devices(int count);
/// The newest CUDA that the driver serves, 13000 at first.
void show_driver(int version);
/// As after a wild address in a kernel: every call fails, in the whole process. Or no longer, which no driver does.
void lose_device(bool lost);
/// From now on graphs find no memory, or do again.
void refuse_graphs(bool refuse);

}  // namespace latent_host

/// The counts of a library that is loaded.
extern "C" __attribute__((visibility("default"))) void latent_host_graph_counts(latent_host::GraphCounts * counts);
