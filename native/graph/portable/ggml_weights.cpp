#include "graph/portable/ggml_weights.h"

#include <algorithm>
#include <new>

#include "graph/convert_rows.h"
#include "graph/portable/ggml_device.h"

namespace latent::graph {
namespace {

// gallocr ignores tensors that have an address. Weights that are planned but not loaded get this one, so that graphs can be
// measured.
void * const unloaded = reinterpret_cast<void *>(static_cast<uintptr_t>(64));

constexpr size_t buffer_chunk = size_t{1} << 30;  // weights are distributed over buffers of about this size
constexpr uintptr_t map_alignment = 64;           // at least the alignment that ggml requires of a host buffer

}  // namespace

GgmlWeights::GgmlWeights(const DevicePtr & device) : device_(device), type_(static_cast<GgmlDevice &>(*device).buffer_type()) {
    quiet_ggml();
}

// ggml's CUDA backend does not look up rows of K-quants.
DType GgmlWeights::resident_type(const Parameter & parameter, DType, DType wanted) const {
    const bool refused = parameter.role == Role::embedding && dtype_block(wanted) > 32 && device_->kind() == "ggml-cuda";
    return refused ? DType::f16 : wanted;
}

uint64_t GgmlWeights::bytes(const Parameter & parameter) const {
    return static_cast<uint64_t>(parameter.elements() / dtype_block(parameter.dtype) * dtype_block_bytes(parameter.dtype));
}

std::unique_ptr<Resident> GgmlWeights::declare(const Parameter & parameter, DType) {
    auto resident = std::make_unique<GgmlResident>();
    resident->context.reset(ggml_init({ggml_tensor_overhead(), nullptr, true}));
    if (!resident->context) throw std::bad_alloc();
    ggml_context * context = resident->context.get();
    const ggml_type type = to_ggml(parameter.dtype);
    if (parameter.dtype == DType::i8) {
        resident->tensor = ggml_new_tensor_1d(context, type, static_cast<int64_t>(bytes(parameter)));
    } else if (parameter.is_matrix() || parameter.shape.size() > 1) {
        resident->tensor = ggml_new_tensor_2d(context, type, parameter.inner(), parameter.rows());
    } else {
        resident->tensor = ggml_new_tensor_1d(context, type, parameter.elements());
    }
    resident->tensor->data = unloaded;
    return resident;
}

bool GgmlWeights::takes_in_place(const Parameter & parameter, DType stored, Span<const uint8_t> data) const {
    return stored == parameter.dtype && data.size() == bytes(parameter) && !data.empty() &&
           reinterpret_cast<uintptr_t>(data.data()) % block_alignment(stored) == 0;
}

size_t GgmlWeights::padded(const Parameter & parameter) const {
    const size_t alignment = ggml_backend_buft_get_alignment(type_);
    return (ggml_backend_buft_get_alloc_size(type_, tensor_of(&parameter)) + alignment - 1) / alignment * alignment;
}

void GgmlWeights::allocate(const std::vector<Placement> & parameters) {
    const size_t limit = std::min(ggml_backend_buft_get_max_size(type_), buffer_chunk);
    std::vector<const Parameter *> waiting;
    size_t waiting_bytes = 0;
    const auto flush = [&] {
        if (!waiting.empty()) place_in_buffer(waiting, waiting_bytes);
        waiting.clear();
        waiting_bytes = 0;
    };
    for (const Placement & placement : parameters) {
        if (!placement.in_place.empty()) {
            place_in_file(placement);
            continue;
        }
        const size_t size = padded(*placement.parameter);
        if (!waiting.empty() && waiting_bytes + size > limit) flush();
        waiting.push_back(placement.parameter);
        waiting_bytes += size;
    }
    flush();
}

void GgmlWeights::place_in_file(const Placement & placement) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(placement.in_place.data());
    const uintptr_t base = address / map_alignment * map_alignment;
    ggml_backend_buffer_ptr buffer(
        ggml_backend_cpu_buffer_from_ptr(reinterpret_cast<void *>(base), placement.in_place.size() + (address - base)));
    ggml_backend_buffer_set_usage(buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    ggml_tensor * tensor = tensor_of(placement.parameter);
    tensor->data = nullptr;
    ggml_backend_tensor_alloc(buffer.get(), tensor, const_cast<uint8_t *>(placement.in_place.data()));
    buffers_.push_back(std::move(buffer));
}

void GgmlWeights::place_in_buffer(const std::vector<const Parameter *> & parameters, size_t bytes) {
    const size_t alignment = ggml_backend_buft_get_alignment(type_);
    ggml_backend_buffer_ptr buffer(ggml_backend_buft_alloc_buffer(type_, bytes + alignment));
    if (!buffer) {
        static_cast<GgmlDevice &>(*device_).check_answers();
        throw std::bad_alloc();
    }
    ggml_backend_buffer_set_usage(buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    const uintptr_t base = reinterpret_cast<uintptr_t>(ggml_backend_buffer_get_base(buffer.get()));
    uintptr_t address = (base + alignment - 1) / alignment * alignment;
    for (const Parameter * parameter : parameters) {
        ggml_tensor * tensor = tensor_of(parameter);
        tensor->data = nullptr;
        const size_t size = padded(*parameter);
        ggml_backend_tensor_alloc(buffer.get(), tensor, reinterpret_cast<void *>(address));
        address += size;
    }
    buffers_.push_back(std::move(buffer));
}

void GgmlWeights::load(const Parameter & parameter, DType stored, Span<const uint8_t> data) {
    ggml_tensor * tensor = tensor_of(&parameter);
    const bool host = ggml_backend_buffer_is_host(tensor->buffer);
    if (!host) scratch_.resize(static_cast<size_t>(bytes(parameter)));
    void * destination = host ? tensor->data : scratch_.data();
    convert_rows(stored, data.data(), parameter.dtype, destination, parameter.rows(), parameter.inner(), device_->threads());
    if (!host) static_cast<GgmlDevice &>(*device_).write(tensor, scratch_.data());
}

void GgmlWeights::read(const Parameter & parameter, Span<float> out) const {
    static_cast<const GgmlDevice &>(*device_).read(tensor_of(&parameter), out.data());
}

void GgmlWeights::unload(const std::vector<const Parameter *> & parameters) {
    for (const Parameter * parameter : parameters) {
        ggml_tensor * tensor = tensor_of(parameter);
        tensor->buffer = nullptr;
        tensor->data = unloaded;
        tensor->extra = nullptr;
    }
    buffers_.clear();
    scratch_ = {};
}

}  // namespace latent::graph
