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
    w.weight = adapter_.replaced(w.weight);
    return w;
}

Map AdaptedOps::conv(Map x, const Conv & w, const ConvOptions & options) {
    const AdapterWeights::Side * side = adapter_.side(w.weight);
    if (!side) return ops_.conv(x, adapted_layer(w), options);
    const bool activated = options.activation != Activation::none;
    const Conv down{side->down, nullptr, w.in, side->down->rows(), w.kernel};
    ConvOptions below = options, whole = options, above;
    below.channel_add = {}, below.residual = {}, below.activation = Activation::none;
    if (ops_.adds_sides(*w.weight, {})) {
        whole.side = {ops_.to_seq(ops_.low_rank(x, down, w, below)), side->up, side->first};
        return ops_.conv(x, adapted_layer(w), whole);
    }
    whole.activation = Activation::none;
    if (!activated) above.residual = options.residual;
    Map low = ops_.conv(x, down, below);
    if (low.channels != side->rank)
        low = ops_.to_map(ops_.slice(ops_.to_seq(low), side->first, side->rank), low.width, low.height);
    whole.residual = ops_.conv(low, Conv{side->up, nullptr, side->rank, w.out, 1}, above);
    const Map y = ops_.conv(x, adapted_layer(w), whole);
    if (!activated) return y;
    const Map z = ops_.activation(y, options.activation);
    return options.residual ? ops_.add(z, options.residual) : z;
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
    if (!side) return ops_.linear(x, adapted_layer(w), options);
    LinearOptions whole = options;
    if (ops_.adds_sides(*w.weight, x)) {
        whole.side = {low(x, w, true), side->up, side->first};
        return ops_.linear(x, adapted_layer(w), whole);
    }
    const bool activated = options.activation != Activation::none;
    whole.activation = Activation::none;
    whole.residual = side_of(x, w, activated ? Seq{} : options.residual);
    Seq y = ops_.linear(x, adapted_layer(w), whole);
    if (!activated) return y;
    y = ops_.activation(y, options.activation);
    return options.residual ? ops_.add(y, options.residual) : y;
}

Seq AdaptedOps::geglu(Seq x, const Linear & w, const SideProduct &) {
    const AdapterWeights::Side * side = adapter_.side(w.weight);
    if (!side) return ops_.geglu(x, adapted_layer(w));
    if (ops_.adds_sides(*w.weight, x)) return ops_.geglu(x, adapted_layer(w), {low(x, w, true), side->up, side->first});
    LinearOptions whole;
    whole.residual = side_of(x, w, {});
    return ops_.gate(ops_.linear(x, adapted_layer(w), whole));
}

Seq AdaptedOps::embed(Ids ids, const Embedding & w) {
    Embedding table = w;
    table.weight = adapter_.replaced(w.weight);
    return ops_.embed(ids, table);
}

}  // namespace latent::graph
