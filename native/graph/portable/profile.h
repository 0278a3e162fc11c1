#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "graph/op_time.h"

struct ggml_cgraph;
struct ggml_tensor;

namespace latent::graph {

/// Nodes that ggml skips: views.
bool does_nothing(const ggml_tensor * node);

/// Times node by node, for `latent bench --profile`. Used by the one thread that walks a graph.
class Profile {
public:
    /// Called before a graph runs.
    void start(const ggml_cgraph * graph);
    /// Called inside a custom node: its label.
    void describe(const std::string & label, double flops);
    /// Called when the next node with work has ended.
    void lap();

    /// The most expensive first.
    std::vector<OpTime> rows() const;

private:
    using Clock = std::chrono::steady_clock;
    const ggml_cgraph * graph_ = nullptr;
    int next_ = 0;
    Clock::time_point last_;
    std::string label_;
    double flops_ = 0;
    std::map<std::string, OpTime> by_label_;
};

}  // namespace latent::graph
