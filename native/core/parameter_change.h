#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/block_order.h"

namespace latent {

/// A square matrix of blocks. Without the identity: the matrix is I + this.
struct BlockMatrix {
    BlockOrder order;
    std::vector<float> numbers;  // [blocks][size][size], or one block for all

    int64_t stored() const { return static_cast<int64_t>(numbers.size()) / (order.size * order.size); }
};

/// The Kronecker product of `first`, [rows, columns], and another matrix, or the product of two, applied in this order.
struct KroneckerProduct {
    int64_t rows = 0, columns = 0;
    std::vector<float> first;
    struct Factor {
        int64_t rows = 0, columns = 0;
        std::vector<float> numbers;
    };
    std::vector<Factor> second;
};

/// The change of one parameter of a network by adapters, in float32, with strengths applied: either `whole`, or for a matrix
///     y = after(gain * (W before(input_gain * x) + up (down x) + products x)),
/// in which every part is optional. Bias and activation follow.
struct ParameterChange {
    std::string parameter;  // canonical name; may be a bias that the layer does not have

    int64_t rank = 0;                        // summed over all adapters
    std::vector<float> down;                 // [rank, inner]
    std::vector<float> up;                   // [rows, rank]
    std::vector<KroneckerProduct> products;  // of weights without a spatial extent
    std::vector<float> gain;                 // [rows]
    std::vector<float> input_gain;           // [input channels]
    std::vector<BlockMatrix> before, after;  // in the order of use

    std::vector<float> whole;  // a replacement of the parameter, of the same shape
};

}  // namespace latent
