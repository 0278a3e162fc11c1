// What would fit where a call does not.
#include <algorithm>
#include <map>

#include "pipeline/latent_pipeline.h"

namespace latent::pipeline {

// ---- what is asked for -----------------------------------------------------------------------------------------------

/// All stages of pictures.
LatentPipeline::Wish LatentPipeline::wish_of(const PictureMemory & picture) const {
    const Frame frame = frame_of(picture);
    // Where the size is that of an input, another one is no option.
    const std::string & kind = opened_.spec.kind;
    const bool given = picture.from_image || kind == "semantic" || kind == "superres" || kind == "inpaint";
    const int64_t own = conditioners_ && unet_ ? conditioners_->size_multiple() : opened_.spec.downsampling();
    Wish wish;
    wish.choice = {frame.width, frame.height, request_.memory, "", picture.guided};
    wish.multiple = given && unet_ ? 0 : own;
    wish.peak = [picture](const LatentPipeline & planner, const MemoryChoice & choice) {
        PictureMemory asked = picture;
        asked.width = choice.width, asked.height = choice.height, asked.guided = choice.guided;
        return planner.peak_of(planner.estimate_stages(asked), asked);
    };
    return wish;
}

/// Evaluations of the U-Net alone.
LatentPipeline::Wish LatentPipeline::wish_of(const UNetCall & call) const {
    const int64_t factor = opened_.spec.downsampling();
    Wish wish;
    wish.choice = {call.shape[3] * factor, call.shape[2] * factor, request_.memory, "", call.guided};
    wish.multiple = unet_->config().size_multiple() * factor;
    wish.peak = [call, factor](const LatentPipeline & planner, const MemoryChoice & choice) {
        UNetCall asked = call;
        asked.shape[2] = choice.height / factor, asked.shape[3] = choice.width / factor, asked.guided = choice.guided;
        const UNetPlan plan = planner.plan_unet(asked);
        return plan.held + (plan.bytes > 0 ? plan.bytes : planner.measure_unet(asked, plan));
    };
    return wish;
}

/// Decoding `count` pictures of so many latent pixels.
LatentPipeline::Wish LatentPipeline::wish_of_decode(int64_t height, int64_t width, int64_t count) const {
    const int64_t factor = opened_.spec.downsampling();
    Wish wish;
    wish.choice = {width * factor, height * factor, request_.memory, "", false};
    wish.multiple = factor;
    wish.peak = [count, factor](const LatentPipeline & planner, const MemoryChoice & choice) {
        const StagePlan plan = planner.plan_decode(choice.height / factor, choice.width / factor, count);
        return plan.held + plan.bytes;
    };
    return wish;
}

/// Encoding `count` pictures of so many pixels.
LatentPipeline::Wish LatentPipeline::wish_of_encode(int64_t height, int64_t width, int64_t count) const {
    const int64_t factor = opened_.spec.downsampling();
    Wish wish;
    wish.choice = {width, height, request_.memory, "", false};
    wish.multiple = factor;
    wish.peak = [count, factor](const LatentPipeline & planner, const MemoryChoice & choice) {
        const StagePlan plan = planner.plan_encode(choice.height / factor, choice.width / factor, count);
        return plan.held + plan.bytes;
    };
    return wish;
}

// ---- what would do ---------------------------------------------------------------------------------------------------

/// Does `work`; where memory does not suffice, the error tells which plans would do.
void LatentPipeline::with_nearest(const std::function<Wish()> & wish, const std::function<void()> & work) const {
    try {
        work();
    } catch (const Error & error) {
        if (error.code() != ErrorCode::out_of_memory || !(unet_ || first_stage_)) throw;
        Json details = Json::parse(error.details());
        std::string text = error.what();
        try {
            const Wish wanted = wish();
            const NearestPlans nearest = nearest_for(wanted);
            details.update(nearest.to_json(wanted.choice));
            text += ". " + nearest.text(wanted.choice);
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
    auto planner = std::make_unique<LatentPipeline>(request, opened_, device_);
    planner->kept_ = kept_;  // runs of the caller go on living
    return planner;
}

NearestPlans LatentPipeline::nearest_for(const Wish & wish) const {
    // What is held now will be free for another plan.
    uint64_t held = 0;
    for (const models::Network * network : networks()) {
        held += network->runner().bytes();
        if (network->weights().loaded()) held += network->weights().bytes() - network->weights().mapped_bytes();
    }
    const uint64_t free = device_->available(),
                   machine =
                       free == UINT64_MAX ? free : working_budget(0, 0, free) + held + *kept_;  // what runs keep is in every peak
    std::map<std::string, std::unique_ptr<LatentPipeline>> planners;
    const AskPlanner ask = [&](const MemoryChoice & choice, uint64_t bound) {
        std::unique_ptr<LatentPipeline> & planner = planners[choice.memory + " " + choice.dtype];
        if (!planner) planner = planner_for(choice);
        planner->spare_ = held;
        if (request_.max_bytes) planner->request_.max_bytes = bound;
        planner->choose_residency();
        try {
            uint64_t peak = wish.peak(*planner, choice);
            // The other parts are loaded too.
            for (const models::Network * network : planner->networks()) peak = std::max(peak, planner->weights_beside(*network));
            return PlanAnswer{peak <= bound, peak};
        } catch (const Error & error) {
            if (error.code() != ErrorCode::out_of_memory) throw;
            return PlanAnswer{false, Json::parse(error.details()).value("required", uint64_t{0})};
        }
    };
    return nearest_plans(wish.choice, wish.multiple, request_.max_bytes ? std::min(request_.max_bytes, machine) : machine, ask);
}

}  // namespace latent::pipeline
