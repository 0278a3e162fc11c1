#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "graph/weights.h"

namespace latent::graph {

/// What adapters make of one parameter of a network, in float32. Strengths are in the numbers.
struct ParameterChange {
    std::string parameter;  // its canonical name; may be a bias that the layer has not

    /// Of a matrix: W x + up (down x), summed over all adapters.
    int64_t rank = 0;
    std::vector<float> down;  // [rank, inner]
    std::vector<float> up;    // [rows, rank]

    std::vector<float> whole;  // or what takes the parameter's place, of its shape
};

/// The weights that adapters add to one network. Low ranks are products beside the network's own (AdaptedOps), so that its
/// weights stay as they are, in whatever type and in the mapped file.
class AdapterWeights {
public:
    /// Changes one after another, each of another parameter, until there is none.
    using Changes = std::function<bool(ParameterChange & next)>;
    /// Matrices are kept in float32 where `base` is computed exactly, else as halves. Throws internal for a change that does not
    /// fit its parameter, out_of_memory before memory is taken.
    AdapterWeights(const WeightStore & base, const Changes & changes, const JobContext & job);

    /// The product beside a matrix: null where there is none.
    struct Side {
        const Parameter * down = nullptr;
        const Parameter * up = nullptr;
        int64_t rank = 0;
    };
    const Side * side(const Parameter * weight) const;
    /// What stands in a parameter's place: itself where it is not replaced.
    const Parameter * replaced(const Parameter * parameter) const;
    /// The same of the bias of a layer, which may have none of its own.
    const Parameter * bias_of(const Parameter * weight, const Parameter * bias) const;

    uint64_t bytes() const { return store_.bytes(); }

private:
    struct Change {
        Side side;
        const Parameter * whole = nullptr;
        const Parameter * bias = nullptr;  // of a layer without one
    };
    const Change & declare(const WeightStore & base, const ParameterChange & change);

    WeightStore store_;
    std::unordered_map<const Parameter *, Change> changes_;
};

}  // namespace latent::graph
