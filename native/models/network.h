#pragma once

#include <functional>
#include <string>

#include "core/job.h"
#include "core/parts.h"
#include "core/span.h"
#include "graph/device.h"
#include "graph/runner.h"
#include "graph/weights.h"

namespace latent::models {

/// Base of all networks: the weights (planned, loaded and unloaded through weights()) and the graphs.
class Network {
public:
    graph::WeightStore & weights() { return weights_; }
    const graph::WeightStore & weights() const { return weights_; }
    graph::Runner & runner() { return runner_; }
    const graph::Runner & runner() const { return runner_; }
    /// As Runner::on_shortage(), for all graphs of the network.
    virtual void on_shortage(const std::function<bool()> & make_room) { runner_.on_shortage(make_room); }

protected:
    /// `float32_products`: as in WeightStore.
    Network(graph::DevicePtr device, ModelPart part, bool float32_products = false)
        : weights_(device, part_name(part), float32_products), runner_(device, weights_, part_name(part)) {}
    virtual ~Network() = default;

    /// Throw internal if weights() are not loaded, or if a span does not have the expected element count.
    void require_loaded() const;
    void require_size(size_t actual, int64_t expected, const char * what) const;

    graph::WeightStore weights_;
    graph::Runner runner_;
};

}  // namespace latent::models
