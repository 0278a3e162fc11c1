#include "fake_backend.h"

#include <ggml-backend-impl.h>
#include <ggml-cpu.h>
#include <ggml-impl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>

#include "backend/backend_start.h"
#include "cuda_rules.h"
#include "metal_rules.h"

namespace {

struct State {
    Failure failure = Failure::none;
    int after = 0;
    bool refuse_products = false, deny = false, overdrawn = false, hidden = false;
    bool halves = false;
    uint64_t limit = [] {  // LATENT_FAKE_BYTES in the environment: of each GPU
        const char * bytes = std::getenv("LATENT_FAKE_BYTES");
        return bytes ? std::strtoull(bytes, nullptr, 10) : 0;
    }();
    std::atomic<uint64_t> used{0};
    std::atomic<int> slices{0}, operations{0}, copies{0}, largest{0};
} state;

constexpr size_t gpus = 9;

/// As ggml's Vulkan backend, which destroys its devices with its static objects, unless something else refers to them.
bool opened = false, kept = false;  // or half opened
struct AtExit {
    ~AtExit() {
        if (opened && !kept) std::abort();
    }
} at_exit;

/// What a driver and ggml keep of a GPU. As theirs would, a wrong use ends the process.
struct GpuState {
    std::atomic<bool> busy{false}, broken{false}, open{false}, failed_commands{false};
    std::atomic<uint64_t> copies_left{0}, copies_right{0};
    ggml_backend_t computes = nullptr;  // the backend of the CPU in the role of this GPU

    uint64_t scratch() const { return copies_left + copies_right; }
    void free_scratch() {
        state.used -= scratch();
        copies_left = copies_right = 0;
    }
};
std::array<GpuState, gpus> gpu_states;

/// One use of a GPU, by one thread at a time, and never after it failed.
struct Use {
    explicit Use(GpuState & gpu) : gpu_(gpu) {
        if (gpu_.busy.exchange(true) || gpu_.broken) std::abort();
    }
    ~Use() { gpu_.busy = false; }
    Use(const Use &) = delete;
    Use & operator=(const Use &) = delete;

private:
    GpuState & gpu_;
};

GpuState & state_of(ggml_backend_dev_t device) {
    return *static_cast<GpuState *>(device->context);
}

struct VulkanCategory : std::error_category {
    const char * name() const noexcept override { return "vk::Result"; }
    std::string message(int code) const override { return code == -4 ? "ErrorDeviceLost" : "ErrorOutOfDeviceMemory"; }
};

bool is_memory(Failure failure) {
    return failure == Failure::no_memory || failure == Failure::said_memory || failure == Failure::cublas_memory ||
           failure == Failure::commands_memory;
}

/// ggml_cuda_error()
[[noreturn]] void end_as_cuda(const char * reason) {
    GGML_LOG_ERROR("CUDA error: %s\n", reason);
    GGML_LOG_ERROR("  current device: 0, in function alloc at ggml-cuda.cu:455\n");
    GGML_LOG_ERROR("  ggml_cuda_device_malloc(&ptr, look_ahead_size, device)\n");
    GGML_ABORT("CUDA error");
}

/// ggml_metal_synchronize()
void fail_commands(GpuState & gpu, const char * reason) {
    GGML_LOG_ERROR("ggml_metal_synchronize: error: command buffer 0 failed with status 5\n");
    GGML_LOG_ERROR("error: %s\n", reason);
    gpu.failed_commands = true;
}

void throw_failure(GpuState & gpu, Failure failure, bool opening) {
    static const VulkanCategory category;
    gpu.broken = opening || !is_memory(failure);
    switch (failure) {
        case Failure::no_memory: throw std::system_error(-2, category, "vk::Device::allocateMemory");
        case Failure::lost: throw std::system_error(-4, category, "vk::Queue::submit");
        case Failure::shader: throw std::system_error(-2, category, "vk::Device::createComputePipeline");
        case Failure::assertion: GGML_ABORT("no pipeline");
        case Failure::said_memory: end_as_cuda("out of memory");
        case Failure::cublas_memory: end_as_cuda("the resource allocation failed");
        case Failure::commands:
            fail_commands(gpu, "Caused GPU Timeout Error (00000002:kIOGPUCommandBufferCallbackErrorTimeout)");
            break;
        case Failure::commands_memory:
            fail_commands(gpu, "Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)");
            break;
        case Failure::none: break;
    }
}

void maybe_fail(GpuState & gpu, bool opening) {
    const Failure failure = state.failure;
    if (failure == Failure::none || state.after-- > 0) return;
    if (is_memory(failure)) state.failure = Failure::none;
    throw_failure(gpu, failure, opening);
}

/// LATENT_FAKE_FAILURE in the environment, for tests of other processes: "crash:1:SOFT_MAX" fails on GPU 1 in graphs with this
/// operation; without the third part, in all. crash, hang, memory (every allocation in a graph), lost, wrong (numbers).
void maybe_fail_as_told(GpuState & gpu, ggml_cgraph * graph, bool computed) {
    const char * told = std::getenv("LATENT_FAKE_FAILURE");
    if (!told) return;
    const std::string text = told;
    const size_t first = text.find(':'), second = text.find(':', first + 1);
    if (std::stoul(text.substr(first + 1)) != static_cast<size_t>(&gpu - gpu_states.data())) return;
    const std::string what = text.substr(0, first), operation = second == std::string::npos ? "" : text.substr(second + 1);
    bool meant = operation.empty();
    for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) meant |= operation == ggml_op_desc(ggml_graph_node(graph, i));
    if (!meant) return;
    if (computed) {
        ggml_tensor * last = ggml_graph_node(graph, ggml_graph_n_nodes(graph) - 1);
        if (what != "wrong" || last->type != GGML_TYPE_F32) return;
        for (int64_t i = 0; i < ggml_nelements(last); ++i) static_cast<float *>(last->data)[i] *= 1.2f;
        return;
    }
    if (what == "crash") std::abort();
    while (what == "hang") std::this_thread::sleep_for(std::chrono::seconds(1));
    if (what == "memory") throw_failure(gpu, Failure::no_memory, false);
    if (what == "lost") throw_failure(gpu, Failure::lost, false);
}

// ---- memory that is not the host's

ggml_backend_buffer_i plain;  // of the CPU's buffers

ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, size_t bytes) {
    if (state.deny || (state.limit && state.used + bytes > state.limit)) return nullptr;
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), bytes);
    if (!buffer) return nullptr;
    std::memset(ggml_backend_buffer_get_base(buffer), 0xff, bytes);  // NaN
    state.used += bytes;
    plain = buffer->iface;
    buffer->buft = type;
    buffer->iface.free_buffer = [](ggml_backend_buffer_t freed) {
        state.used -= freed->size;
        plain.free_buffer(freed);
    };
    buffer->iface.cpy_tensor = [](ggml_backend_buffer_t, const ggml_tensor * from, ggml_tensor * to) {
        ++state.copies;
        std::memcpy(to->data, from->data, ggml_nbytes(from));
        return true;
    };
    return buffer;
}

extern std::array<ggml_backend_device, gpus> devices;

ggml_backend_buffer_type buffer_type = {
    {[](ggml_backend_buffer_type_t) { return "Fake"; }, allocate, [](ggml_backend_buffer_type_t) { return size_t{64}; }, nullptr,
     nullptr, [](ggml_backend_buffer_type_t) { return false; }},
    devices.data(),
    nullptr};

// ---- the backend

ggml_backend_t cpu_of(GpuState & gpu) {
    if (!gpu.computes) {
        gpu.computes = ggml_backend_cpu_init();
        ggml_backend_cpu_set_n_threads(gpu.computes, 1);
    }
    return gpu.computes;
}

/// The copies of operands that ggml_vk_mul_mat_q_f16() makes on a GPU with integer dot products and tensor cores.
void keep_scratch(GpuState & gpu, ggml_cgraph * graph) {
    for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
        const ggml_tensor * node = ggml_graph_node(graph, i);
        if (node->op != GGML_OP_MUL_MAT) continue;
        const ggml_tensor *x = node->src[0], *y = node->src[1];
        const uint64_t before = gpu.scratch(), ny = static_cast<uint64_t>(ggml_nelements(y)),
                       nx = static_cast<uint64_t>(ggml_nelements(x)), tile = 128;
        const uint64_t rows = (static_cast<uint64_t>(y->ne[1]) + tile - 1) / tile * tile;
        const bool as_halves = x->type == GGML_TYPE_BF16 || (state.halves && y->type == GGML_TYPE_F32);
        if (state.halves && x->type == GGML_TYPE_F32) gpu.copies_left = std::max<uint64_t>(gpu.copies_left, nx * 2);
        if (as_halves) gpu.copies_right = std::max<uint64_t>(gpu.copies_right, ny / static_cast<uint64_t>(y->ne[1]) * rows * 2);
        state.used += gpu.scratch() - before;
    }
}

ggml_status compute(ggml_backend_t backend, ggml_cgraph * graph) {
    GpuState & gpu = state_of(backend->device);
    const Use use(gpu);
    if (gpu.failed_commands) return GGML_STATUS_FAILED;
    maybe_fail(gpu, false);
    maybe_fail_as_told(gpu, graph, false);
    ++state.slices;
    state.operations += ggml_graph_n_nodes(graph);
    state.largest = std::max(state.largest.load(), ggml_graph_n_nodes(graph));
    keep_scratch(gpu, graph);
    const ggml_status status = ggml_backend_graph_compute(cpu_of(gpu), graph);
    maybe_fail_as_told(gpu, graph, true);
    return status;
}

ggml_backend_i backend_functions() {
    ggml_backend_i functions = {};
    functions.get_name = [](ggml_backend_t) { return "Fake0"; };
    functions.free = [](ggml_backend_t backend) {
        GpuState & gpu = state_of(backend->device);
        const Use use(gpu);
        gpu.free_scratch();
        gpu.open = gpu.failed_commands = false;
        delete backend;
    };
    functions.graph_compute = compute;
    return functions;
}

/// Contiguous as Vulkan sees it, which also looks at the strides of single elements.
bool dense(const ggml_tensor * t) {
    return ggml_is_contiguous(t) && t->nb[1] == ggml_row_size(t->type, t->ne[0]) &&
           (t->ne[3] == 1 || t->nb[3] == t->nb[2] * static_cast<size_t>(t->ne[2]));
}

/// What Metal, CUDA and Vulkan all support. Vulkan refuses less, except for views; it would copy those that are operands of
/// products to 16 bits.
bool supports(ggml_backend_dev_t device, const ggml_tensor * node) {
    const Use use(state_of(device));
    if (!metal_supports(node) || !cuda_supports(node)) return false;
    switch (node->op) {
        case GGML_OP_IM2COL: return dense(node->src[1]);
        case GGML_OP_MUL_MAT: return !state.refuse_products && dense(node->src[0]) && dense(node->src[1]);
        case GGML_OP_UNARY:
        case GGML_OP_SOFT_MAX: return ggml_is_contiguous(node->src[0]);
        default: return true;
    }
}

ggml_backend_device_i device_functions() {
    ggml_backend_device_i functions = {};
    functions.get_name = [](ggml_backend_dev_t) { return "Fake0"; };
    functions.get_description = [](ggml_backend_dev_t) { return "a GPU made of the CPU"; };
    functions.get_memory = [](ggml_backend_dev_t, size_t * free, size_t * total) {
        *total = state.limit ? state.limit : uint64_t{8} << 30;
        *free = *total - (state.overdrawn ? *total + 1 : state.hidden ? 0 : state.used.load());
    };
    functions.get_type = [](ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_GPU; };
    functions.init_backend = [](ggml_backend_dev_t own, const char *) {
        static std::atomic<int> opening{0};
        if (opening++ > 0) std::abort();
        GpuState & gpu = state_of(own);
        const Use use(gpu);
        opened = true, kept = false;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        --opening;
        maybe_fail(gpu, true);
        if (gpu.open.exchange(true)) std::abort();  // a second one would keep scratch of its own
        return new ggml_backend{nullptr, backend_functions(), own, nullptr};
    };
    functions.get_buffer_type = [](ggml_backend_dev_t) { return &buffer_type; };
    functions.supports_op = supports;
    functions.supports_buft = [](ggml_backend_dev_t, ggml_backend_buffer_type_t type) { return type == &buffer_type; };
    return functions;
}

extern ggml_backend_reg reg;
std::array<ggml_backend_device, gpus> devices = [] {
    std::array<ggml_backend_device, gpus> all{};
    for (size_t i = 0; i < gpus; ++i) all[i] = {device_functions(), &reg, &gpu_states[i]};
    return all;
}();

/// LATENT_FAKE_GPUS in the environment: fewer, so that tests of all of them take less time.
size_t listed_gpus(ggml_backend_reg_t) {
    const char * count = std::getenv("LATENT_FAKE_GPUS");
    return count ? std::min<size_t>(gpus, std::strtoul(count, nullptr, 10)) : gpus;
}

ggml_backend_reg reg = {
    GGML_BACKEND_API_VERSION,
    {[](ggml_backend_reg_t) { return "Vulkan"; }, listed_gpus, [](ggml_backend_reg_t, size_t i) { return &devices[i]; }, nullptr},
    nullptr};

const FakeControl control = {
    [](Failure failure, int after) { state.failure = failure, state.after = after; },
    [](bool products) { state.refuse_products = products; },
    [](uint64_t bytes) { state.limit = bytes ? state.used + bytes : 0; },
    [](bool memory) { state.deny = memory; },
    [](bool overdrawn) { state.overdrawn = overdrawn; },
    [](bool hidden) { state.hidden = hidden; },
    [](bool on) {
        for (GpuState & gpu : gpu_states) gpu.free_scratch();
        state.halves = on;
    },
    [] {
        uint64_t all = 0;
        for (const GpuState & gpu : gpu_states) all += gpu.scratch();
        return all;
    },
    [] { return state.slices.load(); },
    [] { return state.operations.load(); },
    [] { return state.copies.load(); },
    [](bool anew) { return anew ? state.largest.exchange(0) : state.largest.load(); },
};

}  // namespace

namespace latent::backend {

ggml_backend_reg_t start() {
    return &reg;
}

std::string driver_of(const std::string & description) {
    return "driver of " + description;
}

bool float32_products() {
    return !state.halves;
}

void memory_of(ggml_backend_dev_t device, size_t * free, size_t * total) {
    ggml_backend_dev_memory(device, free, total);
}

void guard_buffers(ggml_backend_buffer_type_t) {}

void keep_devices() {
    kept = opened;
}

void forget_errors() {}

bool can_free(ggml_backend_t) {
    return true;
}

}  // namespace latent::backend

extern "C" __attribute__((visibility("default"))) const FakeControl * latent_fake_control() {
    return &control;
}
