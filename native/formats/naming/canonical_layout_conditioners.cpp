#include "formats/naming/canonical.h"
#include "formats/naming/layout_list.h"

namespace latent::formats {

namespace {

void clip_layer(LayoutList & list, const std::string & at, int64_t width, int64_t intermediate) {
    list.norm(at + ".layer_norm1", width);
    for (const char * name : {".self_attn.q_proj", ".self_attn.k_proj", ".self_attn.v_proj", ".self_attn.out_proj"}) {
        list.linear(at + name, width, width);
    }
    list.norm(at + ".layer_norm2", width);
    list.linear(at + ".mlp.fc1", width, intermediate);
    list.linear(at + ".mlp.fc2", intermediate, width);
}

/// "a.text_model." -> "a.": projections lie beside their tower.
std::string beside(const std::string & prefix, const std::string & tower) {
    const bool ends = prefix.size() >= tower.size() && prefix.compare(prefix.size() - tower.size(), tower.size(), tower) == 0;
    return ends ? prefix.substr(0, prefix.size() - tower.size()) : prefix;
}

}  // namespace

std::vector<LayoutEntry> clip_text_layout(const ClipTextConfig & c, const std::string & prefix) {
    LayoutList list;
    const int64_t width = c.hidden_size;
    list.matrix(prefix + "embeddings.token_embedding", width, c.vocab_size);
    list.matrix(prefix + "embeddings.position_embedding", width, c.max_position_embeddings);
    for (int i = 0; i < c.num_hidden_layers; ++i)
        clip_layer(list, prefix + "encoder.layers." + std::to_string(i), width, c.intermediate_size);
    list.norm(prefix + "final_layer_norm", width);
    list.entries.push_back({beside(prefix, "text_model.") + "text_projection.weight", {c.projection_dim, width}, true});
    return list.entries;
}

std::vector<LayoutEntry> clip_vision_layout(const ClipVisionConfig & c, const std::string & prefix) {
    LayoutList list;
    const int64_t width = c.hidden_size;
    list.entries.push_back({prefix + "embeddings.class_embedding", {width}});
    list.entries.push_back({prefix + "embeddings.patch_embedding.weight", {width, c.num_channels, c.patch_size, c.patch_size}});
    list.matrix(prefix + "embeddings.position_embedding", width, c.patches() + 1);
    list.norm(prefix + "pre_layrnorm", width);
    for (int i = 0; i < c.num_hidden_layers; ++i)
        clip_layer(list, prefix + "encoder.layers." + std::to_string(i), width, c.intermediate_size);
    list.norm(prefix + "post_layernorm", width);
    list.matrix(beside(prefix, "vision_model.") + "visual_projection", width, c.projection_dim);
    return list.entries;
}

std::vector<LayoutEntry> bert_layout(const BertConfig & c, const std::string & prefix) {
    LayoutList list;
    const int64_t width = c.hidden_size, inner = int64_t{c.num_heads} * c.head_dim;
    list.matrix(prefix + "token_emb", width, c.vocab_size);
    list.matrix(prefix + "pos_emb.emb", width, c.max_length);
    for (int i = 0; i < c.num_layers; ++i) {
        const std::string attention = prefix + "attn_layers.layers." + std::to_string(2 * i),
                          feed = prefix + "attn_layers.layers." + std::to_string(2 * i + 1);
        list.norm(attention + ".0", width);
        for (const char * name : {".1.to_q", ".1.to_k", ".1.to_v"}) list.matrix(attention + name, width, inner);
        list.linear(attention + ".1.to_out", inner, width);
        list.norm(feed + ".0", width);
        list.linear(feed + ".1.net.0.0", width, c.intermediate_size);
        list.linear(feed + ".1.net.2", c.intermediate_size, width);
    }
    list.norm(prefix + "norm", width);
    list.linear(prefix + "to_logits", width, c.vocab_size);
    for (size_t i = list.entries.size() - 2; i < list.entries.size(); ++i) list.entries[i].unused = true;
    return list.entries;
}

std::vector<LayoutEntry> conditioner_layout(const ConditionerConfig & c) {
    LayoutList list;
    if (c.kind == "clip_text") return clip_text_layout(c.clip, c.prefix);
    if (c.kind == "clip_vision") return clip_vision_layout(clip_vision_config(c.params), c.prefix);
    if (c.kind == "bert_text" || c.kind == "layout") return bert_layout(bert_config(c.params), c.prefix);
    if (c.kind == "class") {
        const ClassConfig config = class_config(c.params);
        list.matrix(c.prefix + "embedding", config.embed_dim, config.classes);
    } else if (c.kind == "spatial_rescaler") {
        const RescalerConfig config = rescaler_config(c.params);
        list.conv(c.prefix + "channel_mapper", config.classes, config.out_channels, 1);
        if (!config.bias) list.entries.pop_back();
    }
    return list.entries;
}

}  // namespace latent::formats
