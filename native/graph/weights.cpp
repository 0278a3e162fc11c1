#include "graph/weights.h"

#include <ggml-cpu.h>

#include <algorithm>
#include <numeric>

#include "core/json.h"
#include "core/weight_type.h"
#include "graph/convert_rows.h"
#include "graph/ggml_handles.h"
#include "graph/runner.h"
#include "kernels/common/matmul.h"

namespace latent::graph {

namespace {

// gallocr leaves tensors alone that have an address. Planned but unloaded weights get this one, so that graphs can be measured.
void * const unloaded = reinterpret_cast<void *>(static_cast<uintptr_t>(64));

constexpr size_t buffer_chunk = size_t{1} << 30;    // weights are spread over buffers of about this size
constexpr int64_t max_elements = int64_t{1} << 34;  // of one parameter
constexpr uintptr_t map_alignment = 64;             // what ggml asks of the base of a host buffer, rounded up

std::string shape_text(const std::vector<int64_t> & shape) {
    std::string text = "[";
    for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
    return text + "]";
}

/// The same numbers in the same order as rows of the same length: ones dropped; or, for a convolution, taps flattened.
bool same_matrix(const Parameter & parameter, const std::vector<int64_t> & stored) {
    std::vector<int64_t> a, b;
    for (const int64_t n : parameter.shape) {
        if (n != 1) a.push_back(n);
    }
    for (const int64_t n : stored) {
        if (n != 1) b.push_back(n);
    }
    if (a == b) return true;
    return parameter.role == Role::conv && stored.size() == 2 && stored[0] == parameter.rows() && stored[1] == parameter.inner();
}

bool is_matrix(Role role) {
    return role == Role::conv || role == Role::linear || role == Role::embedding;
}

/// Rows of input channels, one per tap.
kernels::Int8Matrix int8_matrix(const Parameter & parameter) {
    kernels::Int8Matrix matrix;
    matrix.rows = parameter.rows();
    matrix.channels = parameter.shape[1];
    matrix.taps = static_cast<int>(parameter.inner() / matrix.channels);
    return matrix;
}

/// Whether int8 products are worth it: a matrix of some size, not sensitive, that sees more than one token (the time embedding's
/// way into the blocks is little work and enters everything).
bool takes_int8(const Parameter & parameter) {
    constexpr int64_t kLeast = 16, kMostTaps = 49;  // channels; the rim of a network has fewer
    const bool product = parameter.role == Role::conv || parameter.role == Role::linear;
    const bool one_token = parameter.name.find(".emb_layers.") != std::string::npos;
    return product && !is_sensitive_weight(parameter.name) && !one_token && parameter.rows() >= kLeast &&
           parameter.shape[1] >= kLeast && parameter.inner() / parameter.shape[1] <= kMostTaps;
}

uint64_t resident_bytes(const Parameter & parameter) {
    if (parameter.dtype == DType::i8) {
        const kernels::Int8Matrix matrix = int8_matrix(parameter);
        return static_cast<uint64_t>(kernels::Int8Matrix::bytes(matrix.rows, matrix.channels, matrix.taps));
    }
    return static_cast<uint64_t>(parameter.elements() / dtype_block(parameter.dtype) * dtype_block_bytes(parameter.dtype));
}

/// At most `most` entries, then how many more there are.
std::string list_text(const std::vector<std::string> & entries, size_t most = 8) {
    std::string text;
    for (size_t i = 0; i < std::min(entries.size(), most); ++i) text += (i ? ", " : "") + entries[i];
    if (entries.size() > most) text += " and " + std::to_string(entries.size() - most) + " more";
    return text;
}

}  // namespace

int64_t Parameter::elements() const {
    return std::accumulate(shape.begin(), shape.end(), int64_t{1}, [](int64_t a, int64_t b) { return a * b; });
}

int64_t Parameter::rows() const {
    return shape.size() > 1 ? shape[0] : 1;
}

int64_t Parameter::inner() const {
    return elements() / rows();
}

struct WeightStore::Storage {
    ggml_context_ptr context;
    std::vector<ggml_backend_buffer_ptr> buffers;
};

WeightStore::WeightStore(DevicePtr device, std::string part)
    : device_(std::move(device)), part_(std::move(part)), storage_(std::make_unique<Storage>()) {}

WeightStore::~WeightStore() = default;

Parameter * WeightStore::declare(const std::string & name, std::vector<int64_t> shape, Role role, bool optional) {
    int64_t elements = 1;
    for (const int64_t n : shape) {
        if (n < 1 || n > max_elements / elements)
            throw Error(ErrorCode::model_format, "The size of \"" + name + "\" is out of range");
        elements *= n;
    }
    const auto known = by_name_.find(name);
    if (known != by_name_.end()) {
        if (known->second->shape != shape) throw Error(ErrorCode::internal, "\"" + name + "\" is declared with two shapes");
        return known->second;
    }
    auto parameter = std::make_unique<Parameter>();
    parameter->name = name;
    parameter->shape = std::move(shape);
    parameter->role = role;
    parameter->optional = optional;
    Parameter * pointer = parameter.get();
    by_name_[name] = pointer;
    parameters_.push_back(std::move(parameter));
    return pointer;
}

DType WeightStore::choose_dtype(const Parameter & parameter, DType stored) const {
    if (policy_.precision == Precision::exact || !is_matrix(parameter.role)) return DType::f32;
    std::optional<DType> asked = policy_.dtype;
    if (asked == DType::i8) {
        if (takes_int8(parameter) && device_->is_cpu() && Runner::Limits::fused_by_default()) return DType::i8;
        asked.reset();
    }
    DType wanted = asked.value_or(stored);
    const bool runs = dtype_is_quantised(wanted) || wanted == DType::f32 || wanted == DType::f16 || wanted == DType::bf16;
    if (!runs) wanted = wanted == DType::f8_e4m3 || wanted == DType::f8_e5m2 ? DType::f16 : DType::f32;
    // Already coarser than what was asked: going up would only cost memory.
    if (dtype_is_quantised(stored) && !asked) wanted = stored;
    if (wanted == stored) return wanted;
    return weight_type(parameter.name, parameter.inner(), wanted);
}

void WeightStore::check_shapes() const {
    std::vector<std::string> missing, wrong;
    for (const auto & parameter : parameters_) {
        const TensorInfo * info = source_->find(parameter->name);
        if (!info) {
            if (!parameter->optional) missing.push_back("\"" + parameter->name + "\"");
        } else if (!same_matrix(*parameter, info->shape) ||
                   (dtype_is_quantised(info->dtype) && parameter->inner() % dtype_block(info->dtype) != 0)) {
            wrong.push_back("\"" + parameter->name + "\" (" + dtype_name(info->dtype) + " " + shape_text(info->shape) +
                            ", expected " + shape_text(parameter->shape) + ")");
        }
    }
    if (missing.empty() && wrong.empty()) return;
    std::string message = source_->name() + " does not fit the " + part_ + " that its configuration describes.";
    if (!missing.empty()) message += " Missing: " + list_text(missing) + ".";
    if (!wrong.empty()) message += " Of another shape: " + list_text(wrong) + ".";
    throw Error(ErrorCode::model_format, message, Json{{"part", part_}, {"missing", missing}, {"wrong", wrong}}.dump());
}

void WeightStore::plan(TensorSourcePtr source, const WeightPolicy & policy) {
    unload();
    for (auto & parameter : parameters_) parameter->tensor = nullptr;
    storage_->context.reset();
    source_ = std::move(source);
    policy_ = policy;
    try {
        check_shapes();
    } catch (...) {
        source_.reset();
        throw;
    }

    quiet_ggml();
    const size_t size = (parameters_.size() + 1) * ggml_tensor_overhead();
    storage_->context.reset(ggml_init({size, nullptr, true}));
    if (!storage_->context) throw Error(ErrorCode::out_of_memory, "No memory for the tensor list of the " + part_);
    for (auto & parameter : parameters_) {
        const TensorInfo * info = source_->find(parameter->name);
        if (!info) continue;
        parameter->source_index = info->index;
        parameter->dtype = choose_dtype(*parameter, info->dtype);
        const ggml_type type = to_ggml(parameter->dtype);
        ggml_context * context = storage_->context.get();
        if (parameter->dtype == DType::i8) {
            parameter->tensor = ggml_new_tensor_1d(context, type, static_cast<int64_t>(resident_bytes(*parameter)));
            parameter->tensor->data = unloaded;
            continue;
        }
        parameter->tensor = is_matrix(parameter->role) || parameter->shape.size() > 1
                                ? ggml_new_tensor_2d(context, type, parameter->inner(), parameter->rows())
                                : ggml_new_tensor_1d(context, type, parameter->elements());
        parameter->tensor->data = unloaded;
    }
    // A page of the file comes in with its neighbours. Where most weights are converted, the few that could stay (norms, biases)
    // would bring those along that nobody reads any more: then all are copied.
    uint64_t could_lie = 0;
    for (const auto & parameter : parameters_) {
        if (parameter->present() && could_lie_in_file(*parameter)) could_lie += resident_bytes(*parameter);
    }
    in_place_ = 2 * could_lie >= bytes();
    ++generation_;
}

bool WeightStore::could_lie_in_file(const Parameter & parameter) const {
    if (!device_->maps_host_memory() || parameter.dtype == DType::i8) return false;
    const TensorInfo & info = source_->tensors()[parameter.source_index];
    if (info.dtype != parameter.dtype) return false;
    const Span<const uint8_t> view = source_->view(info);
    return view.size() == resident_bytes(parameter) && !view.empty() &&
           reinterpret_cast<uintptr_t>(view.data()) % block_alignment(info.dtype) == 0;
}

uint64_t WeightStore::parameter_count() const {
    uint64_t count = 0;
    for (const auto & parameter : parameters_) {
        if (!planned() || parameter->present()) count += static_cast<uint64_t>(parameter->elements());
    }
    return count;
}

uint64_t WeightStore::bytes() const {
    uint64_t total = 0;
    for (const auto & parameter : parameters_) {
        if (parameter->present()) total += resident_bytes(*parameter);
    }
    return total;
}

uint64_t WeightStore::mapped_bytes() const {
    uint64_t total = 0;
    for (const auto & parameter : parameters_) {
        if (parameter->present() && in_place(*parameter)) total += resident_bytes(*parameter);
    }
    return total;
}

std::map<DType, uint64_t> WeightStore::bytes_by_dtype() const {
    std::map<DType, uint64_t> by_type;
    for (const auto & parameter : parameters_) {
        if (parameter->present()) by_type[parameter->dtype] += resident_bytes(*parameter);
    }
    return by_type;
}

// Gives every tensor an address: inside the mapped file where possible, else in buffers of the device.
void WeightStore::allocate() {
    ggml_backend_buffer_type_t type = device_->buffer_type();
    const size_t alignment = ggml_backend_buft_get_alignment(type);
    const size_t limit = std::min(ggml_backend_buft_get_max_size(type), buffer_chunk);
    const auto padded = [&](const Parameter & parameter) {
        const size_t size = ggml_backend_buft_get_alloc_size(type, parameter.tensor);
        return (size + alignment - 1) / alignment * alignment;
    };
    std::vector<Parameter *> waiting;
    size_t waiting_bytes = 0;
    const auto flush = [&] {
        if (waiting.empty()) return;
        ggml_backend_buffer_ptr buffer(ggml_backend_buft_alloc_buffer(type, waiting_bytes + alignment));
        if (!buffer) {
            device_->require(UINT64_MAX, "Loading the weights of the " + part_);  // the system said yes, the allocator no
            throw Error(ErrorCode::out_of_memory,
                        "No memory for " + std::to_string(waiting_bytes) + " bytes of weights of the " + part_);
        }
        ggml_backend_buffer_set_usage(buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
        const uintptr_t base = reinterpret_cast<uintptr_t>(ggml_backend_buffer_get_base(buffer.get()));
        uintptr_t address = (base + alignment - 1) / alignment * alignment;
        for (Parameter * parameter : waiting) {
            const size_t size = padded(*parameter);
            parameter->tensor->data = nullptr;
            ggml_backend_tensor_alloc(buffer.get(), parameter->tensor, reinterpret_cast<void *>(address));
            address += size;
        }
        storage_->buffers.push_back(std::move(buffer));
        waiting.clear();
        waiting_bytes = 0;
    };
    for (auto & parameter : parameters_) {
        if (!parameter->present()) continue;
        if (in_place(*parameter)) {
            const Span<const uint8_t> view = source_->view(source_->tensors()[parameter->source_index]);
            const uintptr_t address = reinterpret_cast<uintptr_t>(view.data());
            const uintptr_t base = address / map_alignment * map_alignment;
            ggml_backend_buffer_ptr buffer(
                ggml_backend_cpu_buffer_from_ptr(reinterpret_cast<void *>(base), view.size() + (address - base)));
            ggml_backend_buffer_set_usage(buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
            parameter->tensor->data = nullptr;
            ggml_backend_tensor_alloc(buffer.get(), parameter->tensor, const_cast<uint8_t *>(view.data()));
            storage_->buffers.push_back(std::move(buffer));
            continue;
        }
        if (!waiting.empty() && waiting_bytes + padded(*parameter) > limit) flush();
        waiting.push_back(parameter.get());
        waiting_bytes += padded(*parameter);
    }
    flush();
}

void WeightStore::load_one(const Parameter & parameter, std::vector<uint8_t> & scratch) const {
    const TensorInfo & info = source_->tensors()[parameter.source_index];
    Span<const uint8_t> stored = source_->view(info);
    std::vector<uint8_t> copy;
    if (stored.size() != info.bytes) {
        copy.resize(static_cast<size_t>(info.bytes));
        source_->read(info, copy.data());
        stored = copy;
    }
    if (parameter.dtype == DType::i8) {
        pack_int8(parameter, info.dtype, stored.data());
        source_->release(info);
        return;
    }
    const bool host = ggml_backend_buffer_is_host(parameter.tensor->buffer);
    if (!host) scratch.resize(static_cast<size_t>(resident_bytes(parameter)));
    void * destination = host ? parameter.tensor->data : scratch.data();
    convert_rows(info.dtype, stored.data(), parameter.dtype, destination, parameter.rows(), parameter.inner(),
                 device_->threads());
    if (!host) ggml_backend_tensor_set(parameter.tensor, scratch.data(), 0, scratch.size());
    source_->release(info);
}

void WeightStore::pack_int8(const Parameter & parameter, DType stored, const uint8_t * source) const {
    struct Reader {
        DType type;
        const uint8_t * source;
        int64_t inner, row_bytes;
    };
    const int64_t inner = parameter.inner();
    Reader reader{stored, source, inner, inner / dtype_block(stored) * dtype_block_bytes(stored)};
    const kernels::Int8Matrix matrix = int8_matrix(parameter);
    const auto read = [](void * user, int64_t row, float * target) {
        const Reader & from = *static_cast<const Reader *>(user);
        row_to_f32(from.type, from.source + row * from.row_bytes, target, from.inner);
    };
    uint8_t * out = static_cast<uint8_t *>(parameter.tensor->data);
    const int panels = static_cast<int>((matrix.rows + kernels::kTileColumns - 1) / kernels::kTileColumns);
    const kernels::PanelOrder order = kernels::int8_set().order;
    device_->pool().run(panels, [&](int panel) { kernels::pack_int8_panel(order, matrix, panel, read, &reader, out); });
}

void WeightStore::load(const JobContext & job, uint64_t progress_base, uint64_t progress_total) {
    if (!planned()) throw Error(ErrorCode::internal, "The " + part_ + " was not planned before loading");
    if (loaded_) return;
    const uint64_t total = bytes(), mapped = mapped_bytes();
    if (progress_total == 0) progress_total = total;
    device_->require(total - mapped, "Loading the weights of the " + part_);
    try {
        allocate();
        uint64_t done = 0;
        std::vector<uint8_t> scratch;
        for (const auto & parameter : parameters_) {
            job.check();
            if (!parameter->present()) continue;
            if (!in_place(*parameter)) load_one(*parameter, scratch);
            done += resident_bytes(*parameter);
            job.report(Phase::load, static_cast<int64_t>(progress_base + done), static_cast<int64_t>(progress_total));
        }
    } catch (const std::bad_alloc &) {
        unload();
        throw Error(ErrorCode::out_of_memory, "No memory to convert a weight of the " + part_, Json{{"required", total}}.dump());
    } catch (...) {
        unload();
        throw;
    }
    loaded_ = true;
    ++generation_;
}

void WeightStore::rest() {
    if (!loaded_ || !touched_) return;
    for (const auto & parameter : parameters_) {
        if (parameter->present() && in_place(*parameter)) source_->release(source_->tensors()[parameter->source_index]);
    }
    touched_ = false;
}

void WeightStore::unload() {
    rest();
    for (auto & parameter : parameters_) {
        if (!parameter->tensor) continue;
        parameter->tensor->buffer = nullptr;
        parameter->tensor->data = unloaded;
        parameter->tensor->extra = nullptr;
    }
    storage_->buffers.clear();
    if (loaded_) ++generation_;
    loaded_ = false;
}

std::vector<float> WeightStore::values(const Parameter & parameter) const {
    if (!loaded_ || !parameter.present() || parameter.dtype != DType::f32)
        throw Error(ErrorCode::internal, "\"" + parameter.name + "\" is not there as float32 values");
    std::vector<float> out(static_cast<size_t>(parameter.elements()));
    ggml_backend_tensor_get(parameter.tensor, out.data(), 0, out.size() * sizeof(float));
    return out;
}

Conv Scope::conv(const std::string & name, int64_t in, int64_t out, int kernel, bool bias) const {
    Conv layer;
    layer.weight = store_->declare(prefix_ + name + ".weight", {out, in, kernel, kernel}, Role::conv);
    if (bias) layer.bias = store_->declare(prefix_ + name + ".bias", {out}, Role::bias);
    layer.in = in;
    layer.out = out;
    layer.kernel = kernel;
    return layer;
}

Linear Scope::linear(const std::string & name, int64_t in, int64_t out, bool bias) const {
    Linear layer;
    layer.weight = store_->declare(prefix_ + name + ".weight", {out, in}, Role::linear);
    if (bias) layer.bias = store_->declare(prefix_ + name + ".bias", {out}, Role::bias);
    layer.in = in;
    layer.out = out;
    return layer;
}

Norm Scope::norm(const std::string & name, int64_t channels) const {
    Norm layer;
    layer.weight = store_->declare(prefix_ + name + ".weight", {channels}, Role::norm);
    layer.bias = store_->declare(prefix_ + name + ".bias", {channels}, Role::bias);
    layer.channels = channels;
    return layer;
}

Embedding Scope::embedding(const std::string & name, int64_t rows, int64_t dim) const {
    return {store_->declare(prefix_ + name + ".weight", {rows, dim}, Role::embedding), rows, dim};
}

const Parameter * Scope::table(const std::string & name, std::vector<int64_t> shape) const {
    return store_->declare(prefix_ + name, std::move(shape), Role::bias);
}

}  // namespace latent::graph
