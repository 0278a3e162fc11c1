#include <ggml-backend-impl.h>
#include <ggml-metal.h>

#include <cstdlib>
#include <map>
#include <mutex>

#include "backend/backend_start.h"

namespace latent::backend {
namespace {

using Allocate = decltype(ggml_backend_buffer_type_i::alloc_buffer);

/// What allocated buffers of a type before guard_buffers(), which gives it too.
Allocate original_of(ggml_backend_buffer_type_t type, Allocate given = nullptr) {
    static std::mutex & mutex = *new std::mutex();
    static auto & all = *new std::map<ggml_backend_buffer_type_t, Allocate>();
    const std::lock_guard<std::mutex> lock(mutex);
    if (given) all[type] = given;
    return all[type];
}

/// ggml would use a buffer that Metal could not allocate. Metal's figure for the free memory is advice, which device.h follows
/// too; an allocation below it that fails still ends the process.
ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, size_t bytes) {
    size_t free = 0, total = 0;
    memory_of(type->device, &free, &total);
    const bool known = total > 0;
    if (known && (free > total || bytes > free)) return nullptr;  // used bytes may exceed the total
    if (bytes > ggml_backend_buft_get_max_size(type)) return nullptr;
    return original_of(type)(type, bytes);
}

}  // namespace

// process.exit() leaves pipelines, and ggml's static destructors end the process if buffers in residency sets are left
// (ggml_metal_rsets_free). Without these sets, buffers are made resident by each command that uses them, as before macOS 15.
ggml_backend_reg_t start() {
    setenv("GGML_METAL_NO_RESIDENCY", "1", 0);
    return ggml_backend_metal_reg();
}

// It is a part of the system, which has the version.
std::string driver_of(const std::string &) {
    return {};
}

// The matrix kernels round their operands to 16 bits.
bool float32_products() {
    return false;
}

void memory_of(ggml_backend_dev_t device, size_t * free, size_t * total) {
    ggml_backend_dev_memory(device, free, total);
}

void guard_buffers(ggml_backend_buffer_type_t type) {
    if (type->iface.alloc_buffer == allocate) return;
    original_of(type, type->iface.alloc_buffer);
    type->iface.alloc_buffer = allocate;
}

void keep_devices() {}
void forget_errors() {}

bool can_free(ggml_backend_t) {
    return true;
}

}  // namespace latent::backend
