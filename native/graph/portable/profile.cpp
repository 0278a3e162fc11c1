#include "graph/portable/profile.h"

#include <algorithm>

#include "graph/portable/ggml_handles.h"

namespace latent::graph {

bool does_nothing(const ggml_tensor * node) {
    return node->op == GGML_OP_NONE || node->op == GGML_OP_RESHAPE || node->op == GGML_OP_VIEW || node->op == GGML_OP_PERMUTE ||
           node->op == GGML_OP_TRANSPOSE;
}

void Profile::start(const ggml_cgraph * graph) {
    graph_ = graph;
    next_ = 0;
    label_.clear();
    last_ = Clock::now();
}

void Profile::describe(const std::string & label, double flops) {
    label_ = label;
    flops_ = flops;
}

void Profile::lap() {
    const auto now = Clock::now();
    const int count = ggml_graph_n_nodes(const_cast<ggml_cgraph *>(graph_));
    while (next_ < count && does_nothing(ggml_graph_node(const_cast<ggml_cgraph *>(graph_), next_))) ++next_;
    if (next_ >= count) return;
    const ggml_tensor * node = ggml_graph_node(const_cast<ggml_cgraph *>(graph_), next_++);
    const bool ours = !label_.empty();
    const std::string label = ours ? label_ : std::string("ggml ") + ggml_op_desc(node);
    OpTime & entry = by_label_[label];
    entry.label = label;
    entry.calls += 1;
    const double taken = std::chrono::duration<double, std::milli>(now - last_).count();
    entry.fastest = entry.calls == 1 ? taken : std::min(entry.fastest, taken);
    entry.milliseconds += taken;
    if (ours) entry.flops += flops_;
    entry.bytes += static_cast<double>(ggml_nbytes(node));
    for (const ggml_tensor * source : node->src)
        if (source) entry.bytes += static_cast<double>(ggml_nbytes(source));
    label_.clear();
    last_ = now;
}

std::vector<OpTime> Profile::rows() const {
    std::vector<OpTime> rows;
    for (const auto & [label, entry] : by_label_) rows.push_back(entry);
    std::sort(rows.begin(), rows.end(), [](const OpTime & a, const OpTime & b) { return a.milliseconds > b.milliseconds; });
    return rows;
}

}  // namespace latent::graph
