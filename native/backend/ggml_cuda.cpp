#include <cuda_runtime_api.h>
#include <ggml-backend-impl.h>
#include <ggml-cuda.h>

#include <map>
#include <mutex>
#include <stdexcept>
#include <string>

#include "backend/backend_start.h"

namespace latent::backend {
namespace {

/// What the buffers of a device did before guard_buffers().
struct Original {
    decltype(ggml_backend_buffer_type_i::alloc_buffer) allocate = nullptr;
    ggml_backend_buffer_i functions = {};
};

/// Those of all types that were guarded, under a lock.
class Originals {
public:
    Original of(ggml_backend_buffer_type_t type) {
        const std::lock_guard<std::mutex> lock(mutex_);
        return all_[type];
    }
    void set_allocate(ggml_backend_buffer_type_t type, decltype(Original::allocate) allocate) {
        const std::lock_guard<std::mutex> lock(mutex_);
        all_[type].allocate = allocate;
    }
    void set_functions(ggml_backend_buffer_type_t type, const ggml_backend_buffer_i & functions) {
        const std::lock_guard<std::mutex> lock(mutex_);
        all_[type].functions = functions;
    }

private:
    std::mutex mutex_;
    std::map<ggml_backend_buffer_type_t, Original> all_;
};

Originals & originals() {
    static Originals & all = *new Originals();  // never destroyed: buffers may outlive static objects
    return all;
}

/// Forgets the error of a call that failed, which ggml would take for one of its next kernel.
bool succeeded(cudaError_t status) {
    if (status != cudaSuccess) (void)cudaGetLastError();
    return status == cudaSuccess;
}

/// Makes it the device of this thread.
cudaError_t select(ggml_backend_dev_t device) {
    ggml_backend_reg_t registry = ggml_backend_cuda_reg();
    for (size_t i = 0; i < ggml_backend_reg_dev_count(registry); ++i) {
        if (ggml_backend_reg_dev_get(registry, i) == device) return cudaSetDevice(static_cast<int>(i));
    }
    return cudaErrorInvalidDevice;
}

cudaError_t memory(ggml_backend_dev_t device, size_t * free, size_t * total) {
    const cudaError_t selected = select(device);
    return selected == cudaSuccess ? cudaMemGetInfo(free, total) : selected;
}

/// Whether the device is there: every call of a lost one fails. Does not wait for the device, which would end the capture of a
/// graph by our own engine in another thread; the library waits for each slice of a graph anyway.
bool answers(ggml_backend_dev_t device) {
    size_t free = 0, total = 0;
    return succeeded(memory(device, &free, &total));
}

/// Memory of a lost device is the driver's, which frees it at the end of the process. ggml would end it at once, because a
/// destructor checks its calls.
void free_buffer(ggml_backend_buffer_t buffer) {
    if (answers(buffer->buft->device)) originals().of(buffer->buft).functions.free_buffer(buffer);
}

/// It sets the padding of quantised rows. A failure is found again when the tensor is written.
ggml_status init_tensor(ggml_backend_buffer_t buffer, ggml_tensor * tensor) try {
    return originals().of(buffer->buft).functions.init_tensor(buffer, tensor);
} catch (const std::exception &) {
    return GGML_STATUS_FAILED;
}

/// ggml's own tells buffers of CUDA by the function that frees them.
bool copy_tensor(ggml_backend_buffer_t buffer, const ggml_tensor * from, ggml_tensor * to) {
    const cudaStream_t stream = cudaStreamPerThread;
    return from->buffer->buft == buffer->buft && succeeded(select(buffer->buft->device)) &&
           succeeded(cudaMemcpyAsync(to->data, from->data, ggml_nbytes(from), cudaMemcpyDeviceToDevice, stream)) &&
           succeeded(cudaStreamSynchronize(stream));
}

ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, size_t bytes) try {
    ggml_backend_buffer_t buffer = originals().of(type).allocate(type, bytes);
    if (!buffer) return nullptr;
    originals().set_functions(type, buffer->iface);
    buffer->iface.free_buffer = free_buffer;
    buffer->iface.init_tensor = init_tensor;
    buffer->iface.cpy_tensor = copy_tensor;
    return buffer;
} catch (const std::exception &) {
    return nullptr;
}

}  // namespace

ggml_backend_reg_t start() {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);  // ggml only logs the reason
    if (!succeeded(status) && status != cudaErrorNoDevice) throw std::runtime_error(cudaGetErrorString(status));
    return ggml_backend_cuda_reg();
}

// One for all devices; its version is that of the newest CUDA it knows.
std::string driver_of(const std::string &) {
    int version = 0;
    if (!succeeded(cudaDriverGetVersion(&version)) || version == 0) return {};
    return "driver for CUDA " + std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// cuBLAS rounds the operands of products to TF32, and the kernels for quantised weights round theirs to 8 bits.
bool float32_products() {
    return false;
}

// ggml's own function resets the device where it has nothing there, which frees what others of the process have on it, such as
// our CUDA engine.
void memory_of(ggml_backend_dev_t device, size_t * free, size_t * total) {
    const cudaError_t status = memory(device, free, total);
    if (!succeeded(status)) throw std::runtime_error(cudaGetErrorString(status));
}

void guard_buffers(ggml_backend_buffer_type_t type) {
    if (type->iface.alloc_buffer == allocate) return;
    originals().set_allocate(type, type->iface.alloc_buffer);
    type->iface.alloc_buffer = allocate;
}

void keep_devices() {}

void forget_errors() {
    (void)cudaGetLastError();
}

// After a failure in the middle of a slice, kernels may still use memory that is freed with the backend.
bool can_free(ggml_backend_t backend) try {
    ggml_backend_synchronize(backend);
    return answers(ggml_backend_get_device(backend));
} catch (const std::exception &) {
    forget_errors();
    return false;
}

}  // namespace latent::backend
