#pragma once

#include <cstdint>
#include <string>

#include "cuda/failure.h"

namespace latent::cuda {

/// The driver's description of a device; `usable` 0 and `why` if it cannot be opened.
void describe_device(int index, latent_cuda_device_info & info);
/// Throws NO_DEVICE with the reason.
int count_devices();

enum class MemoryUse { weights, programs, other };

/// One device: a stream, counted memory, and page-locked memory for copies.
class Device {
public:
    Device(int index, int element);
    ~Device();
    Device(const Device &) = delete;
    Device & operator=(const Device &) = delete;

    int element() const { return element_; }  // LATENT_CUDA_BF16 or LATENT_CUDA_F16
    bool half() const { return element_ == LATENT_CUDA_F16; }
    int multiprocessors() const { return multiprocessors_; }
    cudaStream_t stream() const { return stream_; }
    /// Makes this the calling thread's device.
    void enter() const;

    /// Device memory, 256-byte aligned. Throws OUT_OF_MEMORY with numbers that name `what`.
    void * take(uint64_t bytes, MemoryUse use, const std::string & what);
    void give(void * p, uint64_t bytes, MemoryUse use) noexcept;
    latent_cuda_memory memory() const;
    void reset_peak() { peak_ = held(); }

    /// Queues a copy to the device in the stream; `from` may be changed as soon as it returns.
    void upload(void * to, const void * from, uint64_t bytes);
    /// Waits for the stream, then copies.
    void download(void * to, const void * from, uint64_t bytes);
    /// Temporary device memory for input of the next launch; valid until the next call.
    void * raw(uint64_t bytes);
    /// Waits for all work and checks for errors.
    void finish();
    void trim();

private:
    uint64_t held() const { return used_[0] + used_[1] + used_[2]; }
    char * stage(uint64_t bytes);
    void release_staging() noexcept;

    int index_, element_, multiprocessors_ = 0;
    cudaStream_t stream_ = nullptr;
    uint64_t used_[3] = {0, 0, 0}, peak_ = 0;
    char * pinned_ = nullptr;
    uint64_t pinned_at_ = 0;
    void * raw_ = nullptr;
    uint64_t raw_bytes_ = 0;
};

}  // namespace latent::cuda
