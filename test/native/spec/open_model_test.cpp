#include <cmath>
#include <map>
#include <set>

#include "check.h"
#include "core/path.h"
#include "formats/model_files.h"
#include "golden.h"

using latent::Error;
using latent::ErrorCode;
using latent::Json;
using latent::TensorInfo;
using latent::UNetAttention;
using latent::formats::ModelParts;
using latent::formats::open_model;
using latent::formats::OpenedModel;

namespace {

bool starts(const std::string & text, const char * prefix) {
    return text.rfind(prefix, 0) == 0;
}

/// The canonical name of a tensor of a CompVis layout, "" where it is no network weight.
std::string canonical(const std::string & key) {
    if (key.find("position_ids") != std::string::npos || starts(key, "loss.")) return "";
    if (starts(key, "model.diffusion_model.") || starts(key, "first_stage_model.") || starts(key, "cond_stage_model."))
        return key;
    if (starts(key, "encoder.") || starts(key, "decoder.") || starts(key, "quant_conv.") || starts(key, "post_quant_conv.")) {
        return "first_stage_model." + key;
    }
    return "";
}

/// All tensors of the case's CompVis layout are there, with its shapes and its values.
void check_tensors(const golden::Case & c, const OpenedModel & model, bool values = true) {
    std::set<std::string> wanted;
    for (const TensorInfo & stored : golden::keys(c, "compvis")) {
        const std::string name = canonical(stored.name);
        if (name.empty()) continue;
        wanted.insert(name);
        const TensorInfo * tensor = model.tensors->find(name);
        if (!tensor) {
            check::fail(__FILE__, __LINE__, "missing " + name);
            continue;
        }
        if (tensor->shape != stored.shape) check::fail(__FILE__, __LINE__, "wrong shape of " + name);
        if (!values || stored.elements() > 200000) continue;
        const golden::Values expected = golden::weight(c, "compvis", stored.name);
        if (model.tensors->read_f32(*tensor) != expected.data) check::fail(__FILE__, __LINE__, "wrong values of " + name);
    }
    CHECK(model.tensors->tensors().size() == wanted.size());
}

void check_sd1_spec(const OpenedModel & model) {
    const latent::ModelSpec & s = model.spec;
    CHECK(s.kind == "text" && s.family == "sd1" && s.conditioning_key == "crossattn");
    CHECK(s.prediction == latent::Prediction::eps && !s.use_ema);
    CHECK_NEAR(s.scale_factor, 0.18215, 0);
    CHECK_NEAR(s.schedule.beta_start, 0.00085, 0);
    CHECK_NEAR(s.schedule.beta_end, 0.012, 0);
    CHECK(s.schedule.beta_schedule == "scaled_linear" && s.schedule.timesteps == 1000 && s.schedule.betas.empty());
    CHECK(s.image_size == 512);
    const latent::UNetConfig & u = *s.unet;
    CHECK(u.in_channels == 4 && u.out_channels == 4 && u.model_channels == 32 && u.num_res_blocks == 2);
    CHECK((u.channel_mult == std::vector<int>{1, 2, 4, 4}) && (u.attention_resolutions == std::vector<int>{4, 2, 1}));
    CHECK(u.attention == UNetAttention::spatial_transformer && u.context_dim == 32 && u.depth_at(0) == 1 &&
          u.depth_middle() == 1);
    CHECK(u.heads_at(0, 32) == 8 && u.heads_at(3, 128) == 8);
    CHECK(!u.use_linear_in_transformer && !u.scale_shift_norm && !u.resblock_updown && u.class_embedding.empty());
    const latent::AutoencoderConfig & a = *s.first_stage;
    CHECK(a.kind == "kl" && a.channels == 32 && (a.channel_mult == std::vector<int>{1, 2, 4, 4}) && a.num_res_blocks == 2);
    CHECK(a.attention_levels.empty() && a.middle_attention && a.double_z && a.z_channels == 4 && a.embed_dim == 4 &&
          a.quant_conv);
    CHECK(s.downsampling() == 8 && s.latent_channels() == 4);
    CHECK(s.conditioners.size() == 1);
    const latent::ConditionerConfig & c = s.conditioners.at(0);
    CHECK(c.kind == "clip_text" && c.prefix == "cond_stage_model.transformer.text_model." && c.role == "crossattn");
    CHECK(c.clip.hidden_size == 32 && c.clip.intermediate_size == 128 && c.clip.num_hidden_layers == 3 &&
          c.clip.num_attention_heads == 4);
    CHECK(c.clip.hidden_act == "quick_gelu" && c.clip.vocab_size == 49408 && c.clip.max_position_embeddings == 77);
    CHECK(c.clip.bos_token_id == 49406 && c.clip.eos_token_id == 49407 && c.clip.pad_token_id == 49407);
    CHECK(c.clip.skip_layers == 0 && c.clip.final_norm && c.clip.projection_dim == 0);
}

OpenedModel open(const std::string & path, const Json & config = Json(), const Json & spec = Json()) {
    ModelParts parts;
    parts.model = path;
    parts.config = config;
    parts.spec = spec;
    return open_model(parts);
}

}  // namespace

TEST(sd1_compvis_with_its_config) {
    const golden::Case c = golden::load("sd1");
    const golden::TempFolder folder;
    const OpenedModel model = open(golden::write_layout(c, "compvis", folder.path()), c.config());
    check_sd1_spec(model);
    check_tensors(c, model);
    CHECK(model.spec.naming == "compvis");
}

TEST(sd1_merged_without_text_model_and_buffers) {
    const golden::Case c = golden::load("sd1");
    const golden::TempFolder folder;
    const OpenedModel model = open(golden::write_layout(c, "merged", folder.path()), c.config());
    check_sd1_spec(model);
    check_tensors(c, model);
}

TEST(sd1_diffusers_folder_by_its_own_configurations) {
    const golden::Case c = golden::load("sd1");
    const golden::TempFolder folder;
    golden::write_layout(c, "diffusers", folder.path());
    const OpenedModel model = open(folder.path());
    check_sd1_spec(model);
    check_tensors(c, model);
    CHECK(model.spec.naming == "diffusers");
}

TEST(sd1_text_encoder_of_transformers_5) {
    const golden::Case c = golden::load("sd1");
    const golden::TempFolder folder;
    golden::write_layout(c, "diffusers", folder.path());
    golden::write_layout(c, "text-encoder-unprefixed", folder.path());
    const OpenedModel model = open(folder.path());
    check_sd1_spec(model);
    check_tensors(c, model);
}

TEST(sd1_from_parts) {
    const golden::Case c = golden::load("sd1");
    const golden::TempFolder folder;
    golden::write_layout(c, "diffusers", folder.path());
    ModelParts parts;
    parts.unet = folder / "unet";
    parts.vae = folder / "vae";
    parts.text_encoder = folder / "text_encoder";
    parts.spec = {{"schedule", {{"betaStart", 0.00085}, {"betaEnd", 0.012}}}};
    const OpenedModel model = open_model(parts);
    check_sd1_spec(model);
    check_tensors(c, model);
}

TEST(sd1_with_another_first_stage) {
    const golden::Case c = golden::load("sd1"), stage = golden::load("stage-kl-f8");
    const golden::TempFolder folder, other;
    ModelParts parts;
    parts.model = golden::write_layout(c, "compvis", folder.path());
    parts.config = c.config();
    parts.vae = golden::write_layout(stage, "compvis", other.path());
    const OpenedModel model = open_model(parts);
    check_sd1_spec(model);
    const std::string key = "encoder.conv_in.weight";
    CHECK(model.tensors->read_f32(*model.tensors->find("first_stage_model." + key)) ==
          golden::weight(stage, "compvis", key).data);
    const std::string unet = "model.diffusion_model.out.2.weight";
    CHECK(model.tensors->read_f32(*model.tensors->find(unet)) == golden::weight(c, "compvis", unet).data);
    const golden::TempFolder third;  // a whole diffusers folder gives its component
    golden::write_layout(c, "diffusers", third.path());
    parts.vae = third.path();
    check_tensors(c, open_model(parts));
    parts.vae = golden::write_layout(golden::load("stage-kl-f4"), "compvis", other.path());
    CHECK_THROWS(open_model(parts), ErrorCode::model_format);  // three channels
}

TEST(sd1_without_configuration_is_not_guessed) {
    const golden::Case c = golden::load("sd1");
    const golden::TempFolder folder;
    const std::string path = golden::write_layout(c, "compvis", folder.path());
    try {
        open(path);
        check::fail(__FILE__, __LINE__, "no error");
    } catch (const Error & e) {
        CHECK(e.code() == ErrorCode::unsupported_model);
        const Json details = Json::parse(e.details());
        CHECK(details.at("missing") ==
              Json({"conditioners.0.clip.hiddenAct", "conditioners.0.clip.numAttentionHeads", "scaleFactor", "unet.numHeads"}));
        CHECK(details.at("nearest") == "sd1");
    }
    const Json spec = {{"unet", {{"numHeads", 8}}},
                       {"scaleFactor", 0.18215},
                       {"conditioners", {{{"clip", {{"numAttentionHeads", 4}, {"hiddenAct", "quick_gelu"}}}}}}};
    const OpenedModel model = open(path, Json(), spec);
    check_sd1_spec(model);
    check_tensors(c, model, false);
}

TEST(sd1_small_signal) {
    const golden::Case c = golden::load("sd1-small-signal");
    const golden::TempFolder folder;
    const OpenedModel model = open(golden::write_layout(c, "compvis", folder.path()), c.config());
    check_sd1_spec(model);
    check_tensors(c, model);
}

TEST(a_configuration_that_contradicts_the_tensors) {
    const golden::Case c = golden::load("sd1");
    const golden::TempFolder folder;
    const std::string path = golden::write_layout(c, "compvis", folder.path());
    Json config = c.config();
    config["model"]["params"]["unet_config"]["params"]["channel_mult"] = {1, 2, 4};
    CHECK_THROWS(open(path, config), ErrorCode::model_format);
    config = c.config();
    config["model"]["params"]["unet_config"]["params"]["num_heads"] = 5;
    CHECK_THROWS(open(path, config), ErrorCode::model_format);
    config = c.config();
    config["model"]["params"]["unet_config"]["params"]["model_channels"] = 1e300;
    CHECK_THROWS(open(path, config), ErrorCode::model_format);
    config = c.config();
    config["model"]["params"]["unet_config"]["params"]["channel_mult"] = "many";
    CHECK_THROWS(open(path, config), ErrorCode::model_format);
    config = c.config();
    config["model"]["params"]["cond_stage_config"]["target"] = "ldm.modules.encoders.modules.FrozenT5Embedder";
    CHECK_THROWS(open(path, config), ErrorCode::unsupported_model);
    CHECK_THROWS(open(path, c.config(), {{"unet", {{"numHead", 8}}}}), ErrorCode::invalid_argument);
    CHECK_THROWS(open(path, Json("sd1")), ErrorCode::model_format);
    ModelParts parts;
    parts.model = path;
    parts.config = c.config();
    parts.ema = true;
    CHECK_THROWS(open_model(parts), ErrorCode::invalid_argument);
}

TEST(first_stages_by_names_and_shapes_alone) {
    struct Expected {
        const char * name;
        int embed;
        std::vector<int> mult, attention;
        double scale;
    };
    const std::vector<Expected> cases = {{"stage-kl-f4", 3, {1, 2, 4}, {}, 1.0},
                                         {"stage-kl-f8", 4, {1, 2, 4, 4}, {}, 0.18215},
                                         {"stage-kl-f16", 16, {1, 1, 2, 2, 4}, {4}, 1.0},
                                         {"stage-kl-f32", 64, {1, 1, 2, 2, 4, 4}, {4, 5}, 1.0}};
    for (const Expected & e : cases) {
        const golden::Case c = golden::load(e.name);
        for (const auto & layout : c.json.at("layouts").items()) {
            for (const bool with_config : {false, true}) {
                const golden::TempFolder folder;
                ModelParts parts;
                parts.model = golden::write_layout(c, layout.key(), folder.path());
                parts.first_stage_only = with_config;
                if (with_config) parts.config = c.config();
                // Golden's old-names folder keeps its weights as .bin.
                const OpenedModel model = open_model(parts);
                const latent::AutoencoderConfig & a = *model.spec.first_stage;
                CHECK(model.spec.kind == "autoencoder" && !model.spec.unet && model.spec.conditioners.empty());
                CHECK(a.kind == "kl" && a.channels == 32 && a.channel_mult == e.mult && a.attention_levels == e.attention);
                CHECK(a.embed_dim == e.embed && a.z_channels == e.embed && a.double_z && a.middle_attention && a.quant_conv);
                CHECK_NEAR(model.spec.scale_factor, e.scale, 0);
                check_tensors(c, model);
            }
        }
    }
}

TEST(the_first_stage_of_a_whole_checkpoint) {
    const golden::Case c = golden::load("sd1");
    const golden::TempFolder folder;
    ModelParts parts;
    parts.model = golden::write_layout(c, "compvis", folder.path());
    parts.first_stage_only = true;
    OpenedModel model = open_model(parts);
    CHECK(model.spec.kind == "autoencoder" && model.spec.first_stage && !model.spec.unet);
    CHECK(model.tensors->tensors().size() == 248);
    CHECK_NEAR(model.spec.scale_factor, 0.18215, 0);
    const golden::TempFolder other;
    golden::write_layout(c, "diffusers", other.path());
    parts.model = other.path();
    model = open_model(parts);
    CHECK(model.tensors->tensors().size() == 248 && model.spec.kind == "autoencoder");
}
