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
    ConvOptions below = options, whole = options, above;
    below.channel_add = {}, below.residual = {}, below.activation = whole.activation = Activation::none;
    if (!activated) above.residual = options.residual;
    const Map low = ops_.conv(x, Conv{side->down, nullptr, w.in, side->rank, w.kernel}, below);
    whole.residual = ops_.conv(low, Conv{side->up, nullptr, side->rank, w.out, 1}, above);
    const Map y = ops_.conv(x, adapted_layer(w), whole);
    if (!activated) return y;
    const Map z = ops_.activation(y, options.activation);
    return options.residual ? ops_.add(z, options.residual) : z;
}

/// up (down x) + residual.
Seq AdaptedOps::side_of(Seq x, const Linear & w, Seq residual) {
    const AdapterWeights::Side & side = *adapter_.side(w.weight);
    const Seq low = ops_.linear(x, Linear{side.down, nullptr, w.in, side.rank});
    LinearOptions options;
    options.residual = residual;
    return ops_.linear(low, Linear{side.up, nullptr, side.rank, w.out}, options);
}

Seq AdaptedOps::linear(Seq x, const Linear & w, const LinearOptions & options) {
    if (!adapter_.side(w.weight)) return ops_.linear(x, adapted_layer(w), options);
    const bool activated = options.activation != Activation::none;
    LinearOptions whole;
    whole.residual = side_of(x, w, activated ? Seq{} : options.residual);
    Seq y = ops_.linear(x, adapted_layer(w), whole);
    if (!activated) return y;
    y = ops_.activation(y, options.activation);
    return options.residual ? ops_.add(y, options.residual) : y;
}

Seq AdaptedOps::geglu(Seq x, const Linear & w) {
    if (!adapter_.side(w.weight)) return ops_.geglu(x, adapted_layer(w));
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
