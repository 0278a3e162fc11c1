#include <cmath>

#include "check.h"
#include "golden.h"
#include "header_source.h"

using latent::Error;
using latent::ErrorCode;
using latent::Json;
using latent::ModelSpec;

namespace {

void add(List & list, const std::string & name, const Shape & weight, bool bias = true) {
    list.push_back({name + ".weight", weight});
    if (bias) list.push_back({name + ".bias", {weight[0]}});
}

void add_resblock(List & list, const std::string & at, int64_t in, int64_t out) {
    add(list, at + ".in_layers.0", {in});
    add(list, at + ".in_layers.2", {out, in, 3, 3});
    add(list, at + ".emb_layers.1", {out, 1280});
    add(list, at + ".out_layers.0", {out});
    add(list, at + ".out_layers.3", {out, out, 3, 3});
    if (in != out) add(list, at + ".skip_connection", {out, in, 1, 1});
}

void add_transformer(List & list, const std::string & at, int64_t c, int64_t context, bool linear) {
    const Shape projection = linear ? Shape{c, c} : Shape{c, c, 1, 1};
    const std::string block = at + ".transformer_blocks.0";
    add(list, at + ".norm", {c});
    add(list, at + ".proj_in", projection);
    for (const char * attention : {".attn1", ".attn2"}) {
        const int64_t from = std::string(attention) == ".attn1" ? c : context;
        add(list, block + attention + ".to_q", {c, c}, false);
        add(list, block + attention + ".to_k", {c, from}, false);
        add(list, block + attention + ".to_v", {c, from}, false);
        add(list, block + attention + ".to_out.0", {c, c});
    }
    add(list, block + ".ff.net.0.proj", {8 * c, c});
    add(list, block + ".ff.net.2", {c, 4 * c});
    for (const char * norm : {".norm1", ".norm2", ".norm3"}) add(list, block + norm, {c});
    add(list, at + ".proj_out", projection);
}

/// The U-Net of SD 1.x and 2.x, block by block as its files list it.
List stable_diffusion_unet(int64_t in, int64_t context, bool linear) {
    const std::string root = "model.diffusion_model.";
    List list;
    add(list, root + "time_embed.0", {1280, 320});
    add(list, root + "time_embed.2", {1280, 1280});
    add(list, root + "input_blocks.0.0", {320, in, 3, 3});
    const int64_t inputs[][2] = {{320, 320},  {320, 320},   {0, 320},  {320, 640},   {640, 640},  {0, 640},
                                 {640, 1280}, {1280, 1280}, {0, 1280}, {1280, 1280}, {1280, 1280}};
    for (int i = 1; i <= 11; ++i) {
        const std::string at = root + "input_blocks." + std::to_string(i);
        const int64_t from = inputs[i - 1][0], to = inputs[i - 1][1];
        if (from == 0) {
            add(list, at + ".0.op", {to, to, 3, 3});
            continue;
        }
        add_resblock(list, at + ".0", from, to);
        if (i < 9) add_transformer(list, at + ".1", to, context, linear);
    }
    add_resblock(list, root + "middle_block.0", 1280, 1280);
    add_transformer(list, root + "middle_block.1", 1280, context, linear);
    add_resblock(list, root + "middle_block.2", 1280, 1280);
    const int64_t outputs[][2] = {{2560, 1280}, {2560, 1280}, {2560, 1280}, {2560, 1280}, {2560, 1280}, {1920, 1280},
                                  {1920, 640},  {1280, 640},  {960, 640},   {960, 320},   {640, 320},   {640, 320}};
    for (int i = 0; i < 12; ++i) {
        const std::string at = root + "output_blocks." + std::to_string(i);
        add_resblock(list, at + ".0", outputs[i][0], outputs[i][1]);
        if (i >= 3) add_transformer(list, at + ".1", outputs[i][1], context, linear);
        if (i % 3 == 2 && i < 11) add(list, at + (i >= 3 ? ".2" : ".1") + ".conv", {outputs[i][1], outputs[i][1], 3, 3});
    }
    add(list, root + "out.0", {320});
    add(list, root + "out.2", {4, 320, 3, 3});
    return list;
}

std::string details_of(const List & list, const char * field) {
    try {
        detect_list(list);
    } catch (const Error & e) {
        CHECK(e.code() == ErrorCode::unsupported_model);
        return Json::parse(e.details()).value(field, "");
    }
    return "accepted";
}

List stable_diffusion_1(int64_t in = 4) {
    List list = stable_diffusion_unet(in, 768, false);
    append(list, declared(latent::networks::declare_first_stage, latent::AutoencoderConfig{}, latent::stage_prefix));
    append(list,
           declared(latent::networks::declare_clip_text, latent::ClipTextConfig{}, "cond_stage_model.transformer.text_model."));
    return list;
}

}  // namespace

TEST(full_size_sd15_by_names_and_shapes) {
    const List unet = stable_diffusion_unet(4, 768, false);
    CHECK(unet.size() == 686);
    CHECK_NEAR(static_cast<double>(elements(unet)) / 1e6, 859.521, 0.0005);
    List first_stage, text;
    append(first_stage, declared(latent::networks::declare_first_stage, latent::AutoencoderConfig{}, latent::stage_prefix));
    append(text,
           declared(latent::networks::declare_clip_text, latent::ClipTextConfig{}, "cond_stage_model.transformer.text_model."));
    CHECK(first_stage.size() == 248);
    CHECK_NEAR(static_cast<double>(elements(first_stage)) / 1e6, 83.654, 0.0005);
    CHECK(text.size() == 196);
    CHECK(elements(text) == 123060480);  // transformers CLIPTextModel of ViT-L/14

    const ModelSpec found = detect_list(stable_diffusion_1()).spec;
    ModelSpec expected;  // the defaults of the struct are SD 1.x
    expected.name = "Stable Diffusion 1.x";
    expected.family = "sd1";
    expected.naming = "compvis";
    expected.unet.emplace();
    expected.first_stage.emplace();
    expected.conditioners.emplace_back();
    expected.conditioners[0].kind = "clip_text";
    expected.conditioners[0].prefix = "cond_stage_model.transformer.text_model.";
    CHECK(to_json(found) == to_json(expected));
    if (to_json(found) != to_json(expected))
        check::fail(__FILE__, __LINE__, Json::diff(to_json(expected), to_json(found)).dump());
}

TEST(relatives_of_sd1_and_sd2) {
    const ModelSpec inpaint = detect_list(stable_diffusion_1(9)).spec;
    CHECK(inpaint.kind == "inpaint" && inpaint.conditioning_key == "hybrid" && inpaint.eta == 1.0);
    const ModelSpec pix2pix = detect_list(stable_diffusion_1(8)).spec;
    CHECK(pix2pix.name == "InstructPix2Pix" && pix2pix.kind == "edit" && pix2pix.conditioning_key == "hybrid");
    CHECK(pix2pix.guidance_scale == 7.5);

    List sd2 = stable_diffusion_unet(4, 1024, true);
    CHECK(sd2.size() == 686);
    CHECK_NEAR(static_cast<double>(elements(sd2)) / 1e6, 865.911, 0.0005);
    latent::ClipTextConfig clip;
    clip.hidden_size = 1024, clip.intermediate_size = 4096, clip.num_hidden_layers = 23, clip.num_attention_heads = 16;
    append(sd2, declared(latent::networks::declare_clip_text, clip, "cond_stage_model.transformer.text_model."));
    append(sd2, declared(latent::networks::declare_first_stage, latent::AutoencoderConfig{}, latent::stage_prefix));
    const ModelSpec found = detect_list(sd2).spec;
    CHECK(found.family == "sd2" && found.unet->num_head_channels == 64 && found.unet->use_linear_in_transformer);
    CHECK(found.unet->heads_at(0, 320) == 5 && found.unet->heads_at(3, 1280) == 20);
    CHECK(found.conditioners[0].clip.hidden_act == "gelu" && found.conditioners[0].clip.num_attention_heads == 16);
    CHECK(found.conditioners[0].clip.pad_token_id == 0 && found.conditioners[0].clip.skip_layers == 0);
    CHECK(found.guidance_scale == 9.0);
}

TEST(near_misses_are_refused_by_name) {
    CHECK(details_of({{"model.diffusion_model.joint_blocks.0.x.weight", {4, 4}}}, "found").find("Stable Diffusion 3") == 0);
    CHECK(details_of({{"double_blocks.0.img_attn.qkv.weight", {12, 4}}}, "found").find("Flux") == 0);
    CHECK(details_of({{"lora_unet_mid_block.lora_down.weight", {4, 4}}}, "found").find("a LoRA") == 0);
    CHECK(details_of({{"control_model.input_hint_block.0.weight", {16, 3, 3, 3}}}, "found").find("a ControlNet") == 0);
    CHECK(details_of({{"conv_first.weight", {64, 3, 3, 3}}, {"conv_body.weight", {64, 64, 3, 3}}}, "found").find("an ESRGAN") ==
          0);
    CHECK(details_of({{"image_proj.norm.weight", {4}}, {"ip_adapter.1.to_k_ip.weight", {4, 4}}}, "found").find("an IP-Adapter") ==
          0);
    CHECK(details_of({{"fc.weight", {4, 4}}}, "nearest") == "Stable Diffusion 1.x");
    List unclip = stable_diffusion_unet(4, 1024, true);
    add(unclip, "model.diffusion_model.label_emb.0.0", {1280, 2048});
    add(unclip, "model.diffusion_model.label_emb.0.2", {1280, 1280});
    CHECK(details_of(unclip, "found") == "Stable unCLIP");
}

TEST(changed_networks_are_refused) {
    List list = stable_diffusion_1();
    list.push_back({"model.diffusion_model.middle_block.1.gate.weight", {8}});
    CHECK(details_of(list, "found") == "model.diffusion_model.middle_block.1.gate.weight");
    list = stable_diffusion_1();
    list.erase(list.begin() + 20);
    CHECK_THROWS(detect_list(list), ErrorCode::model_format);
    list = stable_diffusion_1();
    for (auto & item : list) {
        if (item.first.find("middle_block.1.transformer_blocks.0.ff.net.2.weight") != std::string::npos)
            item.second = {1280, 2560};
    }
    CHECK_THROWS(detect_list(list), ErrorCode::model_format);
    // Half of the levels' widths: nobody knows its heads.
    list = stable_diffusion_1();
    for (auto & item : list) {
        if (item.first.compare(0, 22, "model.diffusion_model.") != 0) continue;
        for (int64_t & size : item.second) {
            if (size >= 320 && size != 768) size /= 2;
        }
    }
    try {
        detect_list(list);
        check::fail(__FILE__, __LINE__, "no error");
    } catch (const Error & e) {
        CHECK(e.code() == ErrorCode::unsupported_model);
        CHECK(Json::parse(e.details()).at("missing") == Json({"scaleFactor", "schedule", "unet.numHeads"}));
    }
}
