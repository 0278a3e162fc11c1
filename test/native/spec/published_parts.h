#pragma once

#include <cmath>

#include "check.h"
#include "header_source.h"

// First stages and text encoders of the public models as lists of names and shapes.

inline void counted(const std::string & name, const List & list, double millions, size_t tensors) {
    const double found = static_cast<double>(elements(list)) / 1e6;
    if (list.size() == tensors && std::abs(found - millions) < 0.0005) return;
    check::fail(__FILE__, __LINE__,
                name + " has " + std::to_string(list.size()) + " tensors, " + std::to_string(found) + " M parameters");
}

// ---- first stages --------------------------------------------------------------------------------------------------------

struct Stage {
    int embed, codebook;  // codebook 0: KL
    std::vector<int> mult, attention;
    bool middle;
    double millions;
    size_t tensors;
};

inline const std::map<std::string, Stage> & stages() {
    static const std::map<std::string, Stage> table = {
        {"kl-f4", {3, 0, {1, 2, 4}, {}, true, 55.312, 204}},
        {"kl-f8", {4, 0, {1, 2, 4, 4}, {}, true, 83.654, 248}},
        {"kl-f16", {16, 0, {1, 1, 2, 2, 4}, {4}, true, 69.611, 342}},
        {"kl-f32", {64, 0, {1, 1, 2, 2, 4, 4}, {4, 5}, true, 103.880, 436}},
        {"vq-f4", {3, 8192, {1, 2, 4}, {}, true, 55.323, 205}},
        {"vq-f4-noattn", {3, 8192, {1, 2, 4}, {}, false, 53.219, 185}},
        {"vq-f8", {4, 16384, {1, 2, 2, 4}, {3}, true, 67.717, 299}},
        {"vq-f8-n256", {4, 256, {1, 2, 2, 4}, {3}, true, 67.653, 299}},
        {"vq-f16", {8, 16384, {1, 1, 2, 2, 4}, {4}, true, 69.593, 343}},
        {"x4 kl-f4", {4, 0, {1, 2, 4}, {}, true, 55.326, 204}},
    };
    return table;
}

inline latent::AutoencoderConfig stage_config(const std::string & name) {
    const Stage & s = stages().at(name);
    latent::AutoencoderConfig c;
    c.kind = s.codebook ? "vq" : "kl";
    c.codebook_size = s.codebook;
    c.double_z = s.codebook == 0;
    c.embed_dim = c.z_channels = s.embed;
    c.channel_mult = s.mult;
    c.attention_levels = s.attention;
    c.middle_attention = s.middle;
    return c;
}

/// `prefix` "": a file of its own, with the losses that such files carry.
inline List stage_list(const std::string & name, const std::string & prefix = "first_stage_model.") {
    return declared(latent::networks::declare_first_stage, stage_config(name), prefix);
}

// ---- text encoders -------------------------------------------------------------------------------------------------------

inline latent::BertConfig bert(int width, int layers, int vocabulary, int length) {
    latent::BertConfig c;
    c.hidden_size = width, c.num_layers = layers, c.vocab_size = vocabulary, c.max_length = length;
    c.intermediate_size = 4 * width;
    return c;
}

inline List bert_list(const latent::BertConfig & c) {
    return declared(latent::networks::declare_bert, c, "cond_stage_model.transformer.");
}

inline List clip_l(const std::string & prefix) {
    return declared(latent::networks::declare_clip_text, latent::ClipTextConfig{}, prefix);
}

/// An OpenCLIP text tower in its own names.
inline List open_clip(const std::string & prefix, int64_t width, int layers) {
    List list;
    const auto pair = [&](const std::string & name, const Shape & weight, const char * w = ".weight", const char * b = ".bias") {
        list.push_back({prefix + name + w, weight});
        list.push_back({prefix + name + b, {weight[0]}});
    };
    list.push_back({prefix + "positional_embedding", {77, width}});
    list.push_back({prefix + "text_projection", {width, width}});
    list.push_back({prefix + "logit_scale", {}});
    list.push_back({prefix + "token_embedding.weight", {49408, width}});
    for (int i = 0; i < layers; ++i) {
        const std::string at = "transformer.resblocks." + std::to_string(i) + '.';
        pair(at + "ln_1", {width}), pair(at + "ln_2", {width});
        pair(at + "attn.in_proj", {3 * width, width}, "_weight", "_bias");
        pair(at + "attn.out_proj", {width, width});
        pair(at + "mlp.c_fc", {4 * width, width}), pair(at + "mlp.c_proj", {width, 4 * width});
    }
    pair("ln_final", {width});
    return list;
}

inline List rows(const std::string & name, const Shape & shape) {
    return {{"cond_stage_model." + name, shape}};
}
