#include "graph/portable/ggml_graph.h"

#include <algorithm>
#include <new>

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
        graph->inputs_ = ops->inputs();
        graph->outputs_ = ops->outputs();
        graph->constants_ = ops->constants();
        graph->owned_ = ops->owned();
        graph->flops_ = ops->flops();
        graph->thread_scratch_ = ops->thread_scratch();
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
    const int threads = own_threads_ ? device().pool().threads() : 0;
    GraphMeasure measure;
    measure.bytes = leaf_bytes() + activation_bytes() + context_bytes() + device().work_bytes(graph_, own_threads_) +
                    thread_scratch_ * static_cast<uint64_t>(threads);
    measure.flops = flops_;
    return measure;
}

uint64_t GgmlGraph::bytes_to_allocate() const {
    return leaf_bytes() + activation_bytes() + device().work_bytes(graph_, own_threads_);
}

void GgmlGraph::allocate() {
    ggml_backend_buffer_type * type = device().buffer_type();
    const uint64_t leaves = leaf_bytes();
    bytes_ = leaves + activation_bytes() + context_bytes();
    leaf_buffer_.reset(leaves ? ggml_backend_alloc_ctx_tensors_from_buft(leaves_.get(), type) : nullptr);
    allocator_.reset(ggml_gallocr_new(type));
    const bool reserved = (leaf_buffer_ || !leaves) && ggml_gallocr_reserve(allocator_.get(), graph_) &&
                          ggml_gallocr_alloc_graph(allocator_.get(), graph_);
    if (!reserved) throw std::bad_alloc();
    for (const OpsGgml::Constant & constant : constants_) {
        ggml_backend_tensor_set(constant.tensor, constant.values.data(), 0, constant.values.size() * sizeof(float));
    }
}

void GgmlGraph::set_input(const std::string & name, Span<const float> data) {
    ggml_tensor * tensor = named(inputs_, name);
    check_size(tensor, data.size(), GGML_TYPE_F32, name);
    ggml_backend_tensor_set(tensor, data.data(), 0, ggml_nbytes(tensor));
}

void GgmlGraph::set_input(const std::string & name, Span<const int32_t> data) {
    ggml_tensor * tensor = named(inputs_, name);
    check_size(tensor, data.size(), GGML_TYPE_I32, name);
    ggml_backend_tensor_set(tensor, data.data(), 0, ggml_nbytes(tensor));
}

void GgmlGraph::get_output(const std::string & name, Span<float> out) const {
    const ggml_tensor * tensor = named(outputs_, name);
    check_size(tensor, out.size(), GGML_TYPE_F32, name);
    ggml_backend_tensor_get(tensor, out.data(), 0, ggml_nbytes(tensor));
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

Span<float> GgmlGraph::host_input(const std::string & name) {
    return numbers_of(named(inputs_, name));
}

Span<float> GgmlGraph::host_output(const std::string & name) {
    return numbers_of(named(outputs_, name));
}

void GgmlGraph::compute(const CancelToken & cancel) {
    device().compute(graph_, cancel, own_threads_);
}

}  // namespace latent::graph
