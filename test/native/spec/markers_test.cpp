// What files say of their prediction beside the weights, and what of it counts.
#include <filesystem>
#include <fstream>

#include "check.h"
#include "core/path.h"
#include "file_tensors.h"
#include "fixture.h"
#include "formats/convert/convert.h"
#include "formats/model_files.h"
#include "formats/open.h"
#include "formats/spec/markers.h"
#include "golden.h"

using latent::Error;
using latent::ErrorCode;
using latent::Json;
using latent::Prediction;
using latent::formats::ModelParts;
using latent::formats::open_model;
using latent::formats::prediction_markers;
using latent::formats::PredictionMarkers;

namespace {

/// The case's model in one file with further tensors and metadata; opened with its configuration.
class MarkedModel {
public:
    explicit MarkedModel(std::vector<golden::FileTensor> markers, const Json & metadata = Json()) : case_(golden::load("sd1")) {
        std::vector<golden::FileTensor> tensors = file_tensors(case_, "compvis");
        for (golden::FileTensor & marker : markers) {
            for (golden::FileTensor & tensor : tensors) {
                if (tensor.name == marker.name) tensor = marker, marker.name.clear();
            }
            if (!marker.name.empty()) tensors.push_back(std::move(marker));
        }
        parts.model = folder / "marked.safetensors";
        parts.config = case_.config();
        golden::write_safetensors(parts.model, tensors, metadata);
    }

    latent::ModelSpec spec() const { return open_model(parts).spec; }

    golden::TempFolder folder;
    ModelParts parts;

private:
    golden::Case case_;
};

golden::FileTensor empty(const char * name) {
    return {name, latent::DType::f32, {0}, {}};
}

golden::FileTensor scalar(const char * name, float value) {
    golden::FileTensor tensor{name, latent::DType::f32, {}, std::vector<uint8_t>(4)};
    std::memcpy(tensor.data.data(), &value, 4);
    return tensor;
}

/// alphas_cumprod that falls in a straight line to `last`.
golden::FileTensor alphas(float last) {
    golden::FileTensor tensor{"alphas_cumprod", latent::DType::f32, {1000}, std::vector<uint8_t>(4000)};
    for (size_t i = 0; i < 1000; ++i) {
        const float value = 1.0f - (1.0f - last) * static_cast<float>(i + 1) / 1000.0f;
        std::memcpy(tensor.data.data() + 4 * i, i == 999 ? &last : &value, 4);
    }
    return tensor;
}

/// A diffusers folder whose scheduler's configuration is changed.
struct ScheduledModel {
    golden::TempFolder folder;
    ModelParts parts;
    Json scheduler;

    ScheduledModel() {
        golden::write_layout(golden::load("sd1"), "diffusers", folder.path());
        parts.model = folder.path();
        scheduler = Json::parse(latent::read_text_file(file()));
    }
    std::string file() const { return folder / "scheduler/scheduler_config.json"; }
    /// The original configuration with these values.
    void write(const Json & values) const {
        Json changed = scheduler;
        changed.update(values);
        std::ofstream(latent::to_path(file())) << changed.dump();
    }
};

}  // namespace

TEST(markers_of_the_golden_files) {
    const Json manifest = fixture::json("files/manifest.json");
    int files = 0;
    for (const Json & entry : manifest.at("files")) {
        if (!entry.contains("prediction")) continue;
        ++files;
        const std::string file = entry["file"];
        const Json & wanted = entry["prediction"];
        const PredictionMarkers found =
            prediction_markers(*latent::formats::open_model_file(std::string(LATENT_FIXTURES) + "/files/" + file));
        const auto expect = [&](bool holds, const char * what) {
            if (!holds) check::fail(file.c_str(), 0, what);
        };
        expect((found.type.empty() ? "eps" : found.type) == wanted["type"], "type");
        expect(found.zero_terminal_snr == wanted.value("zero_terminal_snr", false), "zero-terminal SNR");
        expect(found.edm.has_value() == (wanted["type"] == "edm" || wanted.value("edm_time", false)), "time");
        if (found.edm && wanted.contains("sigma_data")) expect(found.edm->sigma_data == wanted["sigma_data"], "sigma_data");
        if (!wanted.contains("sigma_range")) continue;
        expect(found.edm && std::abs(found.edm->sigma_min - wanted["sigma_range"][0].get<double>()) < 1e-8, "sigma_min");
        expect(found.edm && std::abs(found.edm->sigma_max - wanted["sigma_range"][1].get<double>()) < 1e-5, "sigma_max");
    }
    CHECK(files == 9);
}

TEST(a_marked_model_predicts_v_and_stays_so) {
    const MarkedModel plain({}), v({empty("v_pred")}), zero({empty("v_pred"), scalar("ztsnr", 1)});
    CHECK(plain.spec().prediction == Prediction::eps && !plain.spec().schedule.zero_terminal_snr);
    CHECK(v.spec().prediction == Prediction::v && !v.spec().schedule.zero_terminal_snr);
    CHECK(zero.spec().prediction == Prediction::v && zero.spec().schedule.zero_terminal_snr);
    CHECK(v.spec().scale_factor == plain.spec().scale_factor);
    // A marker with a number in it is no scale factor.
    CHECK(MarkedModel({scalar("v_pred", 3)}).spec().scale_factor == plain.spec().scale_factor);

    ModelParts written;
    written.model = zero.folder / "written.gguf";
    latent::formats::ConvertOptions options;
    options.type = latent::DType::f16;
    latent::formats::convert(open_model(zero.parts), written.model, options, {});
    const latent::ModelSpec back = open_model(written).spec;
    CHECK(back.prediction == Prediction::v && back.schedule.zero_terminal_snr);
}

TEST(order_of_evidence) {
    const Json says_v = {{"modelspec.prediction_type", "v"}}, says_eps = {{"modelspec.prediction_type", "epsilon"}};
    CHECK(MarkedModel({}, says_v).spec().prediction == Prediction::v);
    CHECK(MarkedModel({}, Json{{"modelspec.prediction_type", "dreams"}}).spec().prediction == Prediction::eps);
    CHECK(MarkedModel({empty("v_pred")}, says_eps).spec().prediction == Prediction::v);
    const latent::ModelSpec stored = MarkedModel({alphas(4.9e-8f)}).spec();
    CHECK(stored.prediction == Prediction::v && stored.schedule.zero_terminal_snr);
    CHECK(MarkedModel({alphas(0.0047f)}).spec().prediction == Prediction::eps);
    CHECK(MarkedModel({alphas(0)}, says_eps).spec().prediction == Prediction::eps);

    MarkedModel asked({empty("v_pred")});
    asked.parts.spec = {{"prediction", "eps"}};
    CHECK(asked.spec().prediction == Prediction::eps);
    // The type that the markers name keeps what belongs to it.
    MarkedModel confirmed({empty("v_pred"), scalar("ztsnr", 1)});
    confirmed.parts.spec = {{"prediction", "v"}};
    CHECK(confirmed.spec().prediction == Prediction::v && confirmed.spec().schedule.zero_terminal_snr);
    MarkedModel configured({empty("v_pred")});
    configured.parts.config["model"]["params"]["parameterization"] = "eps";
    CHECK(configured.spec().prediction == Prediction::eps);
}

TEST(markers_beside_a_scheduler_configuration) {
    const ScheduledModel model;
    const golden::TempFolder & folder = model.folder;
    ModelParts parts = model.parts;
    model.write({{"prediction_type", "v_prediction"}});
    CHECK(open_model(parts).spec.prediction == Prediction::v);
    // Marks in the U-Net's own file count for more.
    std::string unet;
    for (const std::string & name : latent::list_folder(folder / "unet")) {
        if (name.find("diffusion_pytorch_model") == 0) unet = folder / ("unet/" + name);
    }
    std::vector<golden::FileTensor> tensors;
    const auto source = latent::formats::open_model_file(unet);
    for (const latent::TensorInfo & info : source->tensors()) {
        golden::FileTensor tensor{info.name, info.dtype, info.shape, std::vector<uint8_t>(static_cast<size_t>(info.bytes))};
        source->read(info, tensor.data.data());
        tensors.push_back(std::move(tensor));
    }
    const std::string marked = folder / "marked.safetensors";
    golden::write_safetensors(marked, tensors, Json{{"modelspec.prediction_type", "epsilon"}});
    std::filesystem::copy_file(latent::to_path(marked), latent::to_path(unet), std::filesystem::copy_options::overwrite_existing);
    CHECK(open_model(parts).spec.prediction == Prediction::eps);
    // A U-Net alone, with names of no part.
    tensors.push_back(empty("v_pred"));
    golden::write_safetensors(marked, tensors);
    parts.unet = marked;
    parts.spec = Json{{"unet", {{"numHeads", 8}}}};  // a file alone has no configuration
    CHECK(open_model(parts).spec.prediction == Prediction::v);
}

TEST(schedulers_of_few_step_models) {
    const ScheduledModel model;
    ModelParts parts = model.parts;
    const auto with = [&](const char * name) {
        model.write({{"_class_name", name}});
        return open_model(parts).spec;
    };
    const latent::ModelSpec usual = with("DDIMScheduler"), lcm = with("LCMScheduler"), tcd = with("TCDScheduler");
    CHECK(usual.sampler == "ddim" && usual.steps == 50 && usual.guidance_scale == 7.5);
    CHECK(lcm.sampler == "lcm" && lcm.steps == 4 && lcm.guidance_scale == 1 && lcm.eta == 0);
    CHECK(tcd.sampler == "tcd" && tcd.steps == 4 && tcd.guidance_scale == 1 && tcd.eta == 0.3);
    CHECK(lcm.schedule.beta_end == usual.schedule.beta_end && lcm.prediction == usual.prediction);
    parts.spec = Json{{"sampler", "euler"}, {"steps", 9}};
    CHECK(with("LCMScheduler").sampler == "euler" && open_model(parts).spec.steps == 9);
}

TEST(timesteps_of_a_scheduler_configuration) {
    const ScheduledModel model;
    const auto with = [&](const char * name, const char * spacing) {
        model.write({{"_class_name", name}, {"timestep_spacing", spacing}});
        return open_model(model.parts).spec;
    };
    const latent::ModelSpec euler = with("EulerDiscreteScheduler", "trailing");
    CHECK(euler.sampler == "euler" && euler.sampling_schedule == "trailing" && euler.eta == 0 && euler.steps == 50);
    const latent::ModelSpec ancestral = with("EulerAncestralDiscreteScheduler", "trailing");
    CHECK(ancestral.sampler == "euler_a" && ancestral.sampling_schedule == "trailing" && ancestral.eta == 1);
    CHECK(with("DDIMScheduler", "trailing").sampling_schedule == "trailing");
    CHECK(with("EulerDiscreteScheduler", "leading").sampler == "ddim");
    CHECK(with("EulerDiscreteScheduler", "leading").sampling_schedule.empty());
    CHECK(with("PNDMScheduler", "trailing").sampling_schedule.empty());
}

TEST(titles_of_few_step_models) {
    const latent::ModelSpec usual = MarkedModel({}).spec();
    const auto titled = [](const char * title) { return MarkedModel({}, {{"modelspec.title", title}}).spec(); };
    struct Expected {
        const char *title, *sampler, *schedule;
        int steps;
        std::vector<double> timesteps;
        double eta;
    };
    for (const Expected & e : {Expected{"SDXL-Lightning 4-step", "euler", "trailing", 4, {}, 0},
                               {"sdxl_lightning_8step_unet", "euler", "trailing", 8, {}, 0},
                               {"Hyper-SDXL-2steps", "euler", "trailing", 2, {}, 0},
                               {"Hyper-SDXL 1 step", "lcm", "", 1, {800}, 0},
                               {"dmd2_sdxl_4step_unet", "lcm", "", 4, {999, 749, 499, 249}, 0},
                               {"DMD2, 1 step", "lcm", "", 1, {399}, 0},
                               {"DreamShaper 8 LCM", "lcm", "", 4, {}, 0},
                               {"Some model (TCD)", "tcd", "", 4, {}, 0.3},
                               {"SDXL Turbo 1.0", "euler_a", "trailing", 1, {}, 1},
                               {"sd_xl_turbo_1.0_fp16", "euler_a", "trailing", 1, {}, 1},
                               {"sd_turbo", "euler_a", "trailing", 1, {}, 1}}) {
        const latent::ModelSpec spec = titled(e.title);
        const bool same = spec.sampler == e.sampler && spec.sampling_schedule == e.schedule && spec.steps == e.steps &&
                          spec.sampling_timesteps == e.timesteps && spec.eta == e.eta && spec.guidance_scale == 1 &&
                          spec.prediction == Prediction::eps;
        if (!same)
            check::fail(e.title, 0, latent::to_json(spec)["sampler"].dump() + ", " + std::to_string(spec.steps) + " steps");
    }
    CHECK(titled("SDXL-Lightning, 1 step").prediction == Prediction::sample);
    // Names that mean something else, or do not tell the number of steps.
    for (const char * title : {"", "Lightning over the sea", "Lightning 3 steps", "DreamShaper XL Turbo v2", "Turbo",
                               "hyperreal 4", "Hyper realistic", "Lightning 44 steps", "calcmodel", "step 4 lightning"}) {
        if (latent::to_json(titled(title)) != latent::to_json(usual)) check::fail(title, 0, "has changed the defaults");
    }
    // The caller's values take precedence, and the written model keeps what was found.
    MarkedModel lightning({}, {{"modelspec.title", "SDXL-Lightning 4-step"}});
    lightning.parts.spec = Json{{"steps", 6}, {"samplingSchedule", ""}};
    CHECK(lightning.spec().steps == 6 && lightning.spec().sampling_schedule.empty() && lightning.spec().sampler == "euler");
    lightning.parts.spec = Json();
    ModelParts written;
    written.model = lightning.folder / "written.gguf";
    latent::formats::ConvertOptions options;
    options.type = latent::DType::f16;
    latent::formats::convert(open_model(lightning.parts), written.model, options, {});
    const latent::ModelSpec back = open_model(written).spec;
    CHECK(back.sampler == "euler" && back.sampling_schedule == "trailing" && back.steps == 4 && back.guidance_scale == 1);
    // Models with continuous noise levels have their own samplers.
    CHECK(MarkedModel({scalar("edm_vpred.sigma_max", 90)}, {{"modelspec.title", "LCM"}}).spec().sampler == "dpmpp_2m");
}

TEST(scalings_of_sgm_configurations) {
    const golden::Case c = golden::load("sdxl-base");
    const golden::TempFolder folder;
    ModelParts parts;
    parts.model = golden::write_layout(c, "compvis", folder.path());
    const auto with = [&](const char * scaling, const Json & params, const char * owner = "denoiser_config") {
        Json config = c.config();
        Json & model = config["model"]["params"];
        Json & denoiser = model["denoiser_config"]["params"];
        denoiser["scaling_config"] = {{"target", std::string("sgm.modules.diffusionmodules.denoiser_scaling.") + scaling},
                                      {"params", params.contains("sigma_data") ? params : Json::object()}};
        Json levels = params;
        levels.erase("sigma_data");
        denoiser.erase("discretization_config");
        if (!levels.empty())
            model[owner]["params"]["discretization_config"] = {
                {"target", "sgm.modules.diffusionmodules.discretizer.EDMDiscretization"}, {"params", levels}};
        parts.config = config;
        return open_model(parts).spec;
    };
    CHECK(with("EpsScaling", Json::object()).prediction == Prediction::eps && !with("EpsScaling", Json::object()).schedule.edm);
    const latent::ModelSpec v = with("VScaling", Json::object());
    CHECK(v.prediction == Prediction::v && !v.schedule.edm && v.sampler == "euler");
    const latent::ModelSpec edm = with("EDMScaling", Json::object());
    CHECK(edm.prediction == Prediction::edm && edm.sampler == "dpmpp_2m" && edm.schedule.edm->sigma_data == 0.5);
    CHECK(edm.schedule.edm->sigma_min == 0.002 && edm.schedule.edm->sigma_max == 80);
    const latent::ModelSpec own = with("EDMScaling", {{"sigma_data", 0.7}, {"sigma_min", 0.01}, {"sigma_max", 60}});
    CHECK(own.schedule.edm->sigma_data == 0.7 && own.schedule.edm->sigma_min == 0.01 && own.schedule.edm->sigma_max == 60);
    const latent::ModelSpec video = with("VScalingWithEDMcNoise", {{"sigma_max", 700}}, "sampler_config");
    CHECK(video.prediction == Prediction::v && video.schedule.edm->sigma_data == 1 && video.schedule.edm->sigma_max == 700);
    CHECK_THROWS(with("RectifiedFlowScaling", Json::object()), ErrorCode::unsupported_model);
}

TEST(first_stage_alone_of_an_edm_model) {
    golden::FileTensor mean{"edm_mean", latent::DType::f32, {1, 4, 1, 1}, std::vector<uint8_t>(16)}, deviation = mean;
    deviation.name = "edm_std";
    MarkedModel playground({mean, deviation}), plain({});
    for (MarkedModel * model : {&playground, &plain}) {
        model->parts.first_stage_only = true;
        model->parts.config = Json();
    }
    const latent::ModelSpec stage = playground.spec(), usual = plain.spec();
    CHECK(stage.kind == "autoencoder" && !stage.unet && stage.scale_factor == 0.5 && stage.latents_std.size() == 4);
    CHECK(stage.latents_mean == (std::vector<double>{-1.6574, 1.886, -1.383, 2.5155}));
    CHECK(usual.latents_mean.empty() && usual.scale_factor == 0.18215);  // of an unknown U-Net
}

TEST(edm_models) {
    golden::FileTensor mean{"edm_mean", latent::DType::f32, {1, 4, 1, 1}, std::vector<uint8_t>(16)}, deviation = mean;
    deviation.name = "edm_std";
    const MarkedModel playground({mean, deviation});
    const latent::ModelSpec spec = playground.spec();
    CHECK(spec.prediction == Prediction::edm && spec.schedule.edm && spec.schedule.edm->sigma_data == 0.5);
    CHECK(spec.latents_mean.size() == 4 && spec.latents_std[0] == 8.4927 && spec.scale_factor == 0.5 &&
          spec.sampler == "dpmpp_2m");
    // One of the two is no marker.
    CHECK(MarkedModel({mean}).spec().prediction == Prediction::eps);

    const latent::ModelSpec v = MarkedModel({scalar("edm_vpred.sigma_max", 90)}).spec();
    CHECK(v.prediction == Prediction::v && v.schedule.edm && v.latents_mean.empty() && v.sampler == "dpmpp_2m");
    CHECK(v.schedule.edm->sigma_max == 90 && v.schedule.edm->sigma_min == 0.002 && v.schedule.edm->sigma_data == 1);
    // A range that is none: the usual one.
    const latent::ModelSpec odd = MarkedModel({scalar("edm_vpred.sigma_max", NAN), scalar("edm_vpred.sigma_min", 500)}).spec();
    CHECK(odd.schedule.edm->sigma_max == 120 && odd.schedule.edm->sigma_min == 0.002);

    ModelParts written;
    written.model = playground.folder / "written.gguf";
    latent::formats::ConvertOptions options;
    options.type = latent::DType::f16;
    latent::formats::convert(open_model(playground.parts), written.model, options, {});
    CHECK(latent::to_json(open_model(written).spec)["schedule"] == latent::to_json(spec)["schedule"]);
    CHECK(open_model(written).spec.latents_std == spec.latents_std && open_model(written).spec.prediction == Prediction::edm);
}
