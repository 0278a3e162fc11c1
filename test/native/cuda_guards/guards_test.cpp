#include <cuda_runtime_api.h>
#include <ggml-backend-impl.h>
#include <ggml-cuda.h>
#include <ggml.h>

#include <array>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "backend/backend_start.h"
#include "check.h"

namespace {

// ---- the driver

struct Driver {
    int devices = 2, version = 13000, current = 0;
    std::array<bool, 2> lost = {false, false}, failing = {false, false};  // failing: a kernel does, and nobody knows yet
    cudaError_t starting = cudaSuccess, last_error = cudaSuccess;
    size_t copied = 0;  // bytes, of these on `copied_on`, and not waited for
    int copied_on = -1;
    size_t in_flight = 0;

    cudaError_t answer(cudaError_t error) {
        if (error != cudaSuccess) last_error = error;
        return error;
    }
    cudaError_t answer() { return answer(lost.at(static_cast<size_t>(current)) ? cudaErrorIllegalAddress : cudaSuccess); }
} driver;

}  // namespace

const char * cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorIllegalAddress ? "an illegal memory access was encountered" : "initialization error";
}
cudaError_t cudaGetLastError() {
    const cudaError_t error = driver.last_error;
    driver.last_error = cudaSuccess;
    return error;
}
cudaError_t cudaGetDeviceCount(int * count) {
    *count = driver.devices;
    return driver.answer(driver.starting);
}
cudaError_t cudaDriverGetVersion(int * version) {
    *version = driver.version;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
    if (device >= driver.devices) return driver.answer(cudaErrorInvalidDevice);
    driver.current = device;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t * free, size_t * total) {
    if (const cudaError_t error = driver.answer()) return error;
    *free = 100 + static_cast<size_t>(driver.current), *total = 1000;
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void * to, const void * from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
    if (const cudaError_t error = driver.answer()) return error;
    std::memcpy(to, from, bytes);
    driver.copied += bytes, driver.in_flight += bytes, driver.copied_on = driver.current;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
    if (const cudaError_t error = driver.answer()) return error;
    driver.in_flight = 0;
    return cudaSuccess;
}

// ---- ggml's backend: a failed call of the driver is a failed assertion, which is thrown, and in a destructor ends the process

namespace {

struct Calls {
    int freed = 0, initialised = 0, allocated = 0, memory = 0, waits = 0;
} calls;

void need(const ggml_backend_buffer_type * type);

const ggml_backend_buffer_i functions = [] {
    ggml_backend_buffer_i all = {};
    all.free_buffer = [](ggml_backend_buffer_t buffer) {
        need(buffer->buft);
        ++calls.freed;
        delete static_cast<std::vector<char> *>(buffer->context);
    };
    all.get_base = [](ggml_backend_buffer_t buffer) {
        return static_cast<void *>(static_cast<std::vector<char> *>(buffer->context)->data());
    };
    all.init_tensor = [](ggml_backend_buffer_t buffer, ggml_tensor *) {
        need(buffer->buft);
        ++calls.initialised;
        return GGML_STATUS_SUCCESS;
    };
    return all;
}();

ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, size_t bytes) {
    need(type);
    if (bytes > 1000) return nullptr;
    ++calls.allocated;
    return ggml_backend_buffer_init(type, functions, new std::vector<char>(bytes + 32), bytes);
}

ggml_backend_device_i device_functions() {
    ggml_backend_device_i all = {};
    all.get_memory = [](ggml_backend_dev_t, size_t *, size_t *) { ++calls.memory; };
    return all;
}

std::array<ggml_backend_device, 2> & devices();

ggml_backend_reg registry = {GGML_BACKEND_API_VERSION,
                             {[](ggml_backend_reg_t) { return "CUDA"; }, [](ggml_backend_reg_t) { return devices().size(); },
                              [](ggml_backend_reg_t, size_t i) { return &devices().at(i); }, nullptr},
                             nullptr};

std::array<ggml_backend_device, 2> & devices() {
    static std::array<ggml_backend_device, 2> all = {
        {{device_functions(), &registry, nullptr}, {device_functions(), &registry, nullptr}}};
    return all;
}

ggml_backend_buffer_type type_of(size_t device) {
    return {{[](ggml_backend_buffer_type_t) { return "CUDA"; }, allocate, [](ggml_backend_buffer_type_t) { return size_t{16}; },
             nullptr, nullptr, nullptr},
            &devices().at(device),
            nullptr};
}
std::array<ggml_backend_buffer_type, 2> types = {{type_of(0), type_of(1)}};

void need(const ggml_backend_buffer_type * type) {
    if (driver.lost.at(type == &types[0] ? 0 : 1)) throw std::runtime_error("CUDA error");
}

/// What can be freed of a device.
bool can_free(size_t device) {
    ggml_backend backend = {};
    backend.device = &devices().at(device);
    backend.iface.synchronize = [](ggml_backend_t own) {
        const size_t index = own->device == &devices()[0] ? 0 : 1;
        ++calls.waits;
        driver.lost.at(index) |= driver.failing.at(index);
        if (!driver.lost.at(index)) return;
        driver.last_error = cudaErrorIllegalAddress;
        throw std::runtime_error("CUDA error");
    };
    return latent::backend::can_free(&backend);
}

/// As ggml opens a device, twice: a second handle guards the same type.
ggml_backend_buffer_type_t opened(size_t device) {
    latent::backend::guard_buffers(&types.at(device));
    latent::backend::guard_buffers(&types.at(device));
    return &types.at(device);
}

struct FreeBuffer {
    void operator()(ggml_backend_buffer * buffer) const { ggml_backend_buffer_free(buffer); }
};
using Buffer = std::unique_ptr<ggml_backend_buffer, FreeBuffer>;

Buffer buffer_on(size_t device, size_t bytes = 64) {
    return Buffer(ggml_backend_buft_alloc_buffer(opened(device), bytes));
}

/// Four floats at the start of a buffer.
ggml_tensor tensor_in(const Buffer & buffer) {
    ggml_tensor tensor = {};
    tensor.type = GGML_TYPE_F32, tensor.buffer = buffer.get(), tensor.data = ggml_backend_buffer_get_base(buffer.get());
    for (int i = 0; i < GGML_MAX_DIMS; ++i) tensor.ne[i] = i == 0 ? 4 : 1, tensor.nb[i] = i == 0 ? 4 : 16;
    return tensor;
}

/// A device that is lost while this lives, as no driver's would be.
struct Lost {
    /// `unknown`: until the driver is asked for the end of its work.
    explicit Lost(size_t device, bool unknown = false) : device_(device) {
        (unknown ? driver.failing : driver.lost).at(device) = true;
    }
    ~Lost() { driver.lost.at(device_) = driver.failing.at(device_) = false; }
    Lost(const Lost &) = delete;
    Lost & operator=(const Lost &) = delete;

private:
    size_t device_;
};

bool forgotten() {
    return cudaGetLastError() == cudaSuccess;
}

std::string message_of(void (*function)()) {
    try {
        function();
    } catch (const std::exception & error) {
        return error.what();
    }
    return "";
}

}  // namespace

ggml_backend_reg_t ggml_backend_cuda_reg() {
    return &registry;
}

TEST(buffers_of_a_working_device_are_ggmls) {
    calls = {};
    {
        const Buffer a = buffer_on(0), b = buffer_on(1);
        ggml_tensor tensor = tensor_in(a);
        CHECK(ggml_backend_buffer_init_tensor(a.get(), &tensor) == GGML_STATUS_SUCCESS && calls.initialised == 1);
        CHECK(calls.allocated == 2 && calls.freed == 0);
        CHECK(!ggml_backend_buft_alloc_buffer(opened(0), 2000));
    }
    CHECK(calls.freed == 2);
    CHECK(can_free(0) && can_free(1));
}

TEST(buffers_of_a_lost_device_are_left_to_the_driver) {
    calls = {};
    Buffer a = buffer_on(0), b = buffer_on(1);
    auto * memory = static_cast<std::vector<char> *>(a->context);
    {
        const Lost lost(0);
        ggml_tensor tensor = tensor_in(a);
        CHECK(ggml_backend_buffer_init_tensor(a.get(), &tensor) == GGML_STATUS_FAILED);
        CHECK(!ggml_backend_buft_alloc_buffer(opened(0), 64));
        a.reset();
        CHECK(calls.freed == 0 && forgotten());
        CHECK(!can_free(0) && forgotten());
        b.reset();  // the other device still works
        CHECK(calls.freed == 1 && can_free(1));
    }
    delete memory;
}

TEST(a_kernel_that_fails_is_awaited) {
    calls = {};
    {
        const Lost lost(0, true);
        CHECK(!can_free(0) && calls.waits == 1 && forgotten());
    }
    CHECK(can_free(0) && calls.waits == 2);
    cudaSetDevice(7);
    latent::backend::forget_errors();
    CHECK(forgotten());
}

TEST(copies_on_one_device) {
    const Buffer a = buffer_on(1), b = buffer_on(1), other = buffer_on(0);
    ggml_tensor from = tensor_in(a), to = tensor_in(b), elsewhere = tensor_in(other);
    const std::array<float, 4> values = {1, 2, 3, 4};
    std::memcpy(from.data, values.data(), sizeof values);
    driver.copied = 0, driver.copied_on = -1, driver.current = 0;
    CHECK(b->iface.cpy_tensor(b.get(), &from, &to) && std::memcmp(to.data, values.data(), sizeof values) == 0);
    CHECK(driver.copied == sizeof values && driver.copied_on == 1 && driver.in_flight == 0);

    // Between devices, ggml copies through the host.
    CHECK(!other->iface.cpy_tensor(other.get(), &from, &elsewhere) && driver.copied == sizeof values);
    const Lost lost(1);
    CHECK(!b->iface.cpy_tensor(b.get(), &from, &to) && driver.copied == sizeof values && forgotten());
    driver.lost[1] = false;  // both buffers are freed below
}

TEST(memory_is_that_of_the_device) {
    calls = {};
    size_t free = 0, total = 0;
    for (size_t i : {size_t{1}, size_t{0}}) {
        latent::backend::memory_of(&devices().at(i), &free, &total);
        CHECK(free == 100 + i && total == 1000);
    }
    const Lost lost(0);
    CHECK(message_of([] {
              size_t ignored = 0;
              latent::backend::memory_of(&devices()[0], &ignored, &ignored);
          }) == "an illegal memory access was encountered");
    CHECK(forgotten() && calls.memory == 0);  // ggml's own would reset the device
}

TEST(drivers_that_do_not_start) {
    CHECK(latent::backend::start() == &registry && latent::backend::driver_of("") == "driver for CUDA 13.0");
    driver.starting = cudaErrorNoDevice;  // ggml lists none
    CHECK(latent::backend::start() == &registry && forgotten());
    driver.starting = cudaErrorInitializationError;
    CHECK(message_of([] { latent::backend::start(); }) == "initialization error" && forgotten());
    driver.starting = cudaSuccess;
    driver.version = 0;
    CHECK(latent::backend::driver_of("").empty());
    driver.version = 13000;
}
