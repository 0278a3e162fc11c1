#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/weights.h"

struct ggml_cgraph;

namespace latent::graph {

/// The streamed weights of a graph in the order of its nodes (WeightStore::keep_within): asks for those of the next nodes, so
/// that the disk works while the processor does, and drops a weight after the last node in a row that uses it.
class WeightStream {
public:
    /// Weights of `store` that the graph's nodes read. The graph and the store must outlive this.
    WeightStream(const ggml_cgraph * graph, const WeightStore & store);

    /// Before the graph runs. False if nothing is streamed now; next() must not be called then.
    bool start();
    /// After each node with work, by the one thread that walks the graph.
    void next();

private:
    struct Use {
        const Parameter * weight;
        size_t node;  // among those with work
        uint64_t bytes;
    };
    void ask();

    const WeightStore * store_;
    std::vector<Use> uses_;  // in order
    size_t node_ = 0;        // the next to end
    size_t begin_ = 0;       // the first use that has not ended
    size_t asked_ = 0;       // the first use that has not been asked for
    uint64_t ahead_ = 0;     // bytes of the uses in [begin_, asked_) that are streamed
};

}  // namespace latent::graph
