#include <algorithm>
#include <functional>

#include "check.h"
#include "formats/convert/convert.h"
#include "formats/model_files.h"
#include "golden.h"
#include "published_parts.h"

// The tiny checkpoints of every system without their configuration: what names and shapes alone say, and what is refused when a
// file is nearly one of them.

using golden::FileTensor;
using latent::Error;
using latent::ErrorCode;
using latent::Json;
using latent::formats::ModelParts;
using latent::formats::open_model;
using latent::formats::OpenedModel;

namespace {

struct Tiny {
    const char * name;
    const char * kind;
    const char * conditioning_key;
    std::vector<const char *> missing;  // what neither weights nor tables say
};

const std::vector<const char *> heads = {"unet.numHeads"};
const std::vector<const char *> heads_and_scale = {"scaleFactor", "unet.numHeads"};
const std::vector<const char *> clip = {"conditioners.0.clip.hiddenAct", "conditioners.0.clip.numAttentionHeads", "scaleFactor",
                                        "unet.numHeads"};
const std::vector<const char *> open_clip_fields = {"conditioners.0.clip.numAttentionHeads", "scaleFactor", "unet.numHeads"};

// Sizes of no public model: the kind is seen, head counts never are.
const std::vector<Tiny> tiny = {
    {"ldm-uncond", "unconditional", "none", heads},
    {"ldm-churches", "unconditional", "none", heads},
    {"ldm-cin256", "class", "crossattn", heads},
    {"ldm-cin256-v2", "class", "crossattn", heads},
    {"ldm-txt2img", "text", "crossattn", heads_and_scale},
    {"ldm-text2img256", "text", "crossattn", heads},
    {"ldm-layout2img", "layout", "crossattn", heads},
    {"ldm-semantic", "semantic", "concat", heads},
    {"ldm-sr", "superres", "concat", heads},
    {"ldm-inpaint-big", "inpaint", "concat", heads},
    {"ldm-rdm", "rdm", "crossattn", heads_and_scale},
    {"sd-x4-upscaler", "superres", "hybrid", open_clip_fields},
    {"sd1-inpaint", "inpaint", "hybrid", clip},
    {"sd2-inpaint", "inpaint", "hybrid", open_clip_fields},
};

Json missing_of(const ModelParts & parts) {
    try {
        open_model(parts);
    } catch (const Error & e) {
        CHECK(e.code() == ErrorCode::unsupported_model);
        return Json::parse(e.details()).value("missing", Json());
    }
    return Json("nothing was missing");
}

/// A spec that fills in what a tiny model does not say.
Json told(const Tiny & t) {
    Json spec = {{"unet", {{"numHeads", 4}}}, {"scaleFactor", 0.5}};
    if (t.missing.size() > 2) spec["conditioners"] = {{{"clip", {{"numAttentionHeads", 4}, {"hiddenAct", "gelu"}}}}};
    if (std::string(t.name) == "sd-x4-upscaler") spec["conditioners"].push_back(Json::object());
    return spec;
}

std::vector<FileTensor> tensors_of(const std::string & name, const std::string & skip = "") {
    std::vector<FileTensor> list;
    for (const latent::TensorInfo & info : golden::keys(golden::load(name), "compvis")) {
        if (info.name == skip) continue;
        FileTensor t{info.name, latent::DType::f16, info.shape, {}};
        t.data.resize(static_cast<size_t>(info.elements()) * 2);
        list.push_back(std::move(t));
    }
    return list;
}

/// The code that opening a changed file ends with; internal where it opens.
ErrorCode opened(const std::string & name, const std::function<void(std::vector<FileTensor> &)> & change) {
    const golden::TempFolder folder;
    std::vector<FileTensor> list = tensors_of(name);
    change(list);
    golden::write_safetensors(folder / "model.safetensors", list);
    ModelParts parts;
    parts.model = folder / "model.safetensors";
    const Json config = golden::load(name).json.value("config", Json());
    if (config.contains("model")) parts.config = config;
    try {
        open_model(parts);
    } catch (const Error & e) {
        return e.code();
    }
    return ErrorCode::internal;
}

FileTensor & named(std::vector<FileTensor> & list, const std::string & name) {
    for (FileTensor & t : list) {
        if (t.name == name) return t;
    }
    throw Error(ErrorCode::internal, "no tensor " + name);
}

void reshape(FileTensor & t, std::vector<int64_t> shape) {
    size_t count = 1;
    for (const int64_t n : shape) count *= static_cast<size_t>(n);
    t.shape = std::move(shape);
    t.data.resize(2 * count);
}

}  // namespace

TEST(tiny_systems_by_names_and_shapes_alone) {
    for (const Tiny & t : tiny) {
        const golden::TempFolder folder;
        ModelParts parts;
        parts.model = golden::write_layout(golden::load(t.name), "compvis", folder.path());
        if (missing_of(parts) != Json(t.missing)) check::fail(t.name, 0, "misses " + missing_of(parts).dump());
        parts.spec = told(t);
        const OpenedModel model = open_model(parts);
        if (model.spec.kind != t.kind || model.spec.conditioning_key != t.conditioning_key)
            check::fail(t.name, 0, "is taken for " + model.spec.kind + ", " + model.spec.conditioning_key);
        // With its configuration the kind is the same, and what was seen is what it says.
        parts.spec = Json();
        parts.config = golden::load(t.name).config();
        const OpenedModel configured = open_model(parts);
        CHECK(configured.spec.kind == t.kind && configured.spec.conditioning_key == t.conditioning_key);
        CHECK(configured.spec.conditioners.size() == model.spec.conditioners.size());
        for (size_t i = 0; i < model.spec.conditioners.size(); ++i) {
            CHECK(configured.spec.conditioners[i].kind == model.spec.conditioners[i].kind);
            if (configured.spec.conditioners[i].params != model.spec.conditioners[i].params)
                check::fail(
                    t.name, 0,
                    configured.spec.conditioners[i].params.dump() + " against " + model.spec.conditioners[i].params.dump());
        }
    }
}

// Cross-attention without a conditioner, but something against a retrieval-augmented model.
TEST(near_misses_of_retrieval_augmented_models) {
    const auto kind = [](const std::function<void(std::vector<FileTensor> &)> & change) {
        const golden::TempFolder folder;
        std::vector<FileTensor> list = tensors_of("ldm-rdm");
        change(list);
        golden::write_safetensors(folder / "model.safetensors", list);
        ModelParts parts;
        parts.model = folder / "model.safetensors";
        parts.spec = {{"unet", {{"numHeads", 4}}}, {"scaleFactor", 0.5}};
        return open_model(parts).spec.kind;
    };
    const auto add = [](const char * name, std::vector<int64_t> shape) {
        return [=](std::vector<FileTensor> & list) {
            list.push_back({name, latent::DType::f16, {}, {}});
            reshape(list.back(), shape);
        };
    };
    CHECK(kind([](std::vector<FileTensor> &) {}) == "rdm");
    CHECK(kind(add("cond_stage_model.encoder.weight", {8, 8})) == "text");
    CHECK(kind(add("cond_stage_model.embedding.weight", {10, 64})) == "class");
    CHECK(kind([](std::vector<FileTensor> & list) {
              list.erase(std::remove_if(list.begin(), list.end(),
                                        [](const FileTensor & t) { return t.name.rfind("first_stage_model.", 0) == 0; }),
                         list.end());
          }) == "text");
}

TEST(clip_beside_a_checkpoint_is_no_tower_of_its_own) {
    using latent::formats::Part;
    const auto kind = [](const List & checkpoint, bool beside) {
        std::vector<latent::formats::PartSource> sources = {{std::make_shared<HeaderSource>(checkpoint), Part::whole}};
        if (beside) sources.push_back({std::make_shared<HeaderSource>(clip_l("text_model.")), Part::text});
        const latent::formats::Detection found = detect(latent::formats::canonicalise(sources));
        return found.spec.kind + " " + std::to_string(found.spec.conditioners.size());
    };
    List checkpoint;
    for (const latent::TensorInfo & info : golden::keys(golden::load("ldm-rdm"), "compvis")) {
        checkpoint.push_back({info.name, info.shape});
    }
    CHECK(kind(checkpoint, false) == "rdm 1" && kind(checkpoint, true) == "rdm 2");
    List own = checkpoint;
    const List tower = clip_l("cond_stage_model.transformer.text_model.");
    own.insert(own.end(), tower.begin(), tower.end());
    CHECK(kind(own, false) == "text 1" && kind(own, true) == "text 1");  // also where the other one replaces it
    List without_stage;
    for (const auto & item : checkpoint) {
        if (item.first.rfind("first_stage_model.", 0) != 0) without_stage.push_back(item);
    }
    CHECK(kind(without_stage, true) == "text 1");
}

TEST(what_conditioners_need_at_run_time) {
    const auto params = [](const char * name, size_t index) {
        const golden::TempFolder folder;
        ModelParts parts;
        parts.model = golden::write_layout(golden::load(name), "compvis", folder.path());
        parts.config = golden::load(name).config();
        return open_model(parts).spec.conditioners.at(index).params;
    };
    CHECK(params("ldm-cin256-v2", 0) == Json({{"classes", 1001}, {"embedDim", 64}, {"nullClass", 1000}}));
    CHECK(params("ldm-cin256", 0) == Json({{"classes", 1000}, {"embedDim", 64}}));
    const Json layout = params("ldm-layout2img", 0);
    CHECK(layout.at("vocabSize") == 8192 && layout.at("maxLength") == 92 && layout.at("classes") == 340);
    CHECK(layout.at("groupFlag") == true && layout.at("attributeFlags") == true && layout.at("numHeads") == 8 &&
          layout.at("headDim") == 64);
    CHECK(params("ldm-semantic", 0) == Json({{"classes", 182}, {"outChannels", 3}, {"stages", 2}, {"bias", false}}));
    const Json noise = params("sd-x4-upscaler", 1);
    CHECK(noise.at("maxNoiseLevel") == 350 && noise.at("noiseLevel") == 20 && noise.at("timesteps") == 1000);
    CHECK_NEAR(noise.at("betaStart").get<double>(), 0.0001, 0);
    CHECK_NEAR(noise.at("betaEnd").get<double>(), 0.02, 0);
}

TEST(near_misses_of_the_systems) {
    using Tensors = std::vector<FileTensor>;
    const auto without = [](const std::string & name) {
        return [name](Tensors & list) {
            for (size_t i = 0; i < list.size(); ++i) {
                if (list[i].name == name) return void(list.erase(list.begin() + static_cast<std::ptrdiff_t>(i)));
            }
            throw Error(ErrorCode::internal, "no tensor " + name);
        };
    };
    const auto shaped = [](const std::string & name, const std::vector<int64_t> & shape) {
        return [=](Tensors & list) { reshape(named(list, name), shape); };
    };
    const auto with = [](const std::string & name, const std::vector<int64_t> & shape) {
        return [=](Tensors & list) {
            list.push_back({name, latent::DType::f16, {}, {}});
            reshape(list.back(), shape);
        };
    };
    const std::string bert = "cond_stage_model.transformer.attn_layers.layers.", unet = "model.diffusion_model.",
                      stage = "first_stage_model.";
    CHECK(opened("ldm-txt2img", [](Tensors &) {}) == ErrorCode::internal);

    // A tensor that is not there.
    CHECK(opened("ldm-txt2img", without(bert + "2.1.to_k.weight")) == ErrorCode::model_format);
    CHECK(opened("ldm-txt2img", without("cond_stage_model.transformer.pos_emb.emb.weight")) == ErrorCode::model_format);
    CHECK(opened("ldm-txt2img", without("cond_stage_model.transformer.norm.bias")) == ErrorCode::model_format);
    CHECK(opened("ldm-txt2img", without("cond_stage_model.transformer.to_logits.bias")) == ErrorCode::internal);  // not needed
    CHECK(opened("ldm-uncond", without(stage + "quant_conv.weight")) == ErrorCode::model_format);
    CHECK(opened("ldm-uncond", without(stage + "encoder.down.1.block.0.conv1.weight")) == ErrorCode::model_format);
    CHECK(opened("ldm-uncond", without(unet + "middle_block.1.qkv.bias")) == ErrorCode::model_format);
    CHECK(opened("ldm-churches", without(unet + "input_blocks.3.0.in_layers.2.weight")) != ErrorCode::internal);

    // One of another shape.
    CHECK(opened("ldm-cin256", shaped("cond_stage_model.embedding.weight", {1000, 63})) == ErrorCode::model_format);
    CHECK(opened("ldm-cin256", shaped("cond_stage_model.embedding.weight", {64})) == ErrorCode::model_format);
    CHECK(opened("ldm-semantic", shaped("cond_stage_model.channel_mapper.weight", {4, 182, 1, 1})) == ErrorCode::model_format);
    CHECK(opened("ldm-layout2img", shaped(bert + "3.1.net.0.0.weight", {128, 64})) == ErrorCode::model_format);
    CHECK(opened("ldm-layout2img", shaped("cond_stage_model.transformer.pos_emb.emb.weight", {77, 64})) ==
          ErrorCode::model_format);  // its configuration says 92
    CHECK(opened("ldm-uncond", shaped(stage + "quantize.embedding.weight", {256, 4})) == ErrorCode::model_format);
    CHECK(opened("sd-x4-upscaler", shaped(unet + "label_emb.weight", {1000, 64})) == ErrorCode::model_format);
    CHECK(opened("ldm-rdm", shaped(unet + "out.2.weight", {15, 32, 3, 3})) == ErrorCode::model_format);

    // An odd level, or a layer too many.
    CHECK(opened("ldm-uncond", with(unet + "input_blocks.12.0.op.weight", {128, 128, 3, 3})) == ErrorCode::unsupported_model);
    CHECK(opened("ldm-uncond", with(stage + "decoder.up.3.block.0.conv1.weight", {128, 128, 3, 3})) ==
          ErrorCode::unsupported_model);
    CHECK(opened("ldm-uncond", with(stage + "encoder.down.3.block.0.conv1.weight", {128, 128, 3, 3})) ==
          ErrorCode::unsupported_model);
    CHECK(opened("ldm-txt2img", with(bert + "6.0.weight", {64})) == ErrorCode::unsupported_model);
    CHECK(opened("ldm-txt2img", with(bert + "2.1.to_gate.weight", {512, 64})) == ErrorCode::unsupported_model);

    // Numbers that no network has.
    CHECK(opened("ldm-cin256", shaped("cond_stage_model.embedding.weight", {})) == ErrorCode::model_format);
    CHECK(opened("ldm-txt2img", shaped("cond_stage_model.transformer.token_emb.weight", {30522, 0})) == ErrorCode::model_format);
}

TEST(configurations_of_conditioners_are_hostile_too) {
    const auto with_config = [](const char * name, const std::function<void(Json &)> & change) {
        const golden::TempFolder folder;
        ModelParts parts;
        parts.model = golden::write_layout(golden::load(name), "compvis", folder.path());
        parts.config = golden::load(name).config();
        change(parts.config["model"]["params"]);
        try {
            open_model(parts);
        } catch (const Error & e) {
            return e.code();
        }
        return ErrorCode::internal;
    };
    const auto cond = [&](const char * name, const char * key, const Json & value) {
        return with_config(name, [&](Json & p) { p["cond_stage_config"]["params"][key] = value; });
    };
    CHECK(cond("ldm-txt2img", "n_embed", 64) == ErrorCode::internal);
    for (const Json & value : {Json(0), Json(-5), Json(1 << 30), Json(2147483647), Json(80), Json("wide"), Json(1e300)}) {
        CHECK(cond("ldm-txt2img", "n_embed", value) == ErrorCode::model_format);
        CHECK(cond("ldm-txt2img", "n_layer", value) == ErrorCode::model_format);
        CHECK(cond("ldm-txt2img", "max_seq_len", value) == ErrorCode::model_format);
    }
    CHECK(cond("ldm-semantic", "n_stages", 40) == ErrorCode::model_format);
    CHECK(cond("ldm-semantic", "n_stages", "two") == ErrorCode::model_format);
    CHECK(cond("ldm-semantic", "method", "nearest") == ErrorCode::unsupported_model);
    CHECK(cond("ldm-semantic", "multiplier", 0.25) == ErrorCode::unsupported_model);
    const auto low_scale = [&](const char * key, const Json & value) {
        return with_config("sd-x4-upscaler", [&](Json & p) {
            Json & params = p["low_scale_config"]["params"];
            (std::string(key) == "max_noise_level" ? params : params["noise_schedule_config"])[key] = value;
        });
    };
    CHECK(low_scale("max_noise_level", 5000) == ErrorCode::internal);  // no more than there are timesteps
    CHECK(low_scale("max_noise_level", -1) == ErrorCode::model_format);
    CHECK(low_scale("linear_start", -1.0) == ErrorCode::model_format);
    CHECK(low_scale("linear_end", 2.0) == ErrorCode::model_format);
    CHECK(low_scale("timesteps", 1 << 30) == ErrorCode::model_format);
    CHECK(low_scale("beta_schedule", "cosine") == ErrorCode::unsupported_model);
}

TEST(tables_are_never_quantised) {
    using latent::DType;
    const golden::TempFolder folder;
    for (const auto & [name, table] : {std::pair<const char *, const char *>{"ldm-cin256", "cond_stage_model.embedding.weight"},
                                       {"ldm-cin256", "first_stage_model.quantize.embedding.weight"},
                                       {"ldm-semantic", "cond_stage_model.channel_mapper.weight"},
                                       {"ldm-txt2img", "cond_stage_model.transformer.pos_emb.emb.weight"}}) {
        ModelParts parts;
        parts.model = golden::write_layout(golden::load(name), "compvis", folder.path());
        parts.config = golden::load(name).config();
        const OpenedModel model = open_model(parts);
        latent::formats::ConvertOptions options;
        for (const DType type : {DType::q8_0, DType::q4_0, DType::f16}) {
            options.type = type;
            latent::formats::convert(model, folder / "out.gguf", options, {});
            ModelParts written;
            written.model = folder / "out.gguf";
            const OpenedModel back = open_model(written);
            CHECK(back.tensors->find(table) && back.tensors->find(table)->dtype == DType::f32);
            CHECK(back.tensors->tensors().size() == model.tensors->tensors().size());
            CHECK(!back.tensors->has("cond_stage_model.transformer.to_logits.weight"));
            Json was = to_json(model.spec), is = to_json(back.spec);
            for (Json * json : {&was, &is}) json->erase("naming"), json->erase("useEma");
            CHECK(was == is);
        }
    }
}
