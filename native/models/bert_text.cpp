#include "models/bert_text.h"

namespace latent::models {

using graph::Activation;
using graph::Ops;
using graph::Seq;

namespace {

Seq layer(Ops & ops, Seq x, const networks::BertLayer & w, const BertConfig & config) {
    Seq h = ops.layer_norm(x, w.norm_attention);
    const Seq q = ops.linear(h, w.q, {}), k = ops.linear(h, w.k, {}), v = ops.linear(h, w.v, {});
    x = ops.linear(ops.attention(q, k, v, {config.num_heads, false}), w.out, {Activation::none, x});
    h = ops.layer_norm(x, w.norm_feed);
    return ops.linear(ops.linear(h, w.fc_in, {Activation::gelu, {}}), w.fc_out, {Activation::none, x});
}

}  // namespace

BertText::BertText(const BertConfig & config, graph::DevicePtr device, const std::string & prefix)
    : TokenEncoder(device, ModelPart::text_encoder),
      config_(bert_config(to_json(config))),
      layers_(networks::declare_bert(config, weights_.declared(), prefix)) {}

void BertText::build(Ops & ops, int64_t batch, int64_t length) const {
    const networks::BertLayers & l = layers_;
    Seq x = ops.add_positions(ops.embed(ops.input_ids("ids", length, batch), l.tokens), l.positions);
    for (const networks::BertLayer & w : l.layers) x = layer(ops, x, w, config_);
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
