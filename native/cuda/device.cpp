#include "cuda/device.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace latent::cuda {
namespace {

constexpr uint64_t kPinnedBytes = 16 << 20;
constexpr int kOldestMajor = 8;  // mma of bf16, cp.async

std::string mebibytes(uint64_t bytes) {
    return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB";
}

/// "12.8" of 12080.
std::string version(int number) {
    return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

}  // namespace

int count_devices() {
    int count = 0, driver = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && count > 0) return count;
    (void)cudaGetLastError();
    (void)cudaDriverGetVersion(&driver);
    const std::string why = error == cudaSuccess ? "the driver lists no device" : cudaGetErrorString(error);
    const std::string serves = "the driver serves CUDA " + version(driver);
    // Any driver of the same major version serves the runtime that is linked in.
    Failure failure(LATENT_CUDA_NO_DEVICE,
                    driver == 0 ? "No NVIDIA driver was found (" + why + "): install one, or use another device"
                    : driver / 1000 < CUDART_VERSION / 1000
                        ? "The NVIDIA driver is too old: " + serves + ", and this library needs " +
                              version(CUDART_VERSION / 1000 * 1000) + " or newer. Update the driver, or use another device"
                        : "CUDA cannot be used: " + why + " (" + serves + ")");
    failure.driver_code = static_cast<int>(error);
    throw failure;
}

void describe_device(int index, latent_cuda_device_info & info) {
    info = {};
    const int count = count_devices();
    if (index < 0 || index >= count)
        throw Failure(LATENT_CUDA_NO_DEVICE,
                      "There is no CUDA device " + std::to_string(index) + ": the driver lists " + std::to_string(count));
    cudaDeviceProp p;
    check(cudaGetDeviceProperties(&p, index), "Reading a device's properties");
    std::snprintf(info.name, sizeof(info.name), "%.*s", static_cast<int>(sizeof(info.name)) - 1, p.name);
    const auto * u = reinterpret_cast<const unsigned char *>(p.uuid.bytes);
    std::snprintf(info.uuid, sizeof(info.uuid), "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0],
                  u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
    info.compute_major = p.major, info.compute_minor = p.minor;
    info.multiprocessors = p.multiProcessorCount, info.memory_total = p.totalGlobalMem;
    int driver = 0;
    (void)cudaDriverGetVersion(&driver);
    info.driver_version = driver;
    info.usable = p.major >= kOldestMajor;
    if (!info.usable) {
        std::snprintf(info.why, sizeof(info.why),
                      "%s has compute capability %d.%d; the CUDA engine needs 8.0 (Ampere) or newer; ggml-cuda and vulkan run on "
                      "older ones",
                      info.name, p.major, p.minor);
    }
}

Device::Device(int index, int element) : index_(index), element_(element) {
    if (element != LATENT_CUDA_BF16 && element != LATENT_CUDA_F16) invalid("A device must be opened for BF16 or F16");
    latent_cuda_device_info info;
    describe_device(index, info);
    if (!info.usable) throw Failure(LATENT_CUDA_NO_DEVICE, info.why);
    multiprocessors_ = info.multiprocessors;
    enter();
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "Creating a stream");
}

Device::~Device() {
    (void)cudaSetDevice(index_);
    (void)cudaStreamSynchronize(stream_);
    release_staging();
    (void)cudaStreamDestroy(stream_);
}

void Device::enter() const {
    check(cudaSetDevice(index_), "Choosing a device");
}

void * Device::take(uint64_t bytes, MemoryUse use, const std::string & what) {
    void * p = nullptr;
    const cudaError_t error = cudaMalloc(&p, bytes);
    if (error == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        size_t free = 0, total = 0;
        (void)cudaMemGetInfo(&free, &total);
        Failure failure(LATENT_CUDA_OUT_OF_MEMORY, "The device has no memory for " + what + ": " + mebibytes(bytes) +
                                                       " needed, " + mebibytes(free) + " of " + mebibytes(total) + " free");
        failure.driver_code = static_cast<int>(error);
        failure.wanted = bytes, failure.free = free, failure.total = total;
        throw failure;
    }
    check(error, "Allocating device memory");
    used_[static_cast<int>(use)] += bytes;
    peak_ = std::max(peak_, held());
    return p;
}

void Device::give(void * p, uint64_t bytes, MemoryUse use) noexcept {
    if (!p) return;
    (void)cudaSetDevice(index_);
    (void)cudaStreamSynchronize(stream_);
    (void)cudaFree(p);
    used_[static_cast<int>(use)] -= bytes;
}

latent_cuda_memory Device::memory() const {
    enter();
    size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "Reading the free memory");
    return {total, free, used_[0], used_[1], used_[2], peak_, pinned_ ? kPinnedBytes : 0};
}

/// The next part of the page-locked memory; waits if the stream may still be reading it.
char * Device::stage(uint64_t bytes) {
    if (!pinned_) {
        void * p = nullptr;
        const cudaError_t error = cudaMallocHost(&p, kPinnedBytes);
        if (error == cudaErrorMemoryAllocation) {
            (void)cudaGetLastError();
            Failure failure(LATENT_CUDA_OUT_OF_MEMORY,
                            "Page-locked host memory is not available: " + mebibytes(kPinnedBytes) + " needed");
            failure.wanted = kPinnedBytes;
            throw failure;
        }
        check(error, "Allocating page-locked memory");
        pinned_ = static_cast<char *>(p);
        pinned_at_ = 0;
    }
    if (pinned_at_ + bytes > kPinnedBytes) {
        check(cudaStreamSynchronize(stream_), "A copy");
        pinned_at_ = 0;
    }
    char * part = pinned_ + pinned_at_;
    pinned_at_ += (bytes + 255) / 256 * 256;
    return part;
}

void Device::upload(void * to, const void * from, uint64_t bytes) {
    for (uint64_t at = 0; at < bytes;) {
        const uint64_t count = std::min(bytes - at, kPinnedBytes / 4);
        char * part = stage(count);
        std::memcpy(part, static_cast<const char *>(from) + at, count);
        check(cudaMemcpyAsync(static_cast<char *>(to) + at, part, count, cudaMemcpyHostToDevice, stream_),
              "A copy to the device");
        at += count;
    }
}

void Device::download(void * to, const void * from, uint64_t bytes) {
    for (uint64_t at = 0; at < bytes;) {
        const uint64_t count = std::min(bytes - at, kPinnedBytes / 4);
        char * part = stage(count);
        check(cudaMemcpyAsync(part, static_cast<const char *>(from) + at, count, cudaMemcpyDeviceToHost, stream_),
              "A copy to the host");
        finish();
        std::memcpy(static_cast<char *>(to) + at, part, count);
        at += count;
    }
}

void * Device::raw(uint64_t bytes) {
    if (bytes > raw_bytes_) {
        give(raw_, raw_bytes_, MemoryUse::other);
        raw_ = nullptr, raw_bytes_ = 0;
        raw_ = take(bytes, MemoryUse::other, "staging data");
        raw_bytes_ = bytes;
    }
    return raw_;
}

void Device::finish() {
    check(cudaStreamSynchronize(stream_), "Work on the device");
    check(cudaGetLastError(), "Work on the device");
    pinned_at_ = 0;
}

void Device::trim() {
    enter();
    finish();
    release_staging();
}

void Device::release_staging() noexcept {
    give(raw_, raw_bytes_, MemoryUse::other);
    raw_ = nullptr, raw_bytes_ = 0;
    if (pinned_) (void)cudaFreeHost(pinned_);
    pinned_ = nullptr;
}

}  // namespace latent::cuda
