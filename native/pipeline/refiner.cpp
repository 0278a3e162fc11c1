#include "pipeline/refiner.h"

#include <cmath>

#include "models/unet.h"
#include "pipeline/messages.h"

namespace latent::pipeline {
namespace {

const ConditionerConfig * clip_of(const ModelSpec & spec) {
    for (const ConditionerConfig & config : spec.conditioners) {
        if (config.kind == "clip_text") return &config;
    }
    return nullptr;
}

/// A tiny autoencoder takes the U-Net's latents directly, whatever the model's scale factor.
bool is_scaled(const ModelSpec & spec) {
    return spec.first_stage && spec.first_stage->kind != "tiny";
}

std::string called(const ModelSpec & spec, const char * otherwise) {
    return spec.name.empty() ? otherwise : spec.name;
}

/// Why `refiner` cannot continue with the latents of `model`, empty if it can.
std::string misfit(const ModelSpec & model, const ModelSpec & refiner) {
    if (!model.unet || !model.first_stage) return "cannot be used: the model must have a U-Net and a first stage";
    if (!refiner.unet) return "has no U-Net";
    const ConditionerConfig *own = clip_of(model), *other = clip_of(refiner);
    const bool texts = model.kind == "text" && refiner.kind == "text" && own && other;
    if (!texts || model.family != refiner.family || own->clip.vocab_size != other->clip.vocab_size) {
        return "cannot take over from " + called(model, "this model") + ": both must be text to image models of one family";
    }
    const int channels = model.latent_channels();
    const bool same_scale = !is_scaled(model) || !is_scaled(refiner) ||
                            std::fabs(model.scale_factor - refiner.scale_factor) <= 1e-4 * model.scale_factor;
    const bool same_statistics = model.latents_mean == refiner.latents_mean && model.latents_std == refiner.latents_std;
    if (model.unet->in_channels != channels || refiner.unet->in_channels != channels || refiner.unet->out_channels != channels ||
        !same_scale || !same_statistics) {
        return "reads latents that differ from those of " + called(model, "the model");
    }
    if ((refiner.unet->guidance_embed_dim > 0) != (model.unet->guidance_embed_dim > 0)) {
        return "uses guidance differently from " + called(model, "the model") + ": one of them gets the scale as an input";
    }
    if (refiner.prediction != model.prediction) {
        return std::string("predicts ") + prediction_name(refiner.prediction) + ", " + called(model, "the model") + " predicts " +
               prediction_name(model.prediction);
    }
    if (refiner.schedule.edm || model.schedule.edm)
        return "cannot share a schedule: one was trained on continuous noise levels (EDM)";
    if (refiner.schedule.timesteps != model.schedule.timesteps) return "was trained with a different number of timesteps";
    return "";
}

}  // namespace

OpenedModelPtr open_refiner(const LoadRequest & request, const ModelSpec & model) {
    formats::ModelParts parts;
    parts.model = request.refiner;
    parts.config = request.refiner_config;
    parts.variant = request.variant;
    auto opened = std::make_shared<const formats::OpenedModel>(formats::open_model(parts));
    const std::string why = misfit(model, opened->spec);
    if (why.empty()) return opened;
    throw Error(ErrorCode::unsupported_model, "refiner: " + called(opened->spec, "this model") + " " + why,
                Json{{"found", opened->spec.name}, {"nearest", model.name}}.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Refiner::Refiner(const ModelSpec & spec, PartResidency & residency)
    : conditioners_(spec, residency, nullptr),
      denoiser_(std::make_unique<models::UNet>(*spec.unet, residency.device()), residency, Denoiser::Options{}) {}

PromptTokens Refiner::tokens_of(PromptTokens tokens) const {
    const size_t encoders = conditioners_.networks().size();
    for (TokenChunk & chunk : tokens.chunks) {
        for (TokenChunk::Vectors & run : chunk.vectors) {
            if (run.encoders.size() <= encoders) continue;
            run.encoders.erase(run.encoders.begin(), run.encoders.end() - static_cast<std::ptrdiff_t>(encoders));
        }
    }
    return tokens;
}

Inputs Refiner::inputs_of(const Inputs & inputs) const {
    Inputs own;
    if (inputs.prompt) own.prompt = tokens_of(*inputs.prompt);
    own.sizes = inputs.sizes;
    if (own.sizes && conditioners_.info().value("sizes", "") == "refiner") {
        if (!own.sizes->original) own.sizes->original = own.sizes->target;  // as the base model reads them
        own.sizes->target.reset();
    } else {
        own.sizes = without_scores(std::move(own.sizes));
    }
    return own;
}

std::optional<SizeInputs> without_scores(std::optional<SizeInputs> sizes) {
    if (sizes) sizes->score.reset(), sizes->negative_score.reset();
    return sizes;
}

double handover_timestep(double switch_at, int training_timesteps) {
    return std::nearbyint(training_timesteps - switch_at * training_timesteps);
}

Predict hand_over(Predict base, Predict refine, double handover) {
    const auto first = std::make_shared<Predict>(std::move(base));
    return [first, refine = std::move(refine), handover](const Latents & x, const EvaluationPlace & place, Latents & output,
                                                         const JobContext & job) {
        if (*first && place.step_timestep >= handover) return (*first)(x, place, output, job);
        *first = nullptr;
        refine(x, place, output, job);
    };
}

}  // namespace latent::pipeline
