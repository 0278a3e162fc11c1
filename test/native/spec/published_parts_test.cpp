#include "published_parts.h"

// The public first stages and encoders in files of their own: their published sizes, and what is seen of them.

using latent::AutoencoderConfig;
using latent::BertConfig;
using latent::ModelSpec;
using latent::formats::Detection;

TEST(published_first_stages_alone) {
    for (const auto & [name, stage] : stages()) {
        List list = stage_list(name, "");
        counted(name, list, stage.millions, stage.tensors);
        list.push_back({"loss.discriminator.main.0.weight", {64, 3, 4, 4}});
        list.push_back({"loss.logvar", {}});
        const ModelSpec found = detect_list(list).spec;
        const AutoencoderConfig wanted = stage_config(name), &f = *found.first_stage;
        CHECK(found.kind == "autoencoder" && f.kind == wanted.kind && f.channel_mult == wanted.channel_mult);
        CHECK(f.attention_levels == wanted.attention_levels && f.middle_attention == wanted.middle_attention);
        CHECK(f.codebook_size == wanted.codebook_size && f.embed_dim == wanted.embed_dim && f.double_z == wanted.double_z);
        CHECK(found.name ==
              std::string(wanted.kind == "kl" ? "KL-f" : "VQ-f") + std::to_string(wanted.downsampling()) + " first stage");
    }
}

TEST(published_text_encoders) {
    const std::pair<BertConfig, std::pair<double, size_t>> berts[] = {{bert(1280, 32, 30522, 77), {581.994, 422}},
                                                                      {bert(640, 32, 30522, 77), {186.155, 422}},
                                                                      {bert(512, 16, 8192, 92), {58.858, 214}}};
    for (const auto & [config, size] : berts) counted("BERTEmbedder", bert_list(config), size.first, size.second);
    counted("CLIP ViT-L/14 text", clip_l("text_model."), 123.060, 196);
    // OpenCLIP ViT-H/14 and bigG/14: their own files, with in_proj fused and logit_scale, against our split form
    for (const auto & [width, layers] : {std::pair<int, int>{1024, 24}, {1280, 32}}) {
        latent::ClipTextConfig c;
        c.hidden_size = width, c.intermediate_size = 4 * width, c.num_hidden_layers = layers, c.projection_dim = width;
        c.num_attention_heads = width / 64;
        const List split = declared(latent::networks::declare_clip_text, c, "text_model.");
        CHECK(elements(split) == elements(open_clip("", width, layers)) - 1);
        const Detection found = detect_list(open_clip("", width, layers));
        const latent::ClipTextConfig & clip = found.spec.conditioners.at(0).clip;
        CHECK(clip.hidden_act == "gelu" && clip.num_attention_heads == width / 64 && clip.num_hidden_layers == layers);
        CHECK(clip.projection_dim == width && clip.pad_token_id == 0 && clip.skip_layers == 1);
    }
    // OpenAI's ViT-L/14, both towers: what RDM is conditioned on
    List open_ai = open_clip("", 768, 12);
    const std::string at = "visual.";
    open_ai.push_back({at + "class_embedding", {1024}});
    open_ai.push_back({at + "positional_embedding", {257, 1024}});
    open_ai.push_back({at + "proj", {1024, 768}});
    open_ai.push_back({at + "conv1.weight", {1024, 3, 14, 14}});
    for (const char * norm : {"ln_pre.weight", "ln_pre.bias", "ln_post.weight", "ln_post.bias"})
        open_ai.push_back({at + norm, {1024}});
    for (const auto & item : open_clip(at, 1024, 24)) {
        if (item.first.find("resblocks") != std::string::npos) open_ai.push_back(item);
    }
    const ModelSpec clip = detect_list(open_ai).spec;
    CHECK(clip.name == "CLIP" && clip.conditioners.size() == 2);
    CHECK(clip.conditioners[0].clip.hidden_act == "quick_gelu" && clip.conditioners[0].clip.num_attention_heads == 12);
    const latent::ClipVisionConfig vision = latent::clip_vision_config(clip.conditioners[1].params);
    CHECK(vision.num_attention_heads == 16 && vision.image_size == 224 && vision.patch_size == 14 &&
          vision.projection_dim == 768);
    CHECK(elements(open_ai) == 427616513);  // OpenAI's own count of ViT-L/14
}
