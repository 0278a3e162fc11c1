#include "networks/encoders.h"

#include "core/error.h"

namespace latent::networks {

namespace {

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

ClipLayer declare_clip_layer(const Scope & scope, int64_t dim, int64_t intermediate) {
    ClipLayer w;
    w.norm1 = scope.norm("layer_norm1", dim);
    w.q = scope.linear("self_attn.q_proj", dim, dim);
    w.k = scope.linear("self_attn.k_proj", dim, dim);
    w.v = scope.linear("self_attn.v_proj", dim, dim);
    w.out = scope.linear("self_attn.out_proj", dim, dim);
    w.norm2 = scope.norm("layer_norm2", dim);
    w.fc1 = scope.linear("mlp.fc1", dim, intermediate);
    w.fc2 = scope.linear("mlp.fc2", intermediate, dim);
    return w;
}

/// "a.text_model." -> "a.": a projection is not below its tower's prefix.
std::string beside(const std::string & prefix, const std::string & tower) {
    const bool ends = prefix.size() >= tower.size() && prefix.compare(prefix.size() - tower.size(), tower.size(), tower) == 0;
    return ends ? prefix.substr(0, prefix.size() - tower.size()) : prefix;
}

}  // namespace

ClipTextLayers declare_clip_text(const ClipTextConfig & config, ParameterList & list, const std::string & prefix) {
    check_config(config);
    const int64_t dim = config.hidden_size;
    const Scope root(list, prefix);
    ClipTextLayers l;
    l.tokens = root.keeping(16).embedding("embeddings.token_embedding", config.vocab_size, dim);
    l.positions = root.table("embeddings.position_embedding.weight", {config.max_position_embeddings, dim});
    for (int i = 0; i < config.num_hidden_layers; ++i)
        l.layers.push_back(declare_clip_layer(root / "encoder" / "layers" / i, dim, config.intermediate_size));
    l.final_norm = root.norm("final_layer_norm", dim);
    if (config.projection_dim > 0) {
        const Scope outside = Scope(list, beside(prefix, "text_model.")).keeping(16);
        l.projection = outside.optional_matrix("text_projection", dim, config.projection_dim);
    }
    return l;
}

ClipVisionLayers declare_clip_vision(const ClipVisionConfig & config, ParameterList & list, const std::string & prefix) {
    const int64_t dim = config.hidden_size;
    const Scope root(list, prefix), outside = Scope(list, beside(prefix, "vision_model.")).keeping(16);
    ClipVisionLayers l;
    l.class_token = {root.table("embeddings.class_embedding", {dim}), 1, dim};
    l.patches = root.keeping(16).conv("embeddings.patch_embedding", config.num_channels, dim, config.patch_size, false);
    l.positions = root.table("embeddings.position_embedding.weight", {config.patches() + 1, dim});
    l.norm_in = root.norm("pre_layrnorm", dim);  // sic
    for (int i = 0; i < config.num_hidden_layers; ++i)
        l.layers.push_back(declare_clip_layer(root / "encoder" / "layers" / i, dim, config.intermediate_size));
    l.norm_out = root.norm("post_layernorm", dim);
    l.projection = outside.linear("visual_projection", dim, config.projection_dim, false).weight;
    return l;
}

BertLayers declare_bert(const BertConfig & config, ParameterList & list, const std::string & prefix) {
    const int64_t dim = config.hidden_size, inner = int64_t{config.num_heads} * config.head_dim;
    const Scope root(list, prefix);
    BertLayers l;
    l.tokens = root.keeping(16).embedding("token_emb", config.vocab_size, dim);
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
    root.unread("to_logits.weight", {config.vocab_size, dim});
    root.unread("to_logits.bias", {config.vocab_size});
    return l;
}

Embedding declare_class_table(const ClassConfig & config, ParameterList & list, const std::string & prefix) {
    // A small table like the positions, kept in float32 whatever the weights' type.
    return {Scope(list, prefix).table("embedding.weight", {config.classes, config.embed_dim}), config.classes, config.embed_dim};
}

Conv declare_rescaler(const RescalerConfig & config, ParameterList & list, const std::string & prefix) {
    return Scope(list, prefix).keeping(32).conv("channel_mapper", config.classes, config.out_channels, 1, config.bias);
}

}  // namespace latent::networks
