#include "graph/adapted_ops.h"

namespace latent::graph {

Norm AdaptedOps::adapted(Norm w) const {
    w.weight = adapter_.replaced(w.weight);
    w.bias = adapter_.replaced(w.bias);
    return w;
}

template <typename Layer>
Layer AdaptedOps::adapted_layer(Layer w) const {
    w.bias = adapter_.bias_of(w.weight, w.bias);
    if (const Transform * transform = adapter_.transform(w.weight)) w.gain = transform->gain;
    w.weight = adapter_.replaced(w.weight);
    return w;
}

Map AdaptedOps::with_blocks(Map x, const BlockProduct & w, const Parameter * bias) {
    return ops_.to_map(ops_.add_blocks(ops_.to_seq(x), w, bias), x.width, x.height);
}

/// What the layer reads instead of x.
template <typename Value>
Value AdaptedOps::input_of(Value x, const Transform * transform) {
    if (!transform) return x;
    if (transform->input_gain) x = ops_.scaled(x, transform->input_gain, nullptr);
    for (const BlockProduct & matrix : transform->before) x = with_blocks(x, matrix, nullptr);
    return x;
}

/// Whether the product must be complete before anything else is added to it. A home multiplies it by a gain in the same pass,
/// with the side product if it adds one.
bool AdaptedOps::is_stepwise(const Transform * transform, bool side_apart) const {
    return transform && (!transform->after.empty() || (transform->gain && side_apart));
}

/// The sum of what is added to a product as a residual: Kronecker products of x, and `sum`, which may be absent.
Seq AdaptedOps::with_products(Seq x, const Transform & transform, Seq sum) {
    for (const Transform::Product & product : transform.products) {
        Seq y = ops_.folded(x, product.second.front()->inner());
        for (const Parameter * factor : product.second)
            y = ops_.linear(y, Linear{factor, nullptr, factor->inner(), factor->rows()});
        sum = ops_.mixed(ops_.folded(y, product.first->inner() * y.dim), product.first, sum);
    }
    return sum;
}

Map AdaptedOps::with_products(Map x, const Transform & transform, Map sum) {
    const Seq all = with_products(ops_.to_seq(x), transform, sum ? ops_.to_seq(sum) : Seq());
    return ops_.to_map(all, x.width, x.height);
}

/// The finished product of a layer, without activation.
template <typename Value, typename Layer>
Value AdaptedOps::product_of(Value y, const Layer & layer, const Transform & transform) {
    if (layer.gain) y = ops_.scaled(y, layer.gain, transform.after.empty() ? layer.bias : nullptr);
    for (const BlockProduct & matrix : transform.after)
        y = with_blocks(y, matrix, &matrix == &transform.after.back() ? layer.bias : nullptr);
    return y;
}

template <typename Layer>
Layer AdaptedOps::bare(Layer w) {
    w.bias = w.gain = nullptr;
    return w;
}

Map AdaptedOps::conv(Map x, const Conv & w, const ConvOptions & options) {
    const AdapterWeights::Side * side = adapter_.side(w.weight);
    const Transform * transform = adapter_.transform(w.weight);
    const Conv layer = adapted_layer(w);
    const Map input = input_of(x, transform);
    const bool taken = side && ops_.adds_sides(*w.weight, {});
    const bool products = transform && !transform->products.empty(), apart = products || (side && !taken);
    const bool stepwise = is_stepwise(transform, apart);
    ConvOptions plain = options;
    plain.channel_add = {}, plain.residual = {}, plain.activation = Activation::none;
    ConvOptions whole = stepwise ? plain : options;
    if (taken) {
        const Conv down{side->down, nullptr, w.in, side->down->rows(), w.kernel};
        whole.side = {ops_.to_seq(ops_.low_rank(x, down, w, plain)), side->up, side->first};
    }
    if (!stepwise && !apart) return ops_.conv(input, layer, whole);

    const bool activated = options.activation != Activation::none;
    whole.activation = Activation::none;
    if (stepwise || activated) whole.residual = {};
    if (side && !taken) whole.residual = side_of(x, w, plain, whole.residual);
    if (products) whole.residual = with_products(x, *transform, whole.residual);
    Map y = ops_.conv(input, stepwise ? bare(layer) : layer, whole);
    if (stepwise) {
        y = product_of(y, layer, *transform);
        if (options.channel_add) y = ops_.add(y, ops_.to_map(options.channel_add, 1, 1));
    } else if (!activated) {
        return y;
    }
    if (activated) y = ops_.activation(y, options.activation);
    return options.residual ? ops_.add(y, options.residual) : y;
}

/// up (down x) + residual.
Map AdaptedOps::side_of(Map x, const Conv & w, const ConvOptions & plain, Map residual) {
    const AdapterWeights::Side & side = *adapter_.side(w.weight);
    Map low = ops_.conv(x, Conv{side.down, nullptr, w.in, side.down->rows(), w.kernel}, plain);
    if (low.channels != side.rank) low = ops_.to_map(ops_.slice(ops_.to_seq(low), side.first, side.rank), low.width, low.height);
    ConvOptions above;
    above.residual = residual;
    return ops_.conv(low, Conv{side.up, nullptr, side.rank, w.out, 1}, above);
}

/// down x for all layers that share the factor.
Seq AdaptedOps::low(Seq x, const Linear & w, bool taken) {
    const AdapterWeights::Side & side = *adapter_.side(w.weight);
    Seq & low = low_[{x.id, side.down}];
    if (low) return low;
    const Linear down{side.down, nullptr, w.in, side.down->rows()};
    return low = taken ? ops_.low_rank(x, down, w) : ops_.linear(x, down);
}

/// up (down x) + residual.
Seq AdaptedOps::side_of(Seq x, const Linear & w, Seq residual) {
    const AdapterWeights::Side & side = *adapter_.side(w.weight);
    Seq own = low(x, w, false);
    if (own.dim != side.rank) own = ops_.slice(own, side.first, side.rank);
    LinearOptions options;
    options.residual = residual;
    return ops_.linear(own, Linear{side.up, nullptr, side.rank, w.out}, options);
}

Seq AdaptedOps::linear(Seq x, const Linear & w, const LinearOptions & options) {
    const AdapterWeights::Side * side = adapter_.side(w.weight);
    const Transform * transform = adapter_.transform(w.weight);
    const Linear layer = adapted_layer(w);
    const Seq input = input_of(x, transform);
    const bool taken = side && ops_.adds_sides(*w.weight, x);
    const bool products = transform && !transform->products.empty(), apart = products || (side && !taken);
    const bool stepwise = is_stepwise(transform, apart);
    LinearOptions whole = stepwise ? LinearOptions() : options;
    if (taken) whole.side = {low(x, w, true), side->up, side->first};
    if (!stepwise && !apart) return ops_.linear(input, layer, whole);

    const bool activated = options.activation != Activation::none;
    whole.activation = Activation::none;
    if (stepwise || activated) whole.residual = {};
    if (side && !taken) whole.residual = side_of(x, w, whole.residual);
    if (products) whole.residual = with_products(x, *transform, whole.residual);
    Seq y = ops_.linear(input, stepwise ? bare(layer) : layer, whole);
    if (!stepwise && !activated) return y;
    if (stepwise) y = product_of(y, layer, *transform);
    if (activated) y = ops_.activation(y, options.activation);
    return options.residual ? ops_.add(y, options.residual) : y;
}

Seq AdaptedOps::geglu(Seq x, const Linear & w, const SideProduct &) {
    const AdapterWeights::Side * side = adapter_.side(w.weight);
    const Transform * transform = adapter_.transform(w.weight);
    const bool taken = side && ops_.adds_sides(*w.weight, x);
    const bool products = transform && !transform->products.empty();
    if ((side && !taken) || products || is_stepwise(transform, false)) return ops_.gate(linear(x, w, {}));
    SideProduct own;
    if (taken) own = {low(x, w, true), side->up, side->first};
    return ops_.geglu(input_of(x, transform), adapted_layer(w), own);
}

Seq AdaptedOps::embed(Ids ids, const Embedding & w) {
    Embedding table = w;
    table.weight = adapter_.replaced(w.weight);
    return ops_.embed(ids, table);
}

}  // namespace latent::graph
