#pragma once

#include <cstdint>
#include <exception>
#include <string>

#include "cuda/cuda_api.h"
#include "cuda/device_code.h"

namespace latent::cuda {

/// The only exception inside the engine; the table turns it into a status and last_error().
struct Failure : std::exception {
    int status;
    int driver_code = 0;
    uint64_t wanted = 0, free = 0, total = 0;
    std::string message;

    Failure(int status_, std::string message_) : status(status_), message(std::move(message_)) {}
    const char * what() const noexcept override { return message.c_str(); }
};

[[noreturn]] inline void invalid(const std::string & message) {
    throw Failure(LATENT_CUDA_INVALID, message);
}

/// Throws DEVICE_FAILED with the driver's message. After some failures, such as a wild address, the driver serves this process no
/// more. Memory can run out in any call, and that is no failure of the device: the
/// driver itself needs some for a context, a kernel's code or a graph.
inline void check(cudaError_t error, const char * what) {
    if (error == cudaSuccess) return;
    (void)cudaGetLastError();
    const bool memory = error == cudaErrorMemoryAllocation, lost = cudaFree(nullptr) != cudaSuccess;
    (void)cudaGetLastError();
    Failure failure(memory ? LATENT_CUDA_OUT_OF_MEMORY : LATENT_CUDA_DEVICE_FAILED,
                    std::string(what) + " failed: " + cudaGetErrorString(error) +
                        (lost ? ". Restart the process to use this device again" : ""));
    if (memory) {
        size_t free = 0, total = 0;
        (void)cudaMemGetInfo(&free, &total);
        (void)cudaGetLastError();
        failure.free = free, failure.total = total;
    }
    failure.driver_code = static_cast<int>(error);
    throw failure;
}

}  // namespace latent::cuda
