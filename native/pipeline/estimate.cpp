// What pictures will take, by the plans that make them, and what would fit where they do not.
#include <algorithm>
#include <map>

#include "pipeline/checks.h"
#include "pipeline/latent_pipeline.h"
#include "pipeline/upscaling.h"

namespace latent::pipeline {

Json LatentPipeline::estimate(int width, int height, bool guided) const {
    const auto as_json = [](const graph::GraphMeasure & measure) {
        return Json{{"bytes", measure.bytes}, {"flops", measure.flops}};
    };
    PictureMemory picture;
    picture.width = width, picture.height = height, picture.guided = guided;
    const Frame frame = frame_of(picture);
    const auto shape = latent_shape(static_cast<int>(frame.padded_width), static_cast<int>(frame.padded_height), 1);
    Json out = Json::object(), weights = Json::object();
    for (const models::Network * network : networks()) {
        weights[network->weights().part()] = {{"bytes", network->weights().bytes()},
                                              {"mapped", network->weights().mapped_bytes()}};
    }
    out["weights"] = weights;
    if (conditioners_) {
        for (const auto & [network, measure] : conditioners_->measure(frame.width, frame.height)) {
            out[network->weights().part()] = as_json(measure);
        }
    }
    const auto measure = [&] {
        int64_t h = shape[2], w = shape[3];
        if (unet_) {
            const int64_t tokens = conditioners_->tokens();
            if (conditioners_->upscales()) {
                const int64_t tile = request_.tile_size > 0 ? request_.tile_size : kUpscalingTile;
                h = std::min(h, tile), w = std::min(w, tile);
            }
            out["unet"] = as_json(unet_->measure({guided && tokens > 0 ? 2 : 1, h, w, tokens}));
        }
        if (first_stage_) {
            const int64_t factor = opened_.spec.downsampling();
            out["encode"] = as_json(first_stage_->measure_encode(1, shape[2] * factor, shape[3] * factor));
            out["decode"] = as_json(first_stage_->measure_decode(1, h, w));
        }
        out["stages"] = estimate_stages(picture);
    };
    with_nearest([&] { return picture; }, measure);
    out["peak"] = peak_of(out["stages"], picture);
    return out;
}

/// The size asked for, or the model's.
Frame LatentPipeline::frame_of(const PictureMemory & picture) const {
    if (conditioners_ && unet_) return conditioners_->frame({}, picture.width, picture.height);
    const int64_t usual = std::max(opened_.spec.image_size, opened_.spec.downsampling());  // a first stage or text encoder alone
    const int64_t width = picture.width ? picture.width : usual, height = picture.height ? picture.height : usual;
    return {width, height, width, height};
}

/// Encoding is for pictures made from others; CLIP's image tower for retrieval databases.
bool LatentPipeline::needs_stage(const std::string & name, const PictureMemory & picture) const {
    if (name == "imageEncoder") return !unet_;
    return name != "encode" || picture.from_image || !unet_ || (conditioners_ && conditioners_->inpaints());
}

/// Throws out_of_memory where a stage of the pictures, with what they take themselves, does not fit the caller's bound.
void LatentPipeline::require_pictures_fit(const PictureMemory & picture) const {
    if (request_.max_bytes == 0) return;
    const Json stages = estimate_stages(picture);
    for (const auto & [name, stage] : stages.items()) {
        if (!needs_stage(name, picture)) continue;
        const std::string what = name == "unet"                         ? "The U-Net"
                                 : name == "decode" || name == "encode" ? "The first stage"
                                                                        : "The " + name;
        require_bound(stage["peak"].get<uint64_t>(), what + " with the pictures");
    }
}

uint64_t LatentPipeline::peak_of(const Json & stages, const PictureMemory & picture) const {
    uint64_t peak = 0;
    for (const auto & [name, stage] : stages.items()) {
        if (needs_stage(name, picture)) peak = std::max(peak, stage["peak"].get<uint64_t>());
    }
    return peak;
}

/// The stages of the pictures as they would be run, each with everything that is resident meanwhile. Throws out_of_memory where
/// one that is needed does not fit the bound; one that is not needed is left out then.
Json LatentPipeline::estimate_stages(const PictureMemory & picture) const {
    const Frame frame = frame_of(picture);
    const uint64_t count = static_cast<uint64_t>(picture.count);
    // Floats of the decoder, bytes made of them, JavaScript's copy and the encoder of the file.
    const uint64_t pixels = static_cast<uint64_t>(frame.width) * static_cast<uint64_t>(frame.height) * count;
    Json stages = Json::object();
    const auto add = [&](const std::string & name, const models::Network & network, uint64_t compute, uint64_t pictures) {
        const uint64_t weights = weights_beside(network);
        stages[name] = {
            {"weights", weights}, {"compute", compute}, {"pictures", pictures}, {"peak", weights + compute + pictures}};
    };
    if (conditioners_) {
        require_conditioning_fits(frame.width, frame.height);
        for (const auto & [network, measure] : conditioners_->measure(frame.width, frame.height)) {
            add(network->weights().part(), *network, measure.bytes, 0);
        }
    }
    const auto shape = latent_shape(static_cast<int>(frame.padded_width), static_cast<int>(frame.padded_height), picture.count);
    const uint64_t latents = 16 * sizeof(float) * elements(shape);
    if (unet_) {
        const int64_t tokens = picture.tokens >= 0 ? picture.tokens : conditioners_->tokens();
        const SamplingRequest::DeepCache & cache = picture.deep_cache;
        const std::optional<int> branch = cache.on() ? std::optional<int>(cache.branch) : std::nullopt;
        const UNetPlan plan = plan_unet(shape, tokens, picture.guided && tokens > 0, cache);
        const int64_t h = plan.tile > 0 ? std::min<int64_t>(shape[2], plan.tile) : shape[2],
                      w = plan.tile > 0 ? std::min<int64_t>(shape[3], plan.tile) : shape[3];
        add("unet", *unet_, unet_->measure({plan.as_batch ? 2 : 1, h, w, tokens}, branch).bytes,
            latents + kept_features(shape, picture.guided && tokens > 0, cache));
    }
    if (!first_stage_) return stages;
    add("decode", *first_stage_, plan_decode(shape[2], shape[3]).bytes, (12 + 3 * 4) * pixels);
    try {
        add("encode", *first_stage_, plan_encode(shape[2], shape[3]).bytes, 2 * 12 * pixels);
    } catch (const Error & error) {
        if (error.code() != ErrorCode::out_of_memory || needs_stage("encode", picture)) throw;
    }
    return stages;
}

// ---- what would fit --------------------------------------------------------------------------------------------------

/// Does `work`; where memory does not suffice, the error tells which plans for `picture` would do.
void LatentPipeline::with_nearest(const std::function<PictureMemory()> & picture, const std::function<void()> & work) const {
    try {
        work();
    } catch (const Error & error) {
        if (error.code() != ErrorCode::out_of_memory || !(unet_ || first_stage_)) throw;
        PictureMemory wanted = picture();
        const Frame frame = frame_of(wanted);
        wanted.width = frame.width, wanted.height = frame.height;
        const MemoryChoice choice{wanted.width, wanted.height, request_.memory, "", wanted.guided};
        Json details = Json::parse(error.details());
        std::string text = error.what();
        try {
            const NearestPlans nearest = nearest_for(choice, wanted);
            details.update(nearest.to_json(choice));
            text += ". " + nearest.text(choice);
        } catch (const std::exception &) {
            throw error;  // what was refused matters more than why nothing else could be found
        }
        throw Error(error.code(), text, details.dump());
    }
}

/// The model as `choice` would load it, from headers alone.
std::unique_ptr<LatentPipeline> LatentPipeline::planner_for(const MemoryChoice & choice) const {
    LoadRequest request = request_;
    request.memory = choice.memory;
    request.headers_only = true;
    if (!choice.dtype.empty()) {  // what one type for the whole model means to the options of a load
        for (const char * part : {"unet", "conditioner", "imageEncoder"}) request.dtype[part] = choice.dtype;
        request.dtype["textEncoder"] = dtype_name(DType::q8_0);
        request.dtype["vae"] = dtype_name(DType::f16);
    }
    return std::make_unique<LatentPipeline>(request, opened_, device_);
}

NearestPlans LatentPipeline::nearest_for(const MemoryChoice & wanted, const PictureMemory & picture) const {
    // What is held now will be free for another plan.
    uint64_t held = 0;
    for (const models::Network * network : networks()) {
        held += network->runner().bytes();
        if (network->weights().loaded()) held += network->weights().bytes() - network->weights().mapped_bytes();
    }
    const uint64_t free = device_->available(), machine = free == UINT64_MAX ? free : free + held;
    std::map<std::string, std::unique_ptr<LatentPipeline>> planners;
    const AskPlanner ask = [&](const MemoryChoice & choice, uint64_t bound) {
        std::unique_ptr<LatentPipeline> & planner = planners[choice.memory + " " + choice.dtype];
        if (!planner) planner = planner_for(choice);
        planner->spare_ = held;
        if (request_.max_bytes) planner->request_.max_bytes = bound;
        planner->choose_residency();
        PictureMemory asked = picture;
        asked.width = choice.width, asked.height = choice.height, asked.guided = choice.guided;
        try {
            const uint64_t peak = planner->peak_of(planner->estimate_stages(asked), asked);
            return PlanAnswer{peak <= bound, peak};
        } catch (const Error & error) {
            if (error.code() != ErrorCode::out_of_memory) throw;
            return PlanAnswer{false, Json::parse(error.details()).value("required", uint64_t{0})};
        }
    };
    // Where the size is that of an input, another one is no option.
    const std::string & kind = opened_.spec.kind;
    const bool given = picture.from_image || kind == "semantic" || kind == "superres" || kind == "inpaint";
    const int64_t own = conditioners_ && unet_ ? conditioners_->size_multiple() : opened_.spec.downsampling();
    const int64_t multiple = given && unet_ ? 0 : own;
    return nearest_plans(wanted, multiple, request_.max_bytes ? std::min(request_.max_bytes, machine) : machine, ask);
}

}  // namespace latent::pipeline
