#include "graph/portable/weight_stream.h"

#include <algorithm>
#include <unordered_map>

#include "graph/portable/ggml_handles.h"
#include "graph/portable/ggml_weights.h"
#include "graph/portable/profile.h"

namespace latent::graph {
namespace {

/// Bytes that are asked for before they are used. They lie in the page cache, not in the memory of the process.
constexpr uint64_t kAhead = uint64_t{64} << 20;

}  // namespace

WeightStream::WeightStream(const ggml_cgraph * graph, const WeightStore & store) : store_(&store) {
    std::unordered_map<const ggml_tensor *, const Parameter *> weights;
    for (const auto & parameter : store.parameters()) {
        if (parameter->present() && parameter->is_matrix()) weights.emplace(tensor_of(parameter.get()), parameter.get());
    }
    ggml_cgraph * nodes = const_cast<ggml_cgraph *>(graph);
    size_t working = 0;
    for (int i = 0; i < ggml_graph_n_nodes(nodes); ++i) {
        const ggml_tensor * node = ggml_graph_node(nodes, i);
        if (does_nothing(node)) continue;
        for (const ggml_tensor * source : node->src) {
            if (!source) continue;
            while (source->view_src) source = source->view_src;
            const auto found = weights.find(source);
            if (found != weights.end()) uses_.push_back({found->second, working, ggml_nbytes(source)});
        }
        ++working;
    }
}

bool WeightStream::start() {
    node_ = begin_ = asked_ = 0;
    ahead_ = 0;
    if (!store_->streams()) return false;
    ask();
    return true;
}

void WeightStream::ask() {
    while (asked_ < uses_.size() && ahead_ < kAhead) {
        const Use & use = uses_[asked_++];
        if (!store_->streams(*use.weight)) continue;
        store_->advise(*use.weight, PageHint::need);
        ahead_ += use.bytes;
    }
}

void WeightStream::next() {
    for (; begin_ < uses_.size() && uses_[begin_].node <= node_; ++begin_) {
        const Use & use = uses_[begin_];
        if (!store_->streams(*use.weight)) continue;
        const bool again = begin_ + 1 < uses_.size() && uses_[begin_ + 1].weight == use.weight;
        if (!again) store_->advise(*use.weight, PageHint::evict);
        ahead_ -= std::min(ahead_, use.bytes);
    }
    ++node_;
    ask();
}

}  // namespace latent::graph
