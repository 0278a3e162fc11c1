// Diffusers folders whose weights have other names than the usual ones, or lack a part; weights of types that nobody reads.
#include <filesystem>
#include <fstream>

#include "check.h"
#include "core/path.h"
#include "file_tensors.h"
#include "formats/model_files.h"
#include "golden.h"

using latent::Error;
using latent::ErrorCode;
using latent::Json;
using latent::formats::ModelParts;
using latent::formats::open_model;
using latent::formats::OpenedModel;

namespace {

struct DiffusersFolder {
    golden::TempFolder folder;
    ModelParts parts;

    DiffusersFolder() {
        golden::write_layout(golden::load("sd1"), "diffusers", folder.path());
        parts.model = folder.path();
    }

    void rename(const std::string & component, const std::string & from, const std::string & to) {
        std::filesystem::rename(latent::to_path(folder / (component + "/" + from)),
                                latent::to_path(folder / (component + "/" + to)));
    }
    void copy(const std::string & component, const std::string & from, const std::string & to) {
        std::filesystem::copy_file(latent::to_path(folder / (component + "/" + from)),
                                   latent::to_path(folder / (component + "/" + to)));
    }
    /// The weights file of a component, whatever the fixture calls it.
    std::string weights_of(const std::string & component) const {
        for (const std::string & name : latent::list_folder(folder / component)) {
            if (name.find(".safetensors") != std::string::npos || name.find(".bin") != std::string::npos) return name;
        }
        return "";
    }
    std::string source_of(const OpenedModel & model, size_t part) const { return model.files.at("sources").at(part); }
};

/// Code and details of a refusal; null where there is none.
Json refusal(const ModelParts & parts) {
    try {
        open_model(parts);
        return nullptr;
    } catch (const Error & error) {
        Json json = Json::parse(error.details());
        json["code"] = latent::code_name(error.code());
        json["message"] = error.what();
        return json;
    }
}

}  // namespace

TEST(any_variant_of_a_part_is_found) {
    DiffusersFolder model;
    const std::string plain = model.weights_of("unet");
    const std::string extension = plain.substr(plain.find('.'));
    for (const char * variant : {"bf16", "non_ema", "fp32"}) {
        const std::string name = "diffusion_pytorch_model." + std::string(variant) + extension;
        model.rename("unet", model.weights_of("unet"), name);
        const OpenedModel opened = open_model(model.parts);
        CHECK(opened.spec.kind == "text" && opened.spec.unet && opened.spec.first_stage);
        ModelParts asked = model.parts;
        asked.variant = variant;
        CHECK(open_model(asked).tensors->tensors().size() == opened.tensors->tensors().size());
    }
    model.copy("unet", model.weights_of("unet"), "diffusion_pytorch_model.ema" + extension);
    const Json several = refusal(model.parts);
    CHECK(several["code"] == "ERR_MODEL_FORMAT" && several["reason"] == "variant");
    CHECK((several["variants"] == Json{"ema", "fp32"}));
    ModelParts asked = model.parts;
    asked.variant = "ema";  // the other parts have plain weights only
    CHECK(open_model(asked).spec.kind == "text");
    asked.variant = "fp8";
    const Json absent = refusal(asked);
    CHECK(absent.is_object());
    asked.variant = "../x";
    CHECK(refusal(asked)["code"] == "ERR_INVALID_ARG");
}

TEST(a_variant_that_no_part_has_is_refused) {
    DiffusersFolder model;
    model.parts.variant = "non_ema";
    const Json refused = refusal(model.parts);
    CHECK(refused["code"] == "ERR_INVALID_ARG" && refused["variant"] == "non_ema");
}

TEST(a_listed_part_without_weights_is_named) {
    for (const char * component : {"unet", "vae", "text_encoder"}) {
        DiffusersFolder model;
        if (latent::path_kind(model.folder / "model_index.json") != latent::PathKind::file) {
            std::ofstream(latent::to_path(model.folder / "model_index.json"))
                << R"({"unet":["diffusers","UNet2DConditionModel"],"vae":["diffusers","AutoencoderKL"],)"
                   R"("text_encoder":["transformers","CLIPTextModel"],"safety_checker":[null,null]})";
        }
        model.rename(component, model.weights_of(component), "diffusion_pytorch_model.onnx");
        const Json unreadable = refusal(model.parts);
        CHECK(unreadable["code"] == "ERR_MODEL_FORMAT" && unreadable["component"] == component);
        CHECK(unreadable["message"].get<std::string>().find(component) != std::string::npos);
        std::filesystem::remove_all(latent::to_path(model.folder / component));
        const Json missing = refusal(model.parts);
        CHECK(missing["code"] == "ERR_MODEL_FORMAT" && missing["component"] == component);
    }
    // What the caller gives in its place need not be there, and what was left out on purpose neither.
    DiffusersFolder model;
    const std::string apart = model.folder / "apart.safetensors";
    std::filesystem::rename(latent::to_path(model.folder / ("unet/" + model.weights_of("unet"))), latent::to_path(apart));
    model.parts.unet = apart;
    ModelParts stage = model.parts;
    stage.unet.clear();
    stage.first_stage_only = true;
    CHECK(open_model(stage).spec.kind == "autoencoder");
}

TEST(types_that_nobody_reads_matter_only_in_weights_that_are_taken) {
    const golden::TempFolder folder;
    const golden::Case c = golden::load("sd1");
    std::vector<golden::FileTensor> tensors = file_tensors(c, "compvis");
    tensors.push_back({"some.extra.phase", latent::DType::c64, {2}, std::vector<uint8_t>(16)});
    ModelParts parts;
    parts.model = folder / "extra.safetensors";
    parts.config = c.config();
    golden::write_safetensors(parts.model, tensors);
    CHECK(open_model(parts).spec.kind == "text");
    for (golden::FileTensor & tensor : tensors) {
        if (tensor.name != "model.diffusion_model.out.0.weight") continue;
        tensor.dtype = latent::DType::c64;
        tensor.data.resize(tensor.data.size() * 2);
    }
    golden::write_safetensors(parts.model, tensors);
    const Json refused = refusal(parts);
    CHECK(refused["code"] == "ERR_UNSUPPORTED_MODEL" && refused["tensor"] == "model.diffusion_model.out.0.weight");
    CHECK(refused["found"] == "c64");
}
