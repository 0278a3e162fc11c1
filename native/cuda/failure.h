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

/// Whether the driver serves this process no more after this error, as after a wild address (the comments of cudaError).
inline bool ends_the_process(cudaError_t error) {
    const int code = static_cast<int>(error);  // some have names only in newer toolkits
    return code == 226 || code == 700 || code == 702 || code == 710 || (code >= 714 && code <= 719) || code == 721 ||
           code == 810 || code == 911;
}

/// Throws DEVICE_FAILED with the driver's message. Memory can run out in any call, and that is no failure of the device: the
/// driver itself needs some for a context, a kernel's code or a graph.
inline void check(cudaError_t error, const char * what) {
    if (error == cudaSuccess) return;
    (void)cudaGetLastError();
    const bool memory = error == cudaErrorMemoryAllocation;
    Failure failure(memory ? LATENT_CUDA_OUT_OF_MEMORY : LATENT_CUDA_DEVICE_FAILED,
                    std::string(what) + " failed: " + cudaGetErrorString(error) +
                        (ends_the_process(error) ? ". Restart the process to use this device again" : ""));
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
