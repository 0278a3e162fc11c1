#pragma once

#include <ggml-backend.h>

#include <string>

namespace latent::backend {

/// Starts the driver; each backend has a file with it. Throws, or returns null, if it cannot be started.
ggml_backend_reg_t start();
/// Name and version of the driver of a device with this description; empty if unknown. Throws what the driver throws.
std::string driver_of(const std::string & description);
/// Whether products of float32 are computed in float32.
bool float32_products();
/// Free and total bytes, both 0 if unknown; used bytes may exceed the total, and `free` wraps round then.
void memory_of(ggml_backend_dev_t device, size_t * free, size_t * total);
/// Changes what the functions of buffers do where they would end the process. Called with the type of each device that is opened.
void guard_buffers(ggml_backend_buffer_type_t type);
/// Lets devices stay until the process has ended, where ggml's static destructors would not survive it. Called after each attempt
/// to open one.
void keep_devices();
/// Clears what the driver remembers in this thread of a call that failed, where ggml would take it for an error of the next one.
void forget_errors();
/// Whether a device's state may be freed, which would end the process if the device is lost. Waits for what it computes.
bool can_free(ggml_backend_t backend);

}  // namespace latent::backend
