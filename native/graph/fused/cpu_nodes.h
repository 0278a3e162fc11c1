#pragma once

#include "graph/portable/ggml_handles.h"
#include "graph/weights.h"
#include "kernels/common/attention.h"
#include "kernels/common/blocks.h"
#include "kernels/common/matmul.h"
#include "kernels/common/rows.h"

// The custom nodes of ops_cpu: their data, and how each runs on its sources.

namespace latent::graph {

/// A weight in memory, described for the kernels. Element::other with a null reader: a type that they cannot read.
kernels::Matrix stored_matrix(const ggml_tensor * w);

/// Index of an optional source of a node, -1 when absent.
struct NodeSources {
    std::vector<ggml_tensor *> all;
    int add(ggml_tensor * t) {
        if (!t) return -1;
        all.push_back(t);
        return static_cast<int>(all.size()) - 1;
    }
};

inline const float * node_values(const ggml_tensor * node, int index) {
    return index < 0 ? nullptr : static_cast<const float *>(node->src[index]->data);
}

/// Kernels and forms for one arithmetic.
struct NodeKernels {
    const kernels::TileSet * tiles;
    const kernels::Int8Set * int8;
    const kernels::VectorSet * vectors;
    kernels::RowKernels rows() const { return {tiles, int8, vectors}; }
};

/// Sources 0 and 1 side by side if `second` is not 0.
struct NodeRows {
    int64_t first = 0, second = 0;  // channels
    kernels::RowSource source(const ggml_tensor * node) const {
        kernels::RowSource rows;
        rows.data[0] = node_values(node, 0), rows.channels[0] = first;
        if (second > 0) rows.data[1] = node_values(node, 1), rows.channels[1] = second;
        return rows;
    }
    int count() const { return second > 0 ? 2 : 1; }
};

/// Sources: x in the form of the product, weights, then the inputs of the epilogue. `low` has the form of x.
struct ConvNode {
    NodeKernels kernels;
    kernels::ConvShape shape;
    bool int8 = false, bf16_out = false, geglu = false;
    kernels::Gate activation = kernels::Gate::none;
    int gain = -1, bias = -1, channel_add = -1, residual = -1, low = -1, up = -1;
    int64_t low_row = 0, low_at = 0;  // bytes of a row of `low`, and of the offset in it

    void run(ggml_tensor * out, kernels::Share share) const {
        kernels::Epilogue epilogue{node_values(out, bias), node_values(out, channel_add), node_values(out, residual), activation,
                                   geglu};
        epilogue.gain = node_values(out, gain);
        if (up >= 0) {
            epilogue.side.x = static_cast<const uint8_t *>(out->src[low]->data) + low_at;
            epilogue.side.row_bytes = low_row;
            epilogue.side.w = stored_matrix(out->src[up]);
        }
        const void *x = out->src[0]->data, *w = out->src[1]->data;
        const kernels::ProductOutput to{out->data, bf16_out};
        if (int8) {
            const kernels::Int8Matrix matrix{static_cast<const uint8_t *>(w), shape.out, shape.in, shape.taps()};
            kernels::conv2d(*kernels.int8, *kernels.tiles, *kernels.vectors, shape, x, matrix, epilogue, to, share);
        } else {
            kernels::conv2d(*kernels.tiles, *kernels.vectors, shape, x, stored_matrix(out->src[1]), epilogue, to, share);
        }
    }
};

struct ConvertNode {
    NodeKernels kernels;
    NodeRows x;
    kernels::RowFormat format;
    bool from_bf16 = false;

    void run(ggml_tensor * out, kernels::Share share) const {
        kernels::RowSource source = x.source(out);
        if (from_bf16) source.half = static_cast<const uint16_t *>(out->src[0]->data);
        kernels::convert_rows(kernels.rows(), source, format, out->data, share);
    }
};

struct GroupMomentsNode {
    NodeKernels kernels;
    NodeRows x;
    kernels::GroupNormShape shape;

    void run(ggml_tensor * out, kernels::Share share) const {
        kernels::group_moments(*kernels.vectors, shape, x.source(out), static_cast<float *>(out->data), share);
    }
};

/// Sources: x, moments, weight, bias, and with `modulated` scale and shift.
struct GroupNormNode {
    NodeKernels kernels;
    NodeRows x;
    kernels::GroupNormShape shape;
    kernels::Form form;
    bool modulated = false;

    void run(ggml_tensor * out, kernels::Share share) const {
        const int at = x.count();
        kernels::group_norm(kernels.rows(), shape, x.source(out), node_values(out, at), node_values(out, at + 1),
                            node_values(out, at + 2), node_values(out, modulated ? at + 3 : -1),
                            node_values(out, modulated ? at + 4 : -1), form, out->data, share);
    }
};

/// Sources: x, scale and shift per image and channel.
struct AffineNode {
    NodeKernels kernels;
    kernels::RowFormat format;
    kernels::Gate gate;
    int64_t pixels;

    void run(ggml_tensor * out, kernels::Share share) const {
        kernels::affine_rows(kernels.rows(), node_values(out, 0), pixels, node_values(out, 1), node_values(out, 2), gate, format,
                             out->data, share);
    }
};

/// Sources: x in float32, x in the form of the set's rows, the blocks, and with `biased` a bias.
struct BlocksNode {
    NodeKernels kernels;
    kernels::BlockShape shape;
    bool biased;

    void run(ggml_tensor * out, kernels::Share share) const {
        kernels::block_product(*kernels.tiles, *kernels.vectors, shape, node_values(out, 0), out->src[1]->data,
                               stored_matrix(out->src[2]), node_values(out, biased ? 3 : -1), static_cast<float *>(out->data),
                               share);
    }
};

/// Sources: x, the matrix, and with `added` what is added.
struct MixNode {
    kernels::MixShape shape;
    bool added;

    void run(ggml_tensor * out, kernels::Share share) const {
        kernels::mix(shape, node_values(out, 0), node_values(out, 1), node_values(out, added ? 2 : -1),
                     static_cast<float *>(out->data), share);
    }
};

struct ActivationNode {
    NodeKernels kernels;
    kernels::RowFormat format;
    kernels::Gate gate;

    void run(ggml_tensor * out, kernels::Share share) const {
        kernels::activate_rows(kernels.rows(), node_values(out, 0), gate, format, out->data, share);
    }
};

struct LayerNormNode {
    NodeKernels kernels;
    kernels::RowFormat format;
    float eps;

    void run(ggml_tensor * out, kernels::Share share) const {
        kernels::layer_norm(kernels.rows(), node_values(out, 0), eps, node_values(out, 1), node_values(out, 2), format, out->data,
                            share);
    }
};

struct GegluNode {
    NodeKernels kernels;
    kernels::RowFormat format;

    void run(ggml_tensor * out, kernels::Share share) const {
        kernels::geglu(kernels.rows(), node_values(out, 0), format, out->data, share);
    }
};

struct AttentionNode {
    const kernels::TileSet * tiles;
    const kernels::Int8Scores * int8;
    kernels::AttentionShape shape;

    void run(ggml_tensor * out, kernels::Share share) const {
        kernels::attention(*tiles, int8, shape, node_values(out, 0), node_values(out, 1), node_values(out, 2),
                           static_cast<float *>(out->data), share);
    }
};

/// Between the planes of the host and the rows of the graph.
struct TransposeNode {
    bool to_rows;
    int64_t n, channels, pixels;

    void run(ggml_tensor * out, kernels::Share share) const {
        const auto transpose = to_rows ? kernels::planes_to_rows : kernels::rows_to_planes;
        transpose(node_values(out, 0), n, channels, pixels, static_cast<float *>(out->data), share);
    }
};

struct ResampleNode {
    bool up;
    kernels::MapShape shape;

    void run(ggml_tensor * out, kernels::Share share) const {
        const auto resample = up ? kernels::upsample2 : kernels::average_pool2;
        resample(shape, node_values(out, 0), static_cast<float *>(out->data), share);
    }
};

}  // namespace latent::graph
