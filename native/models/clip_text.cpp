#include "models/clip_text.h"

#include <algorithm>
#include <vector>

namespace latent::models {

using graph::Activation;
using graph::Ops;
using graph::Scope;
using graph::Seq;

namespace {

/// transformers CLIPEncoderLayer
struct ClipLayer {
    graph::Norm norm1, norm2;
    graph::Linear q, k, v, out, fc1, fc2;
};

Activation activation_of(const ClipTextConfig & config) {
    if (config.hidden_act == "quick_gelu") return Activation::quick_gelu;
    if (config.hidden_act == "gelu") return Activation::gelu;
    throw Error(ErrorCode::unsupported_model,
                "A text encoder with the activation \"" + config.hidden_act + "\" cannot be run; quick_gelu and gelu can");
}

void check_config(const ClipTextConfig & config) {
    const bool counts = config.hidden_size > 0 && config.intermediate_size > 0 && config.num_hidden_layers > 0 &&
                        config.num_attention_heads > 0 && config.vocab_size > 0 && config.max_position_embeddings > 0;
    if (!counts || config.num_hidden_layers > 1024 || config.max_position_embeddings > 4096 ||
        config.hidden_size % config.num_attention_heads != 0 || config.skip_layers < 0 ||
        config.skip_layers >= config.num_hidden_layers) {
        throw Error(ErrorCode::model_format,
                    "The text encoder configuration is not a network: check sizes, heads and skip_layers");
    }
}

Seq layer(Ops & ops, Seq x, const ClipLayer & w, const ClipTextConfig & config) {
    const float eps = static_cast<float>(config.layer_norm_eps);
    Seq h = ops.layer_norm(x, w.norm1, eps);
    const Seq q = ops.linear(h, w.q, {}), k = ops.linear(h, w.k, {}), v = ops.linear(h, w.v, {});
    x = ops.linear(ops.attention(q, k, v, {config.num_attention_heads, true}), w.out, {Activation::none, x});
    h = ops.layer_norm(x, w.norm2, eps);
    return ops.linear(ops.linear(h, w.fc1, {activation_of(config), {}}), w.fc2, {Activation::none, x});
}

}  // namespace

struct ClipText::Layers {
    graph::Embedding tokens;
    const graph::Parameter * positions = nullptr;
    std::vector<ClipLayer> layers;
    graph::Norm final_norm;
};

ClipText::ClipText(const ClipTextConfig & config, graph::DevicePtr device, const std::string & prefix)
    : TokenEncoder(device, "textEncoder"), config_(config), layers_(std::make_unique<Layers>()) {
    check_config(config);
    activation_of(config);
    const int64_t dim = config.hidden_size;
    const Scope root(weights_, prefix);
    Layers & l = *layers_;
    l.tokens = root.embedding("embeddings.token_embedding", config.vocab_size, dim);
    l.positions = root.table("embeddings.position_embedding.weight", {config.max_position_embeddings, dim});
    for (int i = 0; i < config.num_hidden_layers; ++i) {
        const Scope scope = root / "encoder" / "layers" / i;
        ClipLayer w;
        w.norm1 = scope.norm("layer_norm1", dim);
        w.q = scope.linear("self_attn.q_proj", dim, dim);
        w.k = scope.linear("self_attn.k_proj", dim, dim);
        w.v = scope.linear("self_attn.v_proj", dim, dim);
        w.out = scope.linear("self_attn.out_proj", dim, dim);
        w.norm2 = scope.norm("layer_norm2", dim);
        w.fc1 = scope.linear("mlp.fc1", dim, config.intermediate_size);
        w.fc2 = scope.linear("mlp.fc2", config.intermediate_size, dim);
        l.layers.push_back(w);
    }
    l.final_norm = root.norm("final_layer_norm", dim);
}

ClipText::~ClipText() = default;

int ClipText::blocks_to_run(int clip_skip) const {
    const int skip = clip_skip > 0 ? clip_skip - 1 : config_.skip_layers;
    if (clip_skip < 0 || skip >= config_.num_hidden_layers) {
        throw Error(ErrorCode::invalid_argument, "clip skip " + std::to_string(clip_skip) +
                                                     " is out of range: this text encoder has " +
                                                     std::to_string(config_.num_hidden_layers) + " layers");
    }
    return config_.num_hidden_layers - skip;
}

void ClipText::build(Ops & ops, int64_t batch, int64_t length, int blocks) const {
    const Layers & l = *layers_;
    Seq x = ops.add_positions(ops.embed(ops.input_ids("ids", length, batch), l.tokens), l.positions);
    for (int i = 0; i < blocks; ++i) x = layer(ops, x, l.layers[static_cast<size_t>(i)], config_);
    if (config_.final_norm) x = ops.layer_norm(x, l.final_norm, static_cast<float>(config_.layer_norm_eps));
    ops.output("context", x);
}

void ClipText::forward(Span<const int32_t> ids, int64_t batch, int64_t length, int clip_skip, Span<float> context,
                       const JobContext & job) {
    const int blocks = blocks_to_run(clip_skip);
    check(ids, batch, length, context.size());
    const std::string key = std::to_string(batch) + "x" + std::to_string(length) + " " + std::to_string(blocks);
    graph::Graph & graph = runner_.prepare(key, [&](Ops & ops) { build(ops, batch, length, blocks); });
    graph.set_input("ids", ids);
    graph.compute(*job.cancel);
    graph.get_output("context", context);
}

graph::GraphMeasure ClipText::measure(int64_t batch, int64_t length) const {
    return runner_.measure([&](Ops & ops) { build(ops, batch, length, blocks_to_run(0)); });
}

}  // namespace latent::models
