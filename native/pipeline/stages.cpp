#include "pipeline/stages.h"

#include <algorithm>

#include "core/weight_type.h"
#include "models/autoencoder.h"
#include "models/tiny_autoencoder.h"
#include "models/unet.h"
#include "pipeline/messages.h"
#include "pipeline/sampling/sampling_run.h"
#include "samplers/solver.h"

namespace latent::pipeline {
namespace {

/// The weight type requested for a part; nullopt means as stored.
graph::WeightPolicy weight_policy(const LoadRequest & request, const std::string & part) {
    graph::WeightPolicy policy;
    policy.precision = request.precision;
    const auto found = request.dtype.find(part);
    if (found == request.dtype.end() || found->second.empty()) return policy;
    policy.dtype = weight_type_named(found->second);
    if (found->second == "int8") policy.dtype = DType::i8;
    if (!policy.dtype) {
        throw Error(ErrorCode::invalid_argument, "dtype." + part + ": \"" + found->second + "\" is not a weight type");
    }
    return policy;
}

}  // namespace

formats::ModelParts model_parts(const LoadRequest & request) {
    formats::ModelParts parts;
    parts.model = request.model;
    parts.unet = request.unet;
    parts.text_encoder = request.text_encoder;
    parts.vae = request.vae;
    parts.config = request.config;
    parts.spec = request.spec;
    parts.ema = request.ema;
    parts.image_encoder = request.image_encoder;
    parts.variant = request.variant;
    parts.first_stage_only = request.first_stage_only;
    return parts;
}

namespace {

/// Checks the sampler of a specification, an arbitrary name from the caller or the file.
void check_sampler(const std::string & sampler) {
    const std::vector<samplers::SamplerInfo> & known = samplers::list_samplers();
    const auto is_it = [&](const samplers::SamplerInfo & one) { return one.name == sampler; };
    if (sampler.empty() || std::any_of(known.begin(), known.end(), is_it)) return;
    const std::string shown = sampler.substr(0, 80);
    const Json details = {{"field", "sampler"}, {"found", shown}};
    throw Error(ErrorCode::model_format,
                "The model specification names the unknown sampler \"" + shown + "\"; pipe.info.samplers lists the known ones",
                details.dump(-1, ' ', false, Json::error_handler_t::replace));
}

/// Checks the schedule and the timesteps that belong to it.
void check_default_levels(const ModelSpec & spec) {
    if (spec.sampling_schedule.empty() && spec.sampling_timesteps.empty()) return;
    try {
        (void)samplers::make_solver(solver_options({}, spec, false));
    } catch (const Error & error) {
        const char * field = spec.sampling_timesteps.empty() ? "samplingSchedule" : "samplingTimesteps";
        throw Error(ErrorCode::model_format,
                    std::string("The model specification's \"") + field + "\" cannot be used: " + error.what(),
                    Json{{"field", field}}.dump());
    }
}

std::unique_ptr<models::FirstStage> make_first_stage(const AutoencoderConfig & config, graph::DevicePtr device) {
    if (config.kind == "tiny") return std::make_unique<models::TinyAutoencoder>(config, std::move(device));
    return std::make_unique<models::Autoencoder>(config, std::move(device));
}

/// The tiny autoencoder for decoding previews.
OpenedModelPtr open_preview(const LoadRequest & request, const ModelSpec & spec) {
    formats::ModelParts parts;
    parts.vae = request.preview_vae;
    parts.first_stage_only = true;
    auto opened = std::make_shared<const formats::OpenedModel>(formats::open_model(parts));
    const AutoencoderConfig & stage = *opened->spec.first_stage;
    const std::string name = opened->tensors->name();
    if (stage.kind != "tiny") {
        throw Error(
            ErrorCode::unsupported_model,
            "previewVae: " + name +
                " is not a tiny autoencoder (TAESD); to preview with the model's own first stage, use "
                "the method \"vae\"",
            Json{{"found", opened->spec.name}, {"nearest", "TAESD"}}.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    if (stage.embed_dim != spec.latent_channels() || stage.downsampling() != spec.downsampling()) {
        throw Error(ErrorCode::unsupported_model,
                    "previewVae: " + name + " reads latents of " + std::to_string(stage.embed_dim) + " channels at 1/" +
                        std::to_string(stage.downsampling()) + " of the size, but this model has " +
                        std::to_string(spec.latent_channels()) + " at 1/" + std::to_string(spec.downsampling()),
                    Json{{"found", opened->spec.name}, {"nearest", "TAESD"}}.dump());
    }
    return opened;
}

}  // namespace

OpenedModelPtr open_request(const LoadRequest & request) {
    auto opened = std::make_shared<formats::OpenedModel>(formats::open_model(model_parts(request)));
    check_sampler(opened->spec.sampler);
    if (opened->spec.unet) check_default_levels(opened->spec);
    if (!request.preview_vae.empty() && !request.first_stage_only) opened->preview = open_preview(request, opened->spec);
    if (!request.refiner.empty() && !request.first_stage_only) opened->refiner = open_refiner(request, opened->spec);
    return opened;
}

Stages::Stages(const LoadRequest & load, OpenedModelPtr model, graph::DevicePtr device, MemoryClaim::Total claims)
    : request(load),
      opened(std::move(model)),
      residency(std::move(device), {load.memory, load.max_bytes, load.precision}, std::move(claims)) {
    const ModelSpec & spec = opened->spec;
    const bool whole = !request.first_stage_only, upscaling = whole && picture_use(spec) == PictureUse::enlarge;
    if (spec.first_stage) {
        first_stage =
            std::make_unique<FirstStageRunner>(make_first_stage(*spec.first_stage, this->device()), residency,
                                               FirstStageRunner::Options{LatentScaling::of(spec), request.vae_tiling,
                                                                         request.vae_tile_size, upscaling, request.tile_size});
    }
    if (whole) conditioners = std::make_unique<Conditioners>(spec, residency, first_stage.get());
    if (whole && spec.unet) {
        denoiser =
            std::make_unique<Denoiser>(std::make_unique<models::UNet>(*spec.unet, this->device()), residency,
                                       Denoiser::Options{upscaling, picture_use(spec) == PictureUse::edit, request.tile_size});
    }
    const auto add = [&](models::Network & network, const formats::OpenedModel & from) {
        network.weights().plan(from.tensors, weight_policy(request, network.weights().part()));
        residency.add(network);
    };
    const auto add_all = [&](const Conditioners & of, const formats::OpenedModel & from) {
        for (models::Network * network : of.networks()) add(*network, from);
    };
    if (opened->refiner && denoiser) refiner = std::make_unique<Refiner>(opened->refiner->spec, residency);
    if (conditioners) add_all(*conditioners, *opened);
    if (refiner) add_all(refiner->conditioners(), *opened->refiner);
    if (denoiser) add(denoiser->network(), *opened);
    if (refiner) add(refiner->denoiser().network(), *opened->refiner);
    if (first_stage) add(first_stage->network(), *opened);
    if (opened->preview && denoiser) {
        AutoencoderConfig config = *opened->preview->spec.first_stage;
        config.encoder = false;
        preview_stage = std::make_unique<FirstStageRunner>(
            make_first_stage(config, this->device()), residency,
            FirstStageRunner::Options{LatentScaling::of_tiny(spec), request.vae_tiling, request.vae_tile_size});
        add(preview_stage->network(), *opened->preview);
        residency.accompany(preview_stage->network(), denoiser->network());
        if (refiner) residency.accompany(preview_stage->network(), refiner->denoiser().network());
    }
    residency.measure_graphs([this](const models::Network & network) {
        const int64_t side = opened->spec.image_size;
        const auto bytes_of = [&](const Conditioners * of) {
            if (of) {
                for (const auto & [each, measure] : of->measure(side, side)) {
                    if (each == &network) return measure.bytes;
                }
            }
            return uint64_t{0};
        };
        return std::max(bytes_of(conditioners.get()), bytes_of(refiner ? &refiner->conditioners() : nullptr));
    });
    residency.settle();
    residency.refresh_usage();
}

std::vector<models::Network *> Stages::own_networks() const {
    std::vector<models::Network *> out;
    const std::vector<models::Network *> others = refiner_networks();
    for (models::Network * network : residency.parts()) {
        const bool previews = preview_stage && network == &preview_stage->network();
        if (!previews && std::find(others.begin(), others.end(), network) == others.end()) out.push_back(network);
    }
    return out;
}

std::vector<models::Network *> Stages::refiner_networks() const {
    if (!refiner) return {};
    std::vector<models::Network *> out = refiner->conditioners().networks();
    out.push_back(&refiner->denoiser().network());
    return out;
}

void Stages::require_all(const char * what) const {
    if (conditioners && denoiser && first_stage) return;
    throw Error(ErrorCode::unsupported_model,
                std::string(what) + ": needs a U-Net and a first stage, but this model lacks one of them");
}

FirstStageRunner * Stages::tiny_stage() const {
    if (preview_stage) return preview_stage.get();
    return first_stage && first_stage->form().halo > 0 ? first_stage.get() : nullptr;
}

FirstStageRunner & Stages::require_tiny_stage() const {
    if (FirstStageRunner * stage = tiny_stage()) return *stage;
    throw Error(ErrorCode::invalid_argument,
                "preview: the method \"taesd\" needs a tiny autoencoder (TAESD); load the model with previewVae, the file of its "
                "decoder");
}

Denoiser & Stages::require_denoiser() const {
    if (denoiser) return *denoiser;
    throw Error(ErrorCode::unsupported_model, "This model has no U-Net");
}

FirstStageRunner & Stages::require_first_stage() const {
    if (first_stage) return *first_stage;
    throw Error(ErrorCode::unsupported_model, "This model has no first stage (vae)");
}

void Stages::check_latents(const Latents & latents, const char * what) const {
    const auto [n, c, h, w] = latents.shape;
    const int64_t channels = spec().latent_channels();
    if (n >= 1 && h >= 1 && w >= 1 && c == channels) return;
    refuse(std::string(what) + ": latents of shape [" + std::to_string(n) + ", " + std::to_string(c) + ", " + std::to_string(h) +
           ", " + std::to_string(w) + "], but this model takes [n, " + std::to_string(channels) + ", h, w]");
}

std::array<int64_t, 4> Stages::latent_shape(int64_t width, int64_t height, int64_t batch) const {
    const int factor = spec().downsampling();
    if (width <= 0 || height <= 0 || batch <= 0 || width % factor != 0 || height % factor != 0) {
        refuse("size " + size_text(width, height) + ": width and height must be positive multiples of " + std::to_string(factor));
    }
    return {batch, spec().latent_channels(), height / factor, width / factor};
}

}  // namespace latent::pipeline
