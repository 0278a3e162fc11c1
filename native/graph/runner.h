#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/job.h"
#include "core/span.h"
#include "graph/device.h"
#include "graph/ops.h"

namespace latent::graph {

/// Memory and work of a graph, without weights.
struct GraphMeasure {
    uint64_t bytes = 0;       // activations, inputs, constants and scratch, on the device
    uint64_t host_bytes = 0;  // host memory, if the device has its own
    double flops = 0;         // 2 per multiply-add of convolutions, linears and attention
};

/// A copy of a graph's output, on the device if it has its own memory, that later computations do not overwrite.
class SavedOutput {
public:
    virtual ~SavedOutput() = default;
    virtual uint64_t bytes() const = 0;
    /// Row-major, like Graph::get_output().
    virtual std::vector<float> numbers() const = 0;
};

/// In the host's memory.
std::unique_ptr<SavedOutput> save_on_host(std::vector<float> numbers);

/// A graph that is built, planned and allocated: set inputs, compute, get outputs, any number of times. Inputs keep their values
/// between computations. Each home implements it (home.h).
class Graph {
public:
    Graph() = default;
    virtual ~Graph() = default;
    Graph(const Graph &) = delete;
    Graph & operator=(const Graph &) = delete;

    /// Row-major data of the whole input; a wrong element count throws internal.
    virtual void set_input(const std::string & name, Span<const float> data) = 0;
    virtual void set_input(const std::string & name, Span<const int32_t> data) = 0;
    virtual void get_output(const std::string & name, Span<float> out) const = 0;
    virtual bool has_input(const std::string & name) const = 0;
    virtual size_t input_size(const std::string & name) const = 0;  // elements
    virtual size_t output_size(const std::string & name) const = 0;
    /// Sets an input from an output of `from`, a graph on the same device, without going through the host if possible.
    virtual void take_input(const std::string & name, const Graph & from, const std::string & output);
    virtual std::unique_ptr<SavedOutput> save_output(const std::string & name) const;
    /// Sets an input from the result of save_output() of a graph on the same device.
    virtual void set_input(const std::string & name, const SavedOutput & value);
    /// Direct access to the values of an input or output, to write before and read (or change) after a computation; only if
    /// Device::shares_host_memory().
    virtual Span<float> host_input(const std::string & name);
    virtual Span<float> host_output(const std::string & name);
    /// Throws aborted soon after `cancel` is set, device, out_of_memory.
    virtual void compute(const CancelToken & cancel) = 0;

    virtual uint64_t bytes() const = 0;  // everything this graph holds, weights excluded

    // For the runner: a recorded graph that is not allocated yet.
    virtual GraphMeasure measure() const = 0;
    /// Bytes that allocate() will take.
    virtual uint64_t bytes_to_allocate() const = 0;
    /// Throws std::bad_alloc, or out_of_memory with the numbers.
    virtual void allocate() = 0;

    /// Set by the owner to record what persistent inputs were set for; 0 in a new graph.
    uint64_t stamp = 0;
};

using GraphBuilder = std::function<void(Ops &)>;

/// Builds graphs for one network and caches the latest ones, so that every step of a loop reuses one.
class Runner {
public:
    /// `what` names the network in messages. `keep`: number of graphs of different shapes to cache.
    Runner(DevicePtr device, const WeightStore & weights, std::string what, int keep = 2);
    ~Runner();

    /// The graph for `key` (shape, batch, variant), built by `build` on the first use or after the weights moved. Throws
    /// out_of_memory with the numbers if it cannot be allocated; then nothing is cached.
    Graph & prepare(const std::string & key, const GraphBuilder & build);
    /// The memory and work of a graph, without allocating it. Weights must be planned, not loaded.
    GraphMeasure measure(const GraphBuilder & build) const;
    /// `make_room` is called when a graph does not fit the free memory or cannot be allocated, to free what others keep, before
    /// prepare() gives up. It returns whether it freed anything.
    void on_shortage(std::function<bool()> make_room) { make_room_ = std::move(make_room); }
    /// Frees every graph.
    void clear();
    /// Bytes held by live graphs.
    uint64_t bytes() const;

    /// Limits of the Ops that `prepare` and `measure` create: scratch memory, for tests and memory plans.
    struct Limits {
        uint64_t conv_scratch = 24ull << 20;       // bytes of an unfolded convolution input (im2col) at a time
        uint64_t attention_scratch = 64ull << 20;  // bytes of an attention score matrix at a time
        std::string home;                          // by name (home.h), empty: the device's default
        bool float32 = false;                      // float32 products regardless of the weights' policy
        uint64_t band = 8ull << 20;                // bytes of input rows where a network is computed in bands (BandedStage)
    };
    void set_limits(const Limits & limits);  // clears
    const Limits & limits() const { return limits_; }

private:
    struct Entry {
        std::string key;
        uint64_t generation;
        std::unique_ptr<Graph> graph;
    };
    std::unique_ptr<Graph> record(const GraphBuilder & build) const;

    DevicePtr device_;
    const WeightStore * weights_;
    std::string what_;
    int keep_;
    Limits limits_;
    std::function<bool()> make_room_;
    std::list<Entry> entries_;  // latest first
};

}  // namespace latent::graph
