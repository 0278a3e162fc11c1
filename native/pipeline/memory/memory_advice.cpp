// What would fit when a call does not.
#include <algorithm>
#include <map>

#include "core/parts.h"
#include "core/weight_type.h"
#include "pipeline/memory/memory_planner.h"
#include "pipeline/memory/stage_plan.h"

namespace latent::pipeline {

// ---- what is asked for -----------------------------------------------------------------------------------------------

/// All stages of images.
MemoryPlanner::Demand MemoryPlanner::pictures(const PictureOutline & picture) const {
    const Frame frame = frame_of(picture);
    // If an input determines the size, no other size is possible.
    const std::string & kind = stages_.spec().kind;
    const bool given = picture.from_image || kind == "semantic" || kind == "superres" || kind == "inpaint" || kind == "edit";
    const int64_t own =
        stages_.conditioners && stages_.denoiser ? stages_.conditioners->size_multiple() : stages_.spec().downsampling();
    Demand demand;
    const int rows = stages_.denoiser ? call_of(picture).rows : 1;
    demand.wanted = {frame.width, frame.height, stages_.request.memory, "", rows > 1};
    demand.wanted.by_picture = kind == "edit";
    demand.multiple = given && stages_.denoiser ? 0 : own;
    demand.peak = [picture, rows](const MemoryPlanner & planner, const Alternative & choice) {
        PictureOutline asked = picture;
        asked.width = choice.width, asked.height = choice.height, asked.rows = choice.guided ? rows : 1;
        return planner.peak_of(planner.stages_of(asked), asked);
    };
    return demand;
}

/// Only the evaluations of the U-Net.
MemoryPlanner::Demand MemoryPlanner::evaluations(const DenoisingCall & call) const {
    const int64_t factor = stages_.spec().downsampling();
    Demand demand;
    demand.wanted = {call.shape[3] * factor, call.shape[2] * factor, stages_.request.memory, "", call.rows > 1};
    demand.wanted.by_picture = stages_.denoiser->options().editing;
    demand.multiple = stages_.denoiser->form().size_multiple * factor;
    demand.peak = [call, factor](const MemoryPlanner & planner, const Alternative & choice) {
        DenoisingCall asked = call;
        asked.shape[2] = choice.height / factor, asked.shape[3] = choice.width / factor;
        if (!choice.guided) asked.rows = 1;
        const DenoisingPlan plan = planner.stages_.denoiser->plan(asked);
        return plan.held + (plan.bytes > 0 ? plan.bytes : planner.stages_.denoiser->measure(asked, plan));
    };
    return demand;
}

/// Decoding `count` images of this size in latent pixels.
MemoryPlanner::Demand MemoryPlanner::decoding(int64_t height, int64_t width, int64_t count) const {
    const int64_t factor = stages_.spec().downsampling();
    Demand demand;
    demand.wanted = {width * factor, height * factor, stages_.request.memory, "", false};
    demand.multiple = factor;
    demand.peak = [count, factor](const MemoryPlanner & planner, const Alternative & choice) {
        const StagePlan plan = planner.stages_.first_stage->plan_decode(choice.height / factor, choice.width / factor, count);
        return plan.held + plan.bytes;
    };
    return demand;
}

/// Encoding `count` images of this size in pixels.
MemoryPlanner::Demand MemoryPlanner::encoding(int64_t height, int64_t width, int64_t count) const {
    const int64_t factor = stages_.spec().downsampling();
    Demand demand;
    demand.wanted = {width, height, stages_.request.memory, "", false};
    demand.multiple = factor;
    demand.peak = [count, factor](const MemoryPlanner & planner, const Alternative & choice) {
        const StagePlan plan = planner.stages_.first_stage->plan_encode(choice.height / factor, choice.width / factor, count);
        return plan.held + plan.bytes;
    };
    return demand;
}

// ---- what would do ---------------------------------------------------------------------------------------------------

void MemoryPlanner::advise(const std::function<Demand()> & demand, const std::function<void()> & work) const {
    try {
        work();
    } catch (const Error & error) {
        if (error.code() != ErrorCode::out_of_memory || !(stages_.denoiser || stages_.first_stage)) throw;
        Json details = Json::parse(error.details());
        std::string text = error.what();
        try {
            const Demand refused = demand();
            const Alternatives found = alternatives_to(refused);
            details.update(found.to_json(refused.wanted));
            text += ". " + found.text(refused.wanted);
        } catch (const std::exception &) {
            throw error;  // the original error matters more than why no alternative was found
        }
        throw Error(error.code(), text, details.dump());
    }
}

namespace {

/// The model as an alternative would load it, from headers only.
struct Supposed {
    Stages stages;
    MemoryPlanner planner{stages};

    Supposed(const Stages & current, const Alternative & alternative)
        : stages(request_of(current.request, alternative), current.opened, current.device(), current.residency.claims()) {
        // The same networks in the same order; adapters stay in memory whatever the plan.
        const std::vector<models::Network *> &from = current.residency.parts(), &to = stages.residency.parts();
        for (size_t i = 0; i < std::min(from.size(), to.size()); ++i) to[i]->weights().set_adapter(from[i]->weights().adapter());
    }

    static LoadRequest request_of(LoadRequest request, const Alternative & alternative) {
        request.memory = alternative.memory;
        request.headers_only = true;
        if (alternative.dtype.empty()) return request;
        // Sets one type for the whole model in the load options.
        const DType type = *weight_type_named(alternative.dtype);
        for (const PartTraits & part : part_table()) request.dtype[part.name] = dtype_name(part_default(part.part, type));
        return request;
    }
};

}  // namespace

Alternatives MemoryPlanner::alternatives_to(const Demand & demand) const {
    // Memory that is in use now will be free for another plan.
    const PartResidency & residency = stages_.residency;
    uint64_t held = 0;
    for (const models::Network * network : residency.parts()) {
        held += network->runner().bytes();
        if (network->weights().loaded()) held += network->weights().bytes() - network->weights().mapped_bytes();
    }
    const uint64_t free = stages_.device()->available(), bound = residency.bound();
    const uint64_t machine =  // every peak includes the memory of runs
        free == UINT64_MAX ? free : working_budget(0, 0, free) + held + residency.claimed();
    std::map<std::string, std::unique_ptr<Supposed>> supposed;
    const AskPlanner ask = [&](const Alternative & alternative, uint64_t limit) {
        std::unique_ptr<Supposed> & other = supposed[alternative.memory + " " + alternative.dtype];
        if (!other) other = std::make_unique<Supposed>(stages_, alternative);
        PartResidency & parts = other->stages.residency;
        parts.suppose(bound ? limit : 0, held);
        try {
            // The other parts are loaded too.
            const uint64_t peak = std::max(demand.peak(other->planner, alternative), parts.least_to_load());
            return PlanAnswer{peak <= limit, peak};
        } catch (const Error & error) {
            if (error.code() != ErrorCode::out_of_memory) throw;
            return PlanAnswer{false, Json::parse(error.details()).value("required", uint64_t{0})};
        }
    };
    return find_alternatives(demand.wanted, demand.multiple, bound ? std::min(bound, machine) : machine, ask);
}

/// Raises the limit to what the first stage that does not fit needs, until all fit.
uint64_t MemoryPlanner::floor_of(const PictureOutline & picture) const {
    constexpr int kMostStages = 16;
    Supposed other(stages_, {0, 0, stages_.request.memory});
    uint64_t limit = 1;
    for (int i = 0; i < kMostStages; ++i) {
        other.stages.residency.suppose(limit, 0);
        try {
            (void)other.planner.stages_of(picture);
            // Parts that make no images (image encoders) are loaded as well.
            const uint64_t parts = other.stages.residency.least_to_load();
            if (parts <= limit) return limit;
            limit = parts;
        } catch (const Error & error) {
            if (error.code() != ErrorCode::out_of_memory) throw;
            const uint64_t required = Json::parse(error.details()).value("required", uint64_t{0});
            if (required <= limit) return 0;
            limit = required;
        }
    }
    return 0;
}

}  // namespace latent::pipeline
