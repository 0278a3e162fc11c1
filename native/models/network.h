#pragma once

#include <string>

#include "core/job.h"
#include "core/parts.h"
#include "core/span.h"
#include "graph/device.h"
#include "graph/runner.h"
#include "graph/weights.h"

namespace latent::models {

/// What every network has: its weights (plan, load and unload them through weights()) and its graphs.
class Network {
public:
    graph::WeightStore & weights() { return weights_; }
    const graph::WeightStore & weights() const { return weights_; }
    graph::Runner & runner() { return runner_; }
    const graph::Runner & runner() const { return runner_; }

protected:
    /// `float32_products`: as WeightStore takes it.
    Network(graph::DevicePtr device, ModelPart part, bool float32_products = false)
        : weights_(device, part_name(part), float32_products), runner_(device, weights_, part_name(part)) {}
    ~Network() = default;

    /// Throws internal when weights() are not loaded, or a span has another element count than `expected`.
    void require_loaded() const;
    void require_size(size_t actual, int64_t expected, const char * what) const;

    graph::WeightStore weights_;
    graph::Runner runner_;
};

}  // namespace latent::models
