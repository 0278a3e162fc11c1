#include "models/bert_text.h"

#include <vector>

namespace latent::models {

using graph::Activation;
using graph::Ops;
using graph::Scope;
using graph::Seq;

namespace {

/// x_transformer.Attention and FeedForward, each after its LayerNorm.
struct BertLayer {
    graph::Norm norm_attention, norm_feed;
    graph::Linear q, k, v, out, fc_in, fc_out;
};

Seq layer(Ops & ops, Seq x, const BertLayer & w, const BertConfig & config) {
    Seq h = ops.layer_norm(x, w.norm_attention);
    const Seq q = ops.linear(h, w.q, {}), k = ops.linear(h, w.k, {}), v = ops.linear(h, w.v, {});
    x = ops.linear(ops.attention(q, k, v, {config.num_heads, false}), w.out, {Activation::none, x});
    h = ops.layer_norm(x, w.norm_feed);
    return ops.linear(ops.linear(h, w.fc_in, {Activation::gelu, {}}), w.fc_out, {Activation::none, x});
}

}  // namespace

struct BertText::Layers {
    graph::Embedding tokens;
    const graph::Parameter * positions = nullptr;
    std::vector<BertLayer> layers;
    graph::Norm norm;
};

BertText::BertText(const BertConfig & config, graph::DevicePtr device, const std::string & prefix)
    : TokenEncoder(device, "textEncoder"), config_(bert_config(to_json(config))), layers_(std::make_unique<Layers>()) {
    const int64_t dim = config.hidden_size, inner = int64_t{config.num_heads} * config.head_dim;
    const Scope root(weights_, prefix);
    Layers & l = *layers_;
    l.tokens = root.embedding("token_emb", config.vocab_size, dim);
    l.positions = root.table("pos_emb.emb.weight", {config.max_length, dim});
    for (int i = 0; i < config.num_layers; ++i) {
        const Scope attention = root / "attn_layers" / "layers" / (2 * i), feed = root / "attn_layers" / "layers" / (2 * i + 1);
        BertLayer w;
        w.norm_attention = attention.norm("0", dim);
        w.q = attention.linear("1.to_q", dim, inner, false);
        w.k = attention.linear("1.to_k", dim, inner, false);
        w.v = attention.linear("1.to_v", dim, inner, false);
        w.out = attention.linear("1.to_out", inner, dim);
        w.norm_feed = feed.norm("0", dim);
        w.fc_in = feed.linear("1.net.0.0", dim, config.intermediate_size);
        w.fc_out = feed.linear("1.net.2", config.intermediate_size, dim);
        l.layers.push_back(w);
    }
    l.norm = root.norm("norm", dim);
}

BertText::~BertText() = default;

void BertText::build(Ops & ops, int64_t batch, int64_t length) const {
    const Layers & l = *layers_;
    Seq x = ops.add_positions(ops.embed(ops.input_ids("ids", length, batch), l.tokens), l.positions);
    for (const BertLayer & w : l.layers) x = layer(ops, x, w, config_);
    ops.output("context", ops.layer_norm(x, l.norm));
}

void BertText::forward(Span<const int32_t> ids, int64_t batch, int64_t length, int clip_skip, Span<float> context,
                       const JobContext & job) {
    if (clip_skip != 0)
        throw Error(ErrorCode::invalid_argument, "clip skip is for CLIP text encoders; this one is a BERTEmbedder");
    check(ids, batch, length, context.size());
    const std::string key = std::to_string(batch) + "x" + std::to_string(length);
    graph::Graph & graph = runner_.prepare(key, [&](Ops & ops) { build(ops, batch, length); });
    graph.set_input("ids", ids);
    graph.compute(*job.cancel);
    graph.get_output("context", context);
}

graph::GraphMeasure BertText::measure(int64_t batch, int64_t length) const {
    return runner_.measure([&](Ops & ops) { build(ops, batch, length); });
}

}  // namespace latent::models
