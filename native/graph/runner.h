#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "core/job.h"
#include "core/span.h"
#include "graph/device.h"
#include "graph/ops.h"

namespace latent::graph {

/// A graph that was built, planned and given memory: set inputs, compute, get outputs, any number of times.
/// Inputs keep their values between computations.
class Graph {
public:
    ~Graph();
    Graph(const Graph &) = delete;
    Graph & operator=(const Graph &) = delete;

    /// Row-major data of the whole input; another element count throws internal.
    void set_input(const std::string & name, Span<const float> data);
    void set_input(const std::string & name, Span<const int32_t> data);
    void get_output(const std::string & name, Span<float> out) const;
    bool has_input(const std::string & name) const;
    size_t input_size(const std::string & name) const;  // elements
    size_t output_size(const std::string & name) const;
    /// The numbers of an input or output themselves, to be written before and read (or changed) after a computation; only on the
    /// CPU, whose memory is the host's.
    Span<float> host_input(const std::string & name);
    Span<float> host_output(const std::string & name);
    void compute(const CancelToken & cancel);

    uint64_t bytes() const;  // everything this graph holds, weights excluded

    /// The owner's note of what inputs that outlast a computation were set for; 0 in a new graph.
    uint64_t stamp = 0;

private:
    friend class Runner;
    struct State;
    Graph();
    std::unique_ptr<State> state_;
};

/// What a graph would take, weights excluded.
struct GraphMeasure {
    uint64_t bytes = 0;  // activations, inputs, constants and scratch
    double flops = 0;    // 2 per multiply-add of convolutions, linears and attention
};

using GraphBuilder = std::function<void(Ops &)>;

/// Builds graphs for one network and keeps the latest ones, so that every step of a loop reuses one.
class Runner {
public:
    /// `what` names the network in messages. `keep`: how many graphs of different shapes stay alive.
    Runner(DevicePtr device, const WeightStore & weights, std::string what, int keep = 2);
    ~Runner();

    /// The graph of `key` (shape, batch, variant), built by `build` on the first use or after the weights moved. Throws
    /// out_of_memory with the numbers when its memory cannot be had; then nothing is kept.
    Graph & prepare(const std::string & key, const GraphBuilder & build);
    /// The memory and work of a graph, without allocating it. Weights must be planned, not loaded.
    GraphMeasure measure(const GraphBuilder & build) const;
    /// Frees every graph.
    void clear();
    /// Bytes held by live graphs.
    uint64_t bytes() const;

    /// How `prepare` and `measure` make their Ops: bounds on scratch memory, for tests and memory plans.
    struct Limits {
        uint64_t conv_scratch = 24ull << 20;       // bytes of an unfolded convolution input (im2col) at a time
        uint64_t attention_scratch = 64ull << 20;  // bytes of an attention score matrix at a time
        /// Our kernels on the CPU (ops_cpu); false: plain ggml operations, the baseline of measurements. The environment variable
        /// LATENT_OPS=portable makes false the default, `fused` is the default, another name throws.
        bool fused = fused_by_default();
        bool float32 = false;        // float32 products whatever the weights' policy says
        uint64_t band = 8ull << 20;  // bytes of input rows where a network is computed in bands (BandedStage)
        static bool fused_by_default();
    };
    void set_limits(const Limits & limits);  // clears
    const Limits & limits() const { return limits_; }

private:
    struct Entry {
        std::string key;
        uint64_t generation;
        std::unique_ptr<Graph> graph;
    };
    DevicePtr device_;
    const WeightStore * weights_;
    std::string what_;
    int keep_;
    Limits limits_;
    std::list<Entry> entries_;  // latest first
};

}  // namespace latent::graph
