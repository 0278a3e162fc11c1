#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/parameter_change.h"
#include "graph/ops.h"
#include "graph/weights.h"

namespace latent::graph {

using latent::BlockMatrix;
using latent::ParameterChange;

/// The weights that adapters add to one network. Low-rank changes are computed as additional products, gains and blocks from what
/// a layer reads and writes (AdaptedOps), so the network's weights stay unchanged, of any type and in the mapped file. Parameters
/// are found by name, so plans for the same network with other weights can use them too.
class AdapterWeights {
public:
    /// Yields the changes one by one, each for a different parameter; nullopt at the end.
    using Changes = std::function<bool(ParameterChange & next)>;
    /// Matrices are kept in float32 if `base` is computed exactly, else in f16. Throws internal for a change that does not fit
    /// its parameter, out_of_memory before allocating.
    AdapterWeights(const WeightStore & base, const Changes & changes, const JobContext & job);

    /// The additional product for a matrix, null if there is none.
    struct Side {
        const Parameter * down = nullptr;  // has the rows of all layers that read the same values, like q, k and v
        const Parameter * up = nullptr;
        int64_t first = 0, rank = 0;  // this layer's rows of `down`
    };
    const Side * side(const Parameter * weight) const;
    /// What is done to the input of a matrix and to its product, null if nothing.
    struct Transform {
        const Parameter *gain = nullptr, *input_gain = nullptr;
        std::vector<BlockProduct> before, after;
        struct Product {
            const Parameter * first = nullptr;
            std::vector<const Parameter *> second;  // in the order of use
        };
        std::vector<Product> products;
    };
    const Transform * transform(const Parameter * weight) const;
    /// The replacement of a parameter, or the parameter itself.
    const Parameter * replaced(const Parameter * parameter) const;
    /// The same for the bias of a layer, which may have none.
    const Parameter * bias_of(const Parameter * weight, const Parameter * bias) const;

    uint64_t bytes() const { return store_.bytes(); }

private:
    struct Change {
        Side side;
        Transform transform;
        bool transforms = false;
        const Parameter * whole = nullptr;
        const Parameter * bias = nullptr;  // for a layer that has none
    };
    /// The lower factors of layers that read the same values.
    struct Stack {
        Parameter down;
        std::vector<uint8_t> bytes;  // rows in the type that is kept
        std::vector<Side *> users;
    };
    Change & declare(const WeightStore & base, const ParameterChange & change);
    template <typename Add>
    void declare_transform(const Parameter & target, const ParameterChange & change, Transform & transform, Add add);
    static int64_t rows_of(const Stack & stack, DType type);
    void stack(Stack & stack, DType type, const Parameter & target, Side & side, ParameterChange & change) const;

    WeightStore store_;
    std::unordered_map<std::string, Change> changes_;  // by parameter
};

}  // namespace latent::graph
