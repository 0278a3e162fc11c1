#include "backend/backend_api.h"

#include <ggml-impl.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

#include "backend/backend_abi.h"
#include "backend/backend_start.h"

#if defined(_WIN32)
#define LATENT_BACKEND_EXPORT extern "C" __declspec(dllexport)
#else
#define LATENT_BACKEND_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace {

/// A GPU, shared by all its handles as ggml's own state of it is.
class Gpu {
public:
    std::mutex mutex;                  // held by whatever uses the GPU, and for what follows
    bool opened = false;               // ggml has finished setting it up
    int handles = 0;                   // open ones
    ggml_backend_t backend = nullptr;  // of all handles, since each would keep scratch memory of its own

    /// Why it cannot be used any more, or "". Has its own lock, since a graph holds the other for long.
    std::string failure() {
        const std::lock_guard<std::mutex> lock(failure_mutex_);
        return failure_;
    }
    void fail(const std::string & why) {
        const std::lock_guard<std::mutex> lock(failure_mutex_);
        if (failure_.empty()) failure_ = why.empty() ? "unknown error" : why;
    }

private:
    std::mutex failure_mutex_;
    std::string failure_;
};

Gpu & gpu_at(int32_t index) {
    static std::mutex mutex;
    static auto & all = *new std::map<int32_t, Gpu>();  // never destroyed: handles may outlive static objects
    const std::lock_guard<std::mutex> lock(mutex);
    return all[index];
}

}  // namespace

struct latent_backend_device {
    Gpu & gpu;
    ggml_backend_dev_t device = nullptr;
};

namespace {

using latent::backend::float32_products;
using latent::backend::ggml_abi;

/// Text that needs no destructor: the last device of a process is closed after those of thread-local objects have run.
struct Message {
    char text[1024];

    Message & operator=(const std::string & from) noexcept {
        text[from.copy(text, sizeof text - 1)] = 0;
        return *this;
    }
};

thread_local Message last_message;
void (*host_log)(int32_t level, const char * text) = nullptr;

/// What ggml has said since the last call began. Errors of CUDA are messages, then a failed assertion; those of Metal's command
/// buffers are nothing but messages.
struct Said {
    Message first_error, last_error;  // with the ends of their lines
    bool memory, failed_commands;
};
thread_local Said said;

std::string line(const std::string & text) {
    return text.substr(0, text.find('\n'));
}

/// The texts of the drivers, and cuBLAS's name of its status.
bool says_memory(const char * text) {
    for (const char * words : {"out of memory", "resource allocation failed", "CUBLAS_STATUS_ALLOC_FAILED", "Insufficient Memory",
                               "ErrorOutOfMemory"}) {
        if (std::strstr(text, words)) return true;
    }
    return false;
}

void pass_log(ggml_log_level level, const char * text, void *) {
    if (level == GGML_LOG_LEVEL_ERROR) {
        if (!*said.first_error.text) said.first_error = text;
        said.last_error = text;
        said.memory |= says_memory(text);
        said.failed_commands |= std::strstr(text, "command buffer") && std::strstr(text, "failed with status");
    }
    if (host_log) host_log(level, text);
}

/// ggml's failed assertions, which would end the process.
struct Assertion : std::runtime_error {
    using std::runtime_error::runtime_error;
};

void throw_assertion(const char * message) {
    throw Assertion(message);
}

/// Compiling a shader. ggml would wait for ever for one that failed.
bool is_compiling(const char * message) {
    for (const char * call : {"createComputePipeline", "createShaderModule", "createPipelineLayout"})
        if (std::strstr(message, call)) return true;
    return false;
}

// VkResult; the category of a std::system_error is the only trace of its type outside ggml-vulkan.
constexpr int no_host_memory = -1, no_device_memory = -2;

/// Status of the exception being handled; keeps its message.
int status_of_exception() noexcept {
    try {
        throw;
    } catch (const std::bad_alloc &) {
        last_message = "out of memory";
        return LATENT_BACKEND_OUT_OF_MEMORY;
    } catch (const std::system_error & error) {
        last_message = error.what();
        const bool vulkan = std::strcmp(error.code().category().name(), "vk::Result") == 0;
        const int code = error.code().value();
        const bool memory = vulkan && (code == no_host_memory || code == no_device_memory);
        return memory && !is_compiling(error.what()) ? LATENT_BACKEND_OUT_OF_MEMORY : LATENT_BACKEND_FAILED;
    } catch (const Assertion & error) {
        const std::string reason = line(said.first_error.text);
        last_message = reason.empty() ? error.what() : reason + " (" + error.what() + ")";
        return said.memory ? LATENT_BACKEND_OUT_OF_MEMORY : LATENT_BACKEND_FAILED;
    } catch (const std::exception & error) {
        last_message = error.what();
    } catch (...) {
        last_message = "unknown error";
    }
    return LATENT_BACKEND_FAILED;
}

template <typename Function>
int guarded(const Function & function) noexcept {
    said = {};
    try {
        function();
        return LATENT_BACKEND_OK;
    } catch (...) {
        const int status = status_of_exception();
        latent::backend::forget_errors();
        return status;
    }
}

/// The same for a GPU whose mutex is held: after a failure it stays failed, since its queue is in an unknown state.
template <typename Function>
int attempt(Gpu & gpu, const Function & function) noexcept {
    last_message = gpu.failure();
    if (*last_message.text) return LATENT_BACKEND_FAILED;
    const int status = guarded(function);
    if (status == LATENT_BACKEND_FAILED) gpu.fail(last_message.text);
    return status;
}

template <typename Function>
int guarded(latent_backend_device * device, const Function & function) noexcept {
    const std::lock_guard<std::mutex> lock(device->gpu.mutex);
    return attempt(device->gpu, function);
}

/// Started once. A driver that could not be started then is not tried again.
ggml_backend_reg_t registry() {
    static std::mutex mutex;
    static bool tried = false;
    static ggml_backend_reg_t started = nullptr;
    static std::string problem;
    const std::lock_guard<std::mutex> lock(mutex);
    if (!tried) {
        tried = true;
        try {
            started = latent::backend::start();
            if (!started) problem = "the driver could not be started";
        } catch (const std::exception & error) {
            problem = error.what();
        }
    }
    if (!started) throw std::runtime_error(problem);
    return started;
}

ggml_backend_dev_t device_at(int32_t index) {
    ggml_backend_reg_t reg = registry();
    if (index < 0 || static_cast<size_t>(index) >= ggml_backend_reg_dev_count(reg)) throw std::runtime_error("no such device");
    return ggml_backend_reg_dev_get(reg, static_cast<size_t>(index));
}

template <size_t N>
void copy_text(char (&to)[N], const char * from) {
    std::strncpy(to, from ? from : "", N - 1);
    to[N - 1] = 0;
}

/// One at a time, of all GPUs: ggml publishes a GPU before it has set it up.
void open_backend(latent_backend_device & device) {
    static std::mutex mutex;
    const std::lock_guard<std::mutex> lock(mutex);
    struct Keep {
        ~Keep() { latent::backend::keep_devices(); }
    } keep;
    device.gpu.backend = ggml_backend_dev_init(device.device, nullptr);
    if (!device.gpu.backend) throw std::runtime_error("the device could not be opened");
    latent::backend::guard_buffers(ggml_backend_dev_buffer_type(device.device));
}

void close_backend(Gpu & gpu) {
    ggml_backend_t backend = gpu.backend;
    gpu.backend = nullptr;
    if (!backend) return;
    if (!latent::backend::can_free(backend)) throw std::runtime_error("the device is lost");
    ggml_backend_free(backend);
}

const char * last_error() {
    return last_message.text;
}

int device_count(int32_t * count) {
    return guarded([&] { *count = static_cast<int32_t>(ggml_backend_reg_dev_count(registry())); });
}

int device_info(int32_t index, latent_backend_device_info * info) {
    return guarded([&] {
        ggml_backend_dev_t device = device_at(index);
        const std::string failure = gpu_at(index).failure();
        if (!failure.empty()) throw std::runtime_error(failure + " (it cannot be used again in this process)");
        *info = {};
        copy_text(info->name, ggml_backend_dev_name(device));
        copy_text(info->description, ggml_backend_dev_description(device));
        copy_text(info->driver, latent::backend::driver_of(info->description).c_str());
        size_t free = 0, total = 0;
        latent::backend::memory_of(device, &free, &total);
        // ggml subtracts the use from the budget, and the result wraps round where more is used.
        info->memory_free = free <= total ? free : 0, info->memory_total = total;
        info->float32 = float32_products() ? 1 : 0;
    });
}

int device_open(int32_t index, latent_backend_device ** out) {
    std::unique_ptr<latent_backend_device> device;
    const int found = guarded([&] { device.reset(new latent_backend_device{gpu_at(index), device_at(index)}); });
    if (found != LATENT_BACKEND_OK) return found;
    Gpu & gpu = device->gpu;
    const std::lock_guard<std::mutex> lock(gpu.mutex);
    const int status = attempt(gpu, [&] {
        if (!gpu.backend) open_backend(*device);
    });
    if (status == LATENT_BACKEND_OUT_OF_MEMORY && !gpu.opened) {  // ggml keeps the GPU as it is, half set up
        gpu.fail(last_message.text);
        return LATENT_BACKEND_FAILED;
    }
    if (status != LATENT_BACKEND_OK) return status;
    gpu.opened = true;
    ++gpu.handles;
    *out = device.release();
    return status;
}

void device_close(latent_backend_device * device) {
    if (!device) return;
    Gpu & gpu = device->gpu;
    delete device;
    const std::lock_guard<std::mutex> lock(gpu.mutex);
    // What a failed device still has in flight is unknown, so it is left to the end of the process.
    if (--gpu.handles == 0) attempt(gpu, [&] { close_backend(gpu); });
}

ggml_backend_buffer_type * buffer_type(latent_backend_device * device) {
    return ggml_backend_dev_buffer_type(device->device);
}

int supports(latent_backend_device * device, const ggml_tensor * operation, int32_t * supported) {
    return guarded(device, [&] { *supported = ggml_backend_dev_supports_op(device->device, operation) ? 1 : 0; });
}

/// transfer(offset, size) for each part of `bytes`.
template <typename Transfer>
void in_parts(uint64_t bytes, const Transfer & transfer) {
    for (uint64_t offset = 0; offset < bytes; offset += LATENT_BACKEND_TRANSFER) {
        const uint64_t size = bytes - offset < LATENT_BACKEND_TRANSFER ? bytes - offset : LATENT_BACKEND_TRANSFER;
        transfer(static_cast<size_t>(offset), static_cast<size_t>(size));
    }
}

int write_tensor(latent_backend_device * device, ggml_tensor * tensor, const void * data, uint64_t bytes) {
    return guarded(device, [&] {
        in_parts(bytes, [&](size_t offset, size_t size) {
            ggml_backend_tensor_set(tensor, static_cast<const char *>(data) + offset, offset, size);
        });
    });
}

int read_tensor(latent_backend_device * device, const ggml_tensor * tensor, void * data, uint64_t bytes) {
    return guarded(device, [&] {
        in_parts(bytes, [&](size_t offset, size_t size) {
            ggml_backend_tensor_get(tensor, static_cast<char *>(data) + offset, offset, size);
        });
    });
}

int copy_tensor(latent_backend_device * device, const ggml_tensor * from, ggml_tensor * to) {
    return guarded(device, [&] { ggml_backend_tensor_copy(const_cast<ggml_tensor *>(from), to); });
}

int compute(latent_backend_device * device, ggml_cgraph * graph, int32_t first, int32_t last) {
    Gpu & gpu = device->gpu;
    const std::lock_guard<std::mutex> lock(gpu.mutex);
    const int status = attempt(gpu, [&] {
        ggml_cgraph slice = ggml_graph_view(graph, first, last);
        const ggml_status computed = ggml_backend_graph_compute(gpu.backend, &slice);
        if (computed == GGML_STATUS_ALLOC_FAILED) throw std::bad_alloc();
        if (computed != GGML_STATUS_SUCCESS) throw std::runtime_error(ggml_status_to_string(computed));
        if (said.failed_commands) throw Assertion(line(said.last_error.text));
    });
    if (status != LATENT_BACKEND_OUT_OF_MEMORY) return status;
    // Commands that were recorded before the exception must not be submitted with the next graph.
    const std::string message = last_message.text;
    const int reopened = attempt(gpu, [&] {
        close_backend(gpu);
        open_backend(*device);
    });
    if (reopened != LATENT_BACKEND_OK) {
        gpu.fail(last_message.text);
        return LATENT_BACKEND_FAILED;
    }
    last_message = message;
    return status;
}

const latent_backend_api table = {LATENT_BACKEND_VERSION,
                                  sizeof(latent_backend_api),
                                  last_error,
                                  device_count,
                                  device_info,
                                  device_open,
                                  device_close,
                                  buffer_type,
                                  supports,
                                  write_tensor,
                                  read_tensor,
                                  copy_tensor,
                                  compute};

}  // namespace

LATENT_BACKEND_EXPORT const latent_backend_api * latent_backend_open(const latent_backend_host * host) {
    if (!host || host->version != LATENT_BACKEND_VERSION || ggml_abi() != host->ggml) return nullptr;
    host_log = host->log;
    ggml_log_set(pass_log, nullptr);
    ggml_set_abort_callback(throw_assertion);
    if (ggml_context * context = ggml_init({1024, nullptr, true})) ggml_free(context);  // starts ggml's clock
    return &table;
}
