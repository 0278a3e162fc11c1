// What pictures will take, by the plans that make them.
#include <algorithm>

#include "pipeline/checks.h"
#include "pipeline/image/upscaling.h"
#include "pipeline/latent_pipeline.h"

namespace latent::pipeline {

Json LatentPipeline::estimate(const EstimateRequest & request) const {
    const auto as_json = [](const graph::GraphMeasure & measure) {
        return Json{{"bytes", measure.bytes}, {"flops", measure.flops}};
    };
    PictureMemory picture{request.width, request.height, request.guided};
    picture.count = request.count, picture.deep_cache = request.deep_cache;
    picture.decoded_previews = request.decoded_previews;
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
            out["unet"] = as_json(unet_->measure({picture.guided && tokens > 0 ? 2 : 1, h, w, tokens}));
        }
        if (first_stage_) {
            const int64_t factor = opened_.spec.downsampling();
            out["encode"] = as_json(first_stage_->measure_encode(1, shape[2] * factor, shape[3] * factor));
            out["decode"] = as_json(first_stage_->measure_decode(1, h, w));
        }
        out["stages"] = estimate_stages(picture);
    };
    with_nearest([&] { return wish_of(picture); }, measure);
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

/// The evaluations that make the pictures.
LatentPipeline::UNetCall LatentPipeline::call_of(const PictureMemory & picture) const {
    const Frame frame = frame_of(picture);
    UNetCall call;
    call.shape = latent_shape(static_cast<int>(frame.padded_width), static_cast<int>(frame.padded_height), picture.count);
    call.tokens = picture.tokens >= 0 ? picture.tokens : conditioners_->tokens();
    call.guided = picture.guided && call.tokens > 0;
    call.deep_cache = picture.deep_cache;
    if (picture.decoded_previews) {  // the bytes and JavaScript's copy
        call.shown = 2 * 3 * static_cast<uint64_t>(frame.padded_width * frame.padded_height * picture.count);
    }
    return call;
}

/// Throws out_of_memory where encoding or decoding the pictures does not fit the caller's bound.
void LatentPipeline::require_first_stage_fits(const PictureMemory & picture) const {
    if (request_.max_bytes == 0) return;
    const UNetCall call = call_of(picture);
    const auto [n, c, h, w] = call.shape;
    (void)plan_decode(h, w, n, picture.decoded_previews ? run_bytes(call) : 0);
    if (needs_stage("encode", picture)) (void)plan_encode(h, w, n);
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
    Json stages = Json::object();
    const auto add = [&](const std::string & name, const models::Network & network, uint64_t compute, uint64_t held) {
        const uint64_t weights = weights_beside(network);
        stages[name] = {{"weights", weights}, {"compute", compute}, {"pictures", held - weights}, {"peak", compute + held}};
    };
    if (conditioners_) {
        require_conditioning_fits(frame.width, frame.height);
        for (const auto & [network, measure] : conditioners_->measure(frame.width, frame.height)) {
            add(network->weights().part(), *network, measure.bytes, weights_beside(*network));
        }
    }
    UNetCall call;
    if (unet_) {
        call = call_of(picture);
        const UNetPlan plan = plan_unet(call);
        add("unet", *unet_, plan.bytes > 0 ? plan.bytes : measure_unet(call, plan), plan.held);
    }
    if (!first_stage_) return stages;
    const auto [n, c, h, w] =
        latent_shape(static_cast<int>(frame.padded_width), static_cast<int>(frame.padded_height), picture.count);
    const StagePlan decode = plan_decode(h, w, n, unet_ && picture.decoded_previews ? run_bytes(call) : 0);
    add("decode", *first_stage_, decode.bytes, decode.held);
    try {
        const StagePlan encode = plan_encode(h, w, n);
        add("encode", *first_stage_, encode.bytes, encode.held);
    } catch (const Error & error) {
        if (error.code() != ErrorCode::out_of_memory || needs_stage("encode", picture)) throw;
    }
    return stages;
}

}  // namespace latent::pipeline
