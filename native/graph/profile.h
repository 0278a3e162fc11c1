#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

struct ggml_cgraph;

namespace latent::graph {

/// What one kind of operation took, over all graphs that ran while a profile was on.
struct OpTime {
    std::string label;  // the operation and its sizes: "conv 3x3 320>320 64x64"; ggml's name for plain ggml operations
    int64_t calls = 0;
    double milliseconds = 0;  // of all calls
    double fastest = 0;       // milliseconds of the fastest call: what remains on a busy machine
    double flops = 0;         // 2 per multiply-add; 0 where operations have none to speak of
};

/// Times node by node, for `latent bench --profile`. Used by the one thread that walks a graph.
class Profile {
public:
    /// A graph is about to run.
    void start(const ggml_cgraph * graph);
    /// From inside a node of ours: what it is.
    void describe(const std::string & label, double flops);
    /// The next node that does something has ended.
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
