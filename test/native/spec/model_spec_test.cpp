#include "core/model_spec.h"
#include "check.h"

using latent::Error;
using latent::ErrorCode;
using latent::Json;
using latent::ModelSpec;

namespace {

ModelSpec sd1() {
    ModelSpec spec;
    spec.name = "Stable Diffusion 1.x";
    spec.family = "sd1";
    spec.unet.emplace();
    spec.first_stage.emplace();
    spec.conditioners.emplace_back();
    spec.conditioners[0].kind = "clip_text";
    spec.conditioners[0].prefix = "cond_stage_model.transformer.text_model.";
    return spec;
}

void refused(const char * pointer, const Json & value) {
    Json json = to_json(sd1());
    json[Json::json_pointer(pointer)] = value;
    try {
        latent::spec_from_json(json);
        check::fail(__FILE__, __LINE__, std::string(pointer) + " = " + value.dump() + " was accepted");
    } catch (const Error & e) {
        CHECK(e.code() == ErrorCode::model_format);
    }
}

}  // namespace

TEST(spec_json_is_camel_case_and_comes_back) {
    ModelSpec spec = sd1();
    spec.prediction = latent::Prediction::v;
    spec.schedule.betas = {};
    spec.unet->heads_per_level = {5, 10, 20, 20};
    spec.unet->disable_self_attentions = {true, false, true, false};
    spec.first_stage->attention_levels = {2, 3};
    spec.preview_factors = std::vector<double>(15, 0.25);
    const Json json = to_json(spec);
    CHECK(json.at("conditioningKey") == "crossattn" && json.at("prediction") == "v" && json.at("scaleFactor") == 0.18215);
    CHECK(json.at("unet").at("attention") == "spatial_transformer");
    CHECK(json.at("unet").at("disableSelfAttentions") == Json({true, false, true, false}));
    CHECK(json.at("conditioners").at(0).at("clip").at("hiddenAct") == "quick_gelu");
    CHECK(to_json(latent::spec_from_json(json)) == json);
    CHECK(to_json(latent::spec_from_json(latent::parse_json(json.dump(), "spec"))) == json);
}

TEST(spec_overrides_merge_objects_and_replace_lists) {
    ModelSpec spec = sd1();
    apply_overrides(spec, {{"unet", {{"numHeads", 4}, {"channelMult", {1, 2}}}},
                           {"prediction", "v_prediction"},
                           {"conditioners", {{{"clip", {{"skipLayers", 1}}}}}}});
    CHECK(spec.unet->num_heads == 4 && spec.unet->model_channels == 320 && (spec.unet->channel_mult == std::vector<int>{1, 2}));
    CHECK(spec.prediction == latent::Prediction::v);
    CHECK(spec.conditioners[0].clip.skip_layers == 1 && spec.conditioners[0].kind == "clip_text");
    apply_overrides(spec, Json());
    apply_overrides(spec, {{"unet", nullptr}, {"scaleFactor", 2}});
    CHECK(!spec.unet && spec.scale_factor == 2);
}

TEST(spec_names_of_earlier_files_are_still_read) {
    ModelSpec spec = sd1();
    const Json before = to_json(spec);
    apply_overrides(spec, {{"conditioners", {{{"input", "prompt"}}}}});
    CHECK(to_json(spec) == before);
    CHECK(!before.at("conditioners")[0].contains("input"));
}

TEST(spec_overrides_refuse_unknown_names_with_the_nearest) {
    ModelSpec spec = sd1();
    try {
        apply_overrides(spec, {{"unet", {{"numHead", 4}}}});
        check::fail(__FILE__, __LINE__, "no error");
    } catch (const Error & e) {
        CHECK(e.code() == ErrorCode::invalid_argument);
        CHECK(std::string(e.what()).find("unet.numHeads") != std::string::npos);
        CHECK(Json::parse(e.details()).at("nearest") == "unet.numHeads");
    }
    CHECK_THROWS(apply_overrides(spec, {{"Unet", Json::object()}}), ErrorCode::invalid_argument);
    CHECK_THROWS(apply_overrides(spec, {{"unet", {{"numHeads", "8"}}}}), ErrorCode::invalid_argument);
    CHECK_THROWS(apply_overrides(spec, {{"unet", {{"numHeads", 8.5}}}}), ErrorCode::invalid_argument);
    CHECK_THROWS(apply_overrides(spec, {{"unet", {{"numHeads", 1e12}}}}), ErrorCode::invalid_argument);
    CHECK_THROWS(apply_overrides(spec, {{"prediction", "noise"}}), ErrorCode::invalid_argument);
    CHECK_THROWS(apply_overrides(spec, Json::array()), ErrorCode::invalid_argument);
    CHECK_THROWS(apply_overrides(spec, {{"kind", "painting"}}), ErrorCode::invalid_argument);
}

TEST(spec_bounds) {
    CHECK(to_json(latent::spec_from_json(to_json(sd1()))) == to_json(sd1()));
    refused("/unet/modelChannels", 0);
    refused("/unet/modelChannels", 33);  // group norm of 32 groups
    refused("/unet/modelChannels", 1 << 24);
    refused("/unet/channelMult", Json::array());
    refused("/unet/channelMult", {1, 0});
    refused("/unet/channelMult", Json(std::vector<int>(40, 1)));
    refused("/unet/numHeads", 7);  // does not divide 320
    refused("/unet/numHeads", 0);
    refused("/unet/numHeadChannels", 48);
    refused("/unet/headsPerLevel", {8, 8});
    refused("/unet/numResBlocks", 1000);
    refused("/unet/transformerDepth", {1000000});
    refused("/unet/transformerDepth", {1, 2});
    refused("/unet/contextDim", 1024);  // the text encoder gives 768
    refused("/unet/outChannels", 3);    // the first stage takes 4
    refused("/unet/classEmbedding", "adm");
    refused("/firstStage/channels", 100);
    refused("/firstStage/attentionLevels", {4});
    refused("/firstStage/kind", "vae");
    refused("/firstStage/doubleZ", false);
    refused("/conditioners/0/clip/numAttentionHeads", 5);
    refused("/conditioners/0/clip/hiddenAct", "relu");
    refused("/conditioners/0/clip/eosTokenId", 49408);
    refused("/conditioners/0/clip/skipLayers", 12);
    refused("/schedule/betaStart", 0.0);
    refused("/schedule/betaStart", 0.5);
    refused("/schedule/betaSchedule", "cosine");
    refused("/schedule/timesteps", 0);
    refused("/schedule/betas", {0.1, 0.2});
    refused("/scaleFactor", 0.0);
    refused("/scaleFactor", -1.0);
    refused("/conditioningKey", "magic");
    refused("/previewFactors", {1.0, 2.0, 3.0});
    refused("/previewFactors", std::vector<double>(15, 1e9));
    refused("/newerField", 1);
    for (const char * kind : {"painting", "", "Text"}) refused("/kind", kind);
    for (const char * kind : {"class", "layout", "semantic"}) refused("/kind", kind);  // what these need is not there
}
