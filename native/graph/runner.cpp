#include "graph/runner.h"

#include <algorithm>
#include <map>
#include <vector>

#include "core/environment.h"
#include "core/json.h"
#include "graph/fused/ops_cpu.h"
#include "graph/portable/ops_ggml.h"

namespace latent::graph {

struct Graph::State {
    DevicePtr device;
    ggml_context_ptr nodes, leaves;
    ggml_backend_buffer_ptr leaf_buffer;
    ggml_gallocr_ptr allocator;
    ggml_cgraph * graph = nullptr;
    std::map<std::string, ggml_tensor *> inputs, outputs;
    std::vector<OpsGgml::Constant> constants;
    std::vector<std::shared_ptr<void>> owned;
    double flops = 0;
    uint64_t thread_scratch = 0;
    bool own_threads = false;  // made by ops_cpu
    uint64_t bytes = 0;

    uint64_t context_bytes() const { return ggml_get_mem_size(nodes.get()) + ggml_get_mem_size(leaves.get()); }
};

namespace {

constexpr size_t first_capacity = 4096;  // nodes
constexpr size_t last_capacity = size_t{1} << 20;
constexpr size_t leaf_capacity = 512;

const ggml_tensor * named(const std::map<std::string, ggml_tensor *> & all, const std::string & name) {
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
        throw Error(ErrorCode::internal, "A value of the graph is not in one piece of the host's memory");
    return {static_cast<float *>(tensor->data), static_cast<size_t>(ggml_nelements(tensor))};
}

/// Text encoders stay in float32: they are a thousandth of the work and every error of theirs reaches every step.
kernels::Arithmetic arithmetic(const WeightStore & weights, const Runner::Limits & limits) {
    const bool exact = limits.float32 || weights.policy().precision == Precision::exact || weights.part() == "textEncoder";
    return exact ? kernels::Arithmetic::f32 : kernels::Arithmetic::fast;
}

/// Builds nodes and leaves, without memory for their data. A context that proves too small is made anew, twice as large.
template <typename State>
void build_graph(State & state, const WeightStore & weights, const GraphBuilder & build, const Runner::Limits & limits) {
    quiet_ggml();
    const size_t parameters = weights.parameters().size();
    for (size_t capacity = std::max(first_capacity, 2 * parameters + leaf_capacity); capacity <= last_capacity; capacity *= 2) {
        // Room for `capacity` tensors and no more, so that the graph's own list of nodes cannot overflow.
        const size_t each = ggml_tensor_overhead();
        state.nodes.reset(ggml_init({capacity * each + ggml_graph_overhead_custom(capacity, false), nullptr, true}));
        state.leaves.reset(ggml_init({(leaf_capacity + parameters) * each, nullptr, true}));
        if (!state.nodes || !state.leaves) throw Error(ErrorCode::out_of_memory, "No memory for the nodes of a graph");
        state.graph = ggml_new_graph_custom(state.nodes.get(), capacity, false);
        std::unique_ptr<OpsGgml> home;
        state.own_threads = state.device->is_cpu() && limits.fused;
        if (state.own_threads) {
            home = std::make_unique<OpsCpu>(state.nodes.get(), state.leaves.get(), state.graph, limits, *state.device,
                                            arithmetic(weights, limits));
        } else {
            home = std::make_unique<OpsGgml>(state.nodes.get(), state.leaves.get(), state.graph, state.device->is_cpu(), limits);
        }
        OpsGgml & ops = *home;
        try {
            build(ops);
        } catch (const GraphFull &) {
            continue;
        }
        state.inputs = ops.inputs();
        state.outputs = ops.outputs();
        state.constants = ops.constants();
        state.owned = ops.owned();
        state.flops = ops.flops();
        state.thread_scratch = ops.thread_scratch();
        return;
    }
    throw Error(ErrorCode::out_of_memory,
                "The " + weights.part() + " needs more than " + std::to_string(last_capacity) + " graph nodes at this size");
}

/// Bytes of inputs and constants.
uint64_t leaf_bytes(ggml_context * leaves, ggml_backend_buffer_type_t type) {
    return ggml_backend_alloc_ctx_tensors_from_buft_size(leaves, type);
}

/// Bytes of the activations as the allocator will place them. The leaves have no memory yet and get an address for the time
/// being: they are not the allocator's business.
uint64_t activation_bytes(ggml_context * leaves, ggml_cgraph * graph, ggml_backend_buffer_type_t type) {
    const auto give_address = [&](void * address) {
        for (ggml_tensor * t = ggml_get_first_tensor(leaves); t; t = ggml_get_next_tensor(leaves, t)) t->data = address;
    };
    // An allocator of its own: it keeps the plan, and a later reservation with it would take itself for done.
    ggml_gallocr_ptr allocator(ggml_gallocr_new(type));
    give_address(reinterpret_cast<void *>(static_cast<uintptr_t>(64)));
    size_t size = 0;
    ggml_gallocr_reserve_n_size(allocator.get(), graph, nullptr, nullptr, &size);
    give_address(nullptr);
    return size;
}

}  // namespace

bool Runner::Limits::fused_by_default() {
    static const std::string choice = environment_choice("LATENT_OPS", {"fused", "portable"});
    return choice != "portable";
}

Graph::Graph() : state_(std::make_unique<State>()) {}

Graph::~Graph() = default;

void Graph::set_input(const std::string & name, Span<const float> data) {
    ggml_tensor * tensor = const_cast<ggml_tensor *>(named(state_->inputs, name));
    check_size(tensor, data.size(), GGML_TYPE_F32, name);
    ggml_backend_tensor_set(tensor, data.data(), 0, ggml_nbytes(tensor));
}

void Graph::set_input(const std::string & name, Span<const int32_t> data) {
    ggml_tensor * tensor = const_cast<ggml_tensor *>(named(state_->inputs, name));
    check_size(tensor, data.size(), GGML_TYPE_I32, name);
    ggml_backend_tensor_set(tensor, data.data(), 0, ggml_nbytes(tensor));
}

void Graph::get_output(const std::string & name, Span<float> out) const {
    const ggml_tensor * tensor = named(state_->outputs, name);
    check_size(tensor, out.size(), GGML_TYPE_F32, name);
    ggml_backend_tensor_get(tensor, out.data(), 0, ggml_nbytes(tensor));
}

bool Graph::has_input(const std::string & name) const {
    return state_->inputs.count(name) > 0;
}

size_t Graph::input_size(const std::string & name) const {
    return static_cast<size_t>(ggml_nelements(named(state_->inputs, name)));
}

size_t Graph::output_size(const std::string & name) const {
    return static_cast<size_t>(ggml_nelements(named(state_->outputs, name)));
}

Span<float> Graph::host_input(const std::string & name) {
    return numbers_of(named(state_->inputs, name));
}

Span<float> Graph::host_output(const std::string & name) {
    return numbers_of(named(state_->outputs, name));
}

void Graph::compute(const CancelToken & cancel) {
    state_->device->compute(state_->graph, cancel, state_->own_threads);
}

uint64_t Graph::bytes() const {
    return state_->bytes;
}

Runner::Runner(DevicePtr device, const WeightStore & weights, std::string what, int keep)
    : device_(std::move(device)), weights_(&weights), what_(std::move(what)), keep_(std::max(1, keep)) {}

Runner::~Runner() = default;

GraphMeasure Runner::measure(const GraphBuilder & build) const {
    if (!weights_->planned()) throw Error(ErrorCode::internal, "The " + what_ + " was measured before its weights were planned");
    Graph::State state;
    state.device = device_;
    build_graph(state, *weights_, build, limits_);
    ggml_backend_buffer_type_t type = device_->buffer_type();
    const uint64_t leaves = leaf_bytes(state.leaves.get(), type);
    GraphMeasure measure;
    measure.bytes = leaves + activation_bytes(state.leaves.get(), state.graph, type) + state.context_bytes() +
                    device_->work_bytes(state.graph, state.own_threads) +
                    state.thread_scratch * static_cast<uint64_t>(state.own_threads ? device_->pool().threads() : 0);
    measure.flops = state.flops;
    return measure;
}

Graph & Runner::prepare(const std::string & key, const GraphBuilder & build) {
    weights_->touch();
    entries_.remove_if([&](const Entry & entry) { return entry.generation != weights_->generation(); });
    const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry & entry) { return entry.key == key; });
    if (found != entries_.end()) {
        entries_.splice(entries_.begin(), entries_, found);
        return *entries_.front().graph;
    }
    if (!weights_->loaded()) throw Error(ErrorCode::internal, "The " + what_ + " was run before its weights were loaded");

    std::unique_ptr<Graph> graph(new Graph());
    Graph::State & state = *graph->state_;
    state.device = device_;
    build_graph(state, *weights_, build, limits_);
    ggml_backend_buffer_type_t type = device_->buffer_type();
    const uint64_t leaves = leaf_bytes(state.leaves.get(), type);
    const uint64_t activations = activation_bytes(state.leaves.get(), state.graph, type);
    const uint64_t needed = leaves + activations + device_->work_bytes(state.graph, state.own_threads);
    while (static_cast<int>(entries_.size()) >= keep_ || (!entries_.empty() && needed > device_->available()))
        entries_.pop_back();
    device_->require(needed, "The " + what_ + " at this size");
    state.leaf_buffer.reset(leaves ? ggml_backend_alloc_ctx_tensors_from_buft(state.leaves.get(), type) : nullptr);
    state.allocator.reset(ggml_gallocr_new(type));
    const bool reserved = (state.leaf_buffer || !leaves) && ggml_gallocr_reserve(state.allocator.get(), state.graph) &&
                          ggml_gallocr_alloc_graph(state.allocator.get(), state.graph);
    if (!reserved) {
        throw Error(ErrorCode::out_of_memory,
                    "The " + what_ + " at this size needs " + std::to_string(needed) + " bytes, and they could not be had",
                    Json{{"what", what_}, {"required", needed}, {"device", device_->name()}}.dump());
    }
    for (const OpsGgml::Constant & constant : state.constants) {
        ggml_backend_tensor_set(constant.tensor, constant.values.data(), 0, constant.values.size() * sizeof(float));
    }
    state.bytes = leaves + activations + state.context_bytes();
    entries_.push_front({key, weights_->generation(), std::move(graph)});
    return *entries_.front().graph;
}

void Runner::clear() {
    entries_.clear();
}

uint64_t Runner::bytes() const {
    uint64_t total = 0;
    for (const Entry & entry : entries_) total += entry.graph->bytes();
    return total;
}

void Runner::set_limits(const Limits & limits) {
    clear();
    limits_ = limits;
}

}  // namespace latent::graph
