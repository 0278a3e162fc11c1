#include "graph/fused/custom_node.h"

// Adapters: side products, and what is done to the input or the product of a layer.

namespace latent::graph {

bool OpsCpu::adds_sides(const Parameter & weight, Seq x) const {
    return weight.dtype != DType::i8 && (weight.role == Role::conv || multiplies(weight, x));
}

/// In the arithmetic of the layer, which does not depend on the rank.
Seq OpsCpu::low_rank(Seq x, const Linear & down, const Linear & layer) {
    Product p = linear_product(x, down);
    p.tiles = &tiles(layer.in, layer.out);
    return {product_when_needed(p), down.out, x.length, x.batch};
}

Map OpsCpu::low_rank(Map x, const Conv & down, const Conv & layer, const ConvOptions & options) {
    Product p = conv_product(x, down, options);
    p.tiles = &tiles(layer.in, layer.out);
    return {product_when_needed(p), p.shape.out_width, p.shape.out_height, down.out, p.shape.n};
}

int OpsCpu::scaled_when_needed(int x, const Shape & ne, const Parameter * gain, const Parameter * shift) {
    const auto values = [&](const Parameter * parameter, const char * name, float number) {
        if (parameter) return tensor_of(parameter);
        return constant(name + sizes({ne[0]}), ne[0], 1, std::vector<float>(static_cast<size_t>(ne[0]), number));
    };
    Pending value;
    value.ne = ne;
    value.make = [this, x, ne, gain = values(gain, "ones ", 1), shift = values(shift, "zeros ", 0)](kernels::Form form) {
        const int64_t rows = ne[1] * ne[2] * ne[3];
        const kernels::RowFormat format = row_format(form, ne[0], rows);
        const AffineNode data{kernels_of(kernels::tile_set(arithmetic_)), format, kernels::Gate::none, rows};
        return rows_node(data, "scale" + std::string(form_name(form)) + " " + sizes({ne[0], rows}), 0, format, ne,
                         {contiguous(x), gain, shift});
    };
    return pending(std::move(value));
}

Map OpsCpu::scaled(Map x, const Parameter * gain, const Parameter * shift) {
    x.id = scaled_when_needed(x.id, {x.channels, x.width, x.height, x.batch}, gain, shift);
    return x;
}

Seq OpsCpu::scaled(Seq x, const Parameter * gain, const Parameter * shift) {
    x.id = scaled_when_needed(x.id, {x.dim, x.length, x.batch, 1}, gain, shift);
    return x;
}

Seq OpsCpu::add_blocks(Seq x, const BlockProduct & w, const Parameter * bias) {
    room(16);
    kernels::BlockShape shape;
    shape.tokens = x.length * x.batch, shape.channels = x.dim, shape.order = w.order;
    const kernels::TileSet & tiles = kernels::block_tiles(arithmetic_, w.order.run());
    std::vector<ggml_tensor *> sources = {contiguous(x.id), in_form(x.id, tiles.bf16 ? kernels::Form::bf16 : kernels::Form::f32),
                                          tensor_of(w.weight)};
    if (bias) sources.push_back(tensor_of(bias));
    const BlocksNode data{kernels_of(tiles), shape, bias != nullptr};
    thread_scratch_ = std::max(thread_scratch_, static_cast<uint64_t>(kernels::block_scratch(tiles, shape)));
    const double flops = 2.0 * static_cast<double>(w.order.size) * static_cast<double>(shape.channels * shape.tokens);
    return seq(node(data, "blocks " + sizes({w.order.size}) + " of " + sizes({x.dim}) + " " + sizes({x.length}), flops,
                    {x.dim, x.length, x.batch, 1}, sources));
}

Seq OpsCpu::mixed(Seq x, const Parameter * w, Seq residual) {
    room(16);
    kernels::MixShape shape;
    shape.tokens = x.length * x.batch, shape.rows = w->rows(), shape.columns = w->inner(), shape.width = x.dim / w->inner();
    const int64_t dim = shape.rows * shape.width;
    std::vector<ggml_tensor *> sources = {contiguous(x.id), tensor_of(w)};
    if (residual) sources.push_back(contiguous(residual.id));
    return seq(node(MixNode{shape, static_cast<bool>(residual)},
                    "mix " + sizes({shape.rows, shape.columns}) + " of " + sizes({shape.width}),
                    2.0 * static_cast<double>(shape.columns) * static_cast<double>(dim * shape.tokens),
                    {dim, x.length, x.batch, 1}, sources));
}

}  // namespace latent::graph
