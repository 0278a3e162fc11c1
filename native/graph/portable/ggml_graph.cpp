#include "graph/portable/ggml_graph.h"

#include <algorithm>
#include <new>

#include "core/json.h"

namespace latent::graph {
namespace {

constexpr size_t first_capacity = 4096;  // nodes
constexpr size_t last_capacity = size_t{1} << 20;
constexpr size_t leaf_capacity = 512;

ggml_tensor * named(const std::map<std::string, ggml_tensor *> & all, const std::string & name) {
    const auto found = all.find(name);
    if (found == all.end()) throw Error(ErrorCode::internal, "The graph has no input or output \"" + name + "\"");
    return found->second;
}

void check_size(const ggml_tensor * tensor, size_t size, ggml_type type, const std::string & name) {
    if (tensor->type != type || static_cast<size_t>(ggml_nelements(tensor)) != size) {
        throw Error(ErrorCode::internal,
                    "\"" + name + "\" has " + std::to_string(ggml_nelements(tensor)) + " elements, not " + std::to_string(size));
    }
}

Span<float> numbers_of(const ggml_tensor * tensor) {
    if (!ggml_backend_buffer_is_host(tensor->view_src ? tensor->view_src->buffer : tensor->buffer) || !ggml_is_contiguous(tensor))
        throw Error(ErrorCode::internal, "A value of the graph is not contiguous in the host's memory");
    return {static_cast<float *>(tensor->data), static_cast<size_t>(ggml_nelements(tensor))};
}

/// "MUL_MAT of q4_k [320, 320], f32 [320, 4096] (not contiguous)"
std::string node_text(const ggml_tensor * node) {
    std::string text = ggml_op_desc(node);
    const char * before = " of ";
    for (const ggml_tensor * source : node->src) {
        if (!source) continue;
        text += before + std::string(ggml_type_name(source->type)) + " [";
        for (int i = 0; i < ggml_n_dims(source); ++i) text += (i ? ", " : "") + std::to_string(source->ne[i]);
        text += ggml_is_contiguous(source) ? "]" : "] (not contiguous)";
        before = ", ";
    }
    return text;
}

/// ggml would end the process at the first node that its backend does not have.
void check_supported(const GgmlDevice & device, ggml_cgraph * graph, const std::string & part) {
    for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
        const ggml_tensor * node = ggml_graph_node(graph, i);
        if (device.supports(node)) continue;
        const std::string text = node_text(node);
        throw Error(ErrorCode::device,
                    "The " + part + " needs an operation that the " + device.name() + " device does not support: " + text +
                        "; use device \"cpu\", or a smaller size if these are large",
                    Json{{"device", device.name()}, {"part", part}, {"operation", text}}.dump());
    }
}

}  // namespace

// If a context is too small, it is created again with twice the size.
std::unique_ptr<Graph> build_ggml_graph(const GraphRequest & request,
                                        const std::function<std::unique_ptr<OpsGgml>(const GgmlGraphParts &)> & open,
                                        bool own_threads) {
    quiet_ggml();
    auto graph = std::make_unique<GgmlGraph>();
    graph->device_ = request.device;
    graph->own_threads_ = own_threads;
    const size_t parameters = request.weights.parameters().size();
    for (size_t capacity = std::max(first_capacity, 2 * parameters + leaf_capacity); capacity <= last_capacity; capacity *= 2) {
        // Exactly `capacity` tensors, so that the graph's own list of nodes cannot overflow.
        const size_t each = ggml_tensor_overhead();
        graph->nodes_.reset(ggml_init({capacity * each + ggml_graph_overhead_custom(capacity, false), nullptr, true}));
        graph->leaves_.reset(ggml_init({(leaf_capacity + parameters) * each, nullptr, true}));
        if (!graph->nodes_ || !graph->leaves_) throw Error(ErrorCode::out_of_memory, "No memory for the nodes of a graph");
        graph->graph_ = ggml_new_graph_custom(graph->nodes_.get(), capacity, false);
        const std::unique_ptr<OpsGgml> ops = open({graph->nodes_.get(), graph->leaves_.get(), graph->graph_});
        try {
            request.build(*ops);
        } catch (const GraphFull &) {
            continue;
        }
        check_supported(graph->device(), graph->graph_, request.weights.part());
        graph->inputs_ = ops->inputs();
        graph->outputs_ = ops->outputs();
        graph->constants_ = ops->constants();
        graph->owned_ = ops->owned();
        graph->flops_ = ops->flops();
        graph->thread_scratch_ = ops->thread_scratch();
        if (request.device->shares_host_memory()) graph->stream_ = std::make_unique<WeightStream>(graph->graph_, request.weights);
        return graph;
    }
    throw Error(ErrorCode::out_of_memory, "The " + request.weights.part() + " needs more than " + std::to_string(last_capacity) +
                                              " graph nodes at this size");
}

/// Bytes of inputs and constants.
uint64_t GgmlGraph::leaf_bytes() const {
    return ggml_backend_alloc_ctx_tensors_from_buft_size(leaves_.get(), device().buffer_type());
}

/// Bytes of the activations as the allocator will place them. Leaves are not managed by the allocator and get a temporary
/// address.
uint64_t GgmlGraph::activation_bytes() const {
    if (activation_bytes_) return activation_bytes_;
    const auto give_address = [&](void * address) {
        for (ggml_tensor * t = ggml_get_first_tensor(leaves_.get()); t; t = ggml_get_next_tensor(leaves_.get(), t))
            t->data = address;
    };
    // Uses a separate allocator: it keeps the plan, so a later reservation with the same one would do nothing.
    ggml_gallocr_ptr allocator(ggml_gallocr_new(device().buffer_type()));
    give_address(reinterpret_cast<void *>(static_cast<uintptr_t>(64)));
    size_t size = 0;
    ggml_gallocr_reserve_n_size(allocator.get(), graph_, nullptr, nullptr, &size);
    give_address(nullptr);
    return activation_bytes_ = size;
}

GraphMeasure GgmlGraph::measure() const {
    const int threads = own_threads_ ? device().threads() : 0;
    GraphMeasure measure;
    measure.bytes = leaf_bytes() + activation_bytes() + device().work_bytes(graph_, own_threads_) +
                    thread_scratch_ * static_cast<uint64_t>(threads);
    (device().shares_host_memory() ? measure.bytes : measure.host_bytes) += context_bytes() + device().host_work_bytes();
    measure.flops = flops_;
    return measure;
}

uint64_t GgmlGraph::bytes_to_allocate() const {
    const uint64_t work = device().work_bytes(graph_, own_threads_);
    return leaf_bytes() + activation_bytes() + work - std::min(work, device().reusable());
}

void GgmlGraph::allocate() {
    ggml_backend_buffer_type * type = device().buffer_type();
    const uint64_t leaves = leaf_bytes();
    bytes_ = leaves + activation_bytes() + (device().shares_host_memory() ? context_bytes() : 0);
    leaf_buffer_.reset(leaves ? ggml_backend_alloc_ctx_tensors_from_buft(leaves_.get(), type) : nullptr);
    allocator_.reset(ggml_gallocr_new(type));
    const bool reserved = (leaf_buffer_ || !leaves) && ggml_gallocr_reserve(allocator_.get(), graph_) &&
                          ggml_gallocr_alloc_graph(allocator_.get(), graph_);
    if (!reserved) {
        device().check_answers();
        throw std::bad_alloc();
    }
    for (const OpsGgml::Constant & constant : constants_) {
        device().write(constant.tensor, constant.values.data());
    }
}

void GgmlGraph::set_input(const std::string & name, Span<const float> data) {
    ggml_tensor * tensor = named(inputs_, name);
    check_size(tensor, data.size(), GGML_TYPE_F32, name);
    device().write(tensor, data.data());
}

void GgmlGraph::set_input(const std::string & name, Span<const int32_t> data) {
    ggml_tensor * tensor = named(inputs_, name);
    check_size(tensor, data.size(), GGML_TYPE_I32, name);
    device().write(tensor, data.data());
}

void GgmlGraph::get_output(const std::string & name, Span<float> out) const {
    const ggml_tensor * tensor = named(outputs_, name);
    check_size(tensor, out.size(), GGML_TYPE_F32, name);
    device().read(tensor, out.data());
}

bool GgmlGraph::has_input(const std::string & name) const {
    return inputs_.count(name) > 0;
}

size_t GgmlGraph::input_size(const std::string & name) const {
    return static_cast<size_t>(ggml_nelements(named(inputs_, name)));
}

size_t GgmlGraph::output_size(const std::string & name) const {
    return static_cast<size_t>(ggml_nelements(named(outputs_, name)));
}

namespace {

bool can_copy(const ggml_tensor * from, const ggml_tensor * to) {
    return from->type == to->type && ggml_nelements(from) == ggml_nelements(to) && ggml_are_same_shape(from, to) &&
           ggml_is_contiguous(from) && ggml_is_contiguous(to);
}

/// A value in the device's own memory.
class DeviceValue final : public SavedOutput {
public:
    DeviceValue(DevicePtr device, const ggml_tensor * from) : device_(std::move(device)) {
        context_.reset(ggml_init({ggml_tensor_overhead(), nullptr, true}));
        if (!context_) throw std::bad_alloc();
        tensor_ = ggml_new_tensor(context_.get(), from->type, GGML_MAX_DIMS, from->ne);
        device_->require(ggml_nbytes(tensor_), "A value kept for later steps");
        buffer_.reset(ggml_backend_alloc_ctx_tensors_from_buft(context_.get(), gpu().buffer_type()));
        if (!buffer_) {
            gpu().check_answers();
            throw std::bad_alloc();
        }
        gpu().copy(from, tensor_);
    }
    uint64_t bytes() const override { return ggml_backend_buffer_get_size(buffer_.get()); }
    std::vector<float> numbers() const override {
        std::vector<float> values(static_cast<size_t>(ggml_nelements(tensor_)));
        gpu().read(tensor_, values.data());
        return values;
    }
    const ggml_tensor * tensor() const { return tensor_; }

private:
    GgmlDevice & gpu() const { return static_cast<GgmlDevice &>(*device_); }

    DevicePtr device_;
    ggml_context_ptr context_;
    ggml_backend_buffer_ptr buffer_;
    ggml_tensor * tensor_ = nullptr;
};

}  // namespace

void GgmlGraph::take_input(const std::string & name, const Graph & from, const std::string & output) {
    const ggml_tensor * source = named(static_cast<const GgmlGraph &>(from).outputs_, output);
    ggml_tensor * target = named(inputs_, name);
    if (can_copy(source, target)) {
        device().copy(source, target);
    } else {
        Graph::take_input(name, from, output);
    }
}

std::unique_ptr<SavedOutput> GgmlGraph::save_output(const std::string & name) const {
    if (device().shares_host_memory()) return Graph::save_output(name);
    return std::make_unique<DeviceValue>(device_, named(outputs_, name));
}

void GgmlGraph::set_input(const std::string & name, const SavedOutput & value) {
    const auto * kept = dynamic_cast<const DeviceValue *>(&value);
    ggml_tensor * target = named(inputs_, name);
    if (kept && can_copy(kept->tensor(), target)) {
        device().copy(kept->tensor(), target);
    } else {
        Graph::set_input(name, value);
    }
}

Span<float> GgmlGraph::host_input(const std::string & name) {
    return numbers_of(named(inputs_, name));
}

Span<float> GgmlGraph::host_output(const std::string & name) {
    return numbers_of(named(outputs_, name));
}

void GgmlGraph::compute(const CancelToken & cancel) {
    device().compute(graph_, cancel, own_threads_, stream_ && stream_->start() ? stream_.get() : nullptr);
}

}  // namespace latent::graph
