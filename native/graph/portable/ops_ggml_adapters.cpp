#include "graph/portable/ops_ggml.h"

// What adapters do to the input or the product of a layer.

namespace latent::graph {

Map OpsGgml::scaled(Map x, const Parameter * gain, const Parameter * shift) {
    room(8);
    ggml_tensor * y = tensor(x.id);
    const auto per_channel = [&](const Parameter * parameter) {
        return ggml_reshape_4d(nodes_, tensor_of(parameter), 1, 1, x.channels, 1);
    };
    if (gain) y = ggml_mul(nodes_, y, per_channel(gain));
    if (shift) y = ggml_add(nodes_, y, per_channel(shift));
    return map(y);
}

Seq OpsGgml::scaled(Seq x, const Parameter * gain, const Parameter * shift) {
    room(4);
    ggml_tensor * y = tensor(x.id);
    if (gain) y = ggml_mul(nodes_, y, tensor_of(gain));
    if (shift) y = ggml_add(nodes_, y, tensor_of(shift));
    return seq(y);
}

/// The channels of a block are brought together, multiplied as a batch of products, one per block, and brought back.
Seq OpsGgml::add_blocks(Seq x, const BlockProduct & w, const Parameter * bias) {
    room(24);
    ggml_tensor *own = ggml_cont(nodes_, tensor(x.id)), *weight = tensor_of(w.weight), *y = own;
    const int64_t size = w.order.size, blocks = x.dim / size, tokens = x.length * x.batch;
    const int64_t pieces = w.order.pieces(), run = w.order.run(), across = w.order.across();
    const auto swap_middle = [&](ggml_tensor * t) { return ggml_cont(nodes_, ggml_permute(nodes_, t, 0, 2, 1, 3)); };
    if (pieces > 1) y = swap_middle(ggml_reshape_4d(nodes_, y, run, across, pieces, blocks / across * tokens));
    if (w.weight->rows() == size) {
        y = product(weight, ggml_reshape_2d(nodes_, y, size, blocks * tokens));
    } else {
        ggml_tensor * by_block = swap_middle(ggml_reshape_3d(nodes_, y, size, blocks, tokens));  // [size, tokens, blocks]
        y = swap_middle(product(ggml_reshape_3d(nodes_, weight, size, size, blocks), by_block));
    }
    if (pieces > 1) y = swap_middle(ggml_reshape_4d(nodes_, y, run, pieces, across, blocks / across * tokens));
    flops_ += 2.0 * static_cast<double>(size) * static_cast<double>(x.dim) * static_cast<double>(tokens);
    y = ggml_add(nodes_, ggml_reshape_3d(nodes_, y, x.dim, x.length, x.batch), own);
    return seq(bias ? ggml_add_inplace(nodes_, y, tensor_of(bias)) : y);
}

Seq OpsGgml::folded(Seq x, int64_t dim) {
    room(4);
    ggml_tensor * t = ggml_cont(nodes_, tensor(x.id));
    return seq(ggml_reshape_3d(nodes_, t, dim, x.length * x.dim / dim, x.batch));
}

Seq OpsGgml::mixed(Seq x, const Parameter * w, Seq residual) {
    room(12);
    const int64_t columns = w->inner(), width = x.dim / columns, tokens = x.length * x.batch;
    ggml_tensor * groups = ggml_reshape_3d(nodes_, ggml_cont(nodes_, tensor(x.id)), width, columns, tokens);
    ggml_tensor * y = transposed(product(tensor_of(w), transposed(groups)));  // [width, rows, tokens]
    flops_ += 2.0 * static_cast<double>(columns) * static_cast<double>(ggml_nelements(y));
    y = ggml_reshape_3d(nodes_, y, width * w->rows(), x.length, x.batch);
    return seq(residual ? ggml_add(nodes_, y, tensor(residual.id)) : y);
}

}  // namespace latent::graph
