#pragma once

#include <map>
#include <utility>

#include "graph/adapter_weights.h"
#include "graph/ops.h"

namespace latent::graph {

/// Wraps any home's operations and adds the products of adapters to those of the layers: W x + up (down x). Where the home can,
/// one product computes W x and adds up to it (SideProduct); elsewhere the second term is the residual of the first. What
/// adapters do to the input or the product of a layer (AdapterWeights::Transform) is recorded before and after it.
class AdaptedOps final : public Ops {
public:
    AdaptedOps(Ops & ops, const AdapterWeights & adapter) : ops_(ops), adapter_(adapter) {}

    Map input_map(const std::string & name, int64_t width, int64_t height, int64_t channels, int64_t batch) override {
        return ops_.input_map(name, width, height, channels, batch);
    }
    Seq input_seq(const std::string & name, int64_t dim, int64_t length, int64_t batch) override {
        return ops_.input_seq(name, dim, length, batch);
    }
    Ids input_ids(const std::string & name, int64_t length, int64_t batch) override {
        return ops_.input_ids(name, length, batch);
    }
    void output(const std::string & name, Map x) override { ops_.output(name, x); }
    void output(const std::string & name, Seq x) override { ops_.output(name, x); }

    Map conv(Map x, const Conv & w, const ConvOptions & options) override;
    Map group_norm(Map x, const Norm & w, const GroupNormOptions & options) override {
        return ops_.group_norm(x, adapted(w), options);
    }
    Map affine(Map x, Seq scale, Seq shift, Activation kind) override { return ops_.affine(x, scale, shift, kind); }
    Map activation(Map x, Activation kind) override { return ops_.activation(x, kind); }
    Map add(Map a, Map b) override { return ops_.add(a, b); }
    Map concat(Map a, Map b) override { return ops_.concat(a, b); }
    Map avg_pool2(Map x) override { return ops_.avg_pool2(x); }
    Map upsample2(Map x) override { return ops_.upsample2(x); }

    Seq to_seq(Map x) override { return ops_.to_seq(x); }
    Map to_map(Seq x, int64_t width, int64_t height) override { return ops_.to_map(x, width, height); }
    Seq linear(Seq x, const Linear & w, const LinearOptions & options) override;
    Seq geglu(Seq x, const Linear & w, const SideProduct & none = {}) override;
    Seq gate(Seq both) override { return ops_.gate(both); }
    Seq layer_norm(Seq x, const Norm & w, float eps) override { return ops_.layer_norm(x, adapted(w), eps); }
    Seq attention(Seq q, Seq k, Seq v, const AttentionOptions & options) override { return ops_.attention(q, k, v, options); }
    Seq activation(Seq x, Activation kind) override { return ops_.activation(x, kind); }
    Seq add(Seq a, Seq b) override { return ops_.add(a, b); }
    Seq concat(Seq a, Seq b) override { return ops_.concat(a, b); }
    Seq slice(Seq x, int64_t first, int64_t count) override { return ops_.slice(x, first, count); }
    std::vector<Seq> split_heads_qkv(Seq x, int heads) override { return ops_.split_heads_qkv(x, heads); }
    Seq embed(Ids ids, const Embedding & w) override;
    Seq add_positions(Seq x, const Parameter * table) override { return ops_.add_positions(x, adapter_.replaced(table)); }

private:
    using Transform = AdapterWeights::Transform;

    Norm adapted(Norm w) const;
    template <typename Layer>
    Layer adapted_layer(Layer w) const;
    template <typename Layer>
    static Layer bare(Layer w);
    Map with_blocks(Map x, const BlockProduct & w, const Parameter * bias);
    Seq with_blocks(Seq x, const BlockProduct & w, const Parameter * bias) { return ops_.add_blocks(x, w, bias); }
    template <typename Value>
    Value input_of(Value x, const Transform * transform);
    bool is_stepwise(const Transform * transform, bool side_apart) const;
    template <typename Value, typename Layer>
    Value product_of(Value y, const Layer & layer, const Transform & transform);
    Map with_products(Map x, const Transform & transform, Map sum);
    Seq with_products(Seq x, const Transform & transform, Seq sum);
    Seq low(Seq x, const Linear & w, bool taken);
    Map side_of(Map x, const Conv & w, const ConvOptions & plain, Map residual);
    Seq side_of(Seq x, const Linear & w, Seq residual);

    Ops & ops_;
    const AdapterWeights & adapter_;
    std::map<std::pair<int, const Parameter *>, Seq> low_;  // lower factors that were computed, by input and factor
};

}  // namespace latent::graph
