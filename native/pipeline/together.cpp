#include "pipeline/together.h"

#include <algorithm>
#include <map>

namespace latent::pipeline {

Together::Together(Stages & stages, const MemoryPlanner & planner, std::vector<TogetherMember> members, const JobContext & shared)
    : stages_(stages), planner_(planner), shared_(shared) {
    for (TogetherMember & asked : members) members_.push_back(std::make_unique<Member>(stages, planner, std::move(asked)));
}

template <typename Step>
bool Together::attempt(Member & member, Step && step) {
    try {
        step();
        return true;
    } catch (...) {
        const std::exception_ptr error = std::current_exception();
        member.run.reset();
        member.recipe.give_up();
        member.asked.failed(error);
        return false;
    }
}

void Together::make() {
    std::map<std::pair<int64_t, int64_t>, Members> by_size;
    for (const auto & member : members_) {
        const bool planned = attempt(*member, [&] {
            const GenerateRequest & request = *member->asked.request;
            member->asked.job.check();
            planner_.advise([&] { return planner_.pictures(planner_.outline_of(request)); }, [&] { member->recipe.plan(); });
        });
        const auto & shape = member->recipe.call().shape;
        if (planned) by_size[{shape[2], shape[3]}].push_back(member.get());
    }
    for (const auto & [size, members] : by_size) {
        const int rows = rows_of(members);
        if (rows > 0) {
            make_shared(members, rows);
        } else {
            for (Member * member : members) make_alone(*member);
        }
    }
}

int Together::rows_of(const Members & members) const {
    int rows = 0;
    DenoisingCall largest = members.front()->recipe.call();
    uint64_t held = members.front()->recipe.denoising().held - stages_.denoiser->run_bytes(largest);
    for (const Member * member : members) {
        const DenoisingCall & call = member->recipe.call();
        if (member->recipe.refined() || member->recipe.denoising().tile > 0 || call.deep_cache.on()) return 0;
        rows += static_cast<int>(call.shape[0]) * call.rows;
        held += stages_.denoiser->run_bytes(call);
        largest.tokens = std::max(largest.tokens, call.tokens);
        largest.rows = std::max(largest.rows, call.rows);
    }
    return stages_.denoiser->shared_rows(largest, rows, held);
}

/// Planned again, because what other members left in memory matters.
void Together::make_alone(Member & member) {
    const TogetherMember & asked = member.asked;
    attempt(member, [&] {
        asked.job.check();
        GenerateResult result;
        planner_.advise([&] { return planner_.pictures(planner_.outline_of(*asked.request)); },
                        [&] { result = Recipe(stages_, planner_, *asked.request, asked.job).make(); });
        asked.made(std::move(result));
    });
}

void Together::make_shared(const Members & members, int rows) {
    Members active;
    for (Member * member : members) {
        const bool started = attempt(*member, [&] {
            member->asked.job.check();
            member->recipe.clock().start();
            member->run = std::make_unique<SamplingRun>(member->recipe.start());
        });
        if (started) active.push_back(member);
    }
    for (Member * member : active) {
        member->recipe.share(static_cast<int>(active.size()));
        member->recipe.clock().start();
    }
    while (!active.empty()) advance(active, rows);
}

/// One evaluation of each run by itself, after a common one has failed: only those that fail alone are at fault.
Together::Members Together::evaluate_alone(const Members & members, const std::vector<EvaluationPlace> & places) {
    stages_.denoiser->network().runner().clear();
    Members rest;
    for (size_t i = 0; i < members.size(); ++i) {
        Member & member = *members[i];
        const TogetherMember & asked = member.asked;
        const bool went_well = attempt(member, [&] {
            planner_.advise(
                [&] { return planner_.pictures(planner_.outline_of(*asked.request)); },
                [&] { member.recipe.shared()->evaluate(member.run->input(), places[i], member.run->output(), asked.job); });
        });
        if (went_well) rest.push_back(&member);
    }
    return rest;
}

void Together::advance(Members & active, int & rows) {
    std::vector<SharedEvaluation> evaluations;
    std::vector<EvaluationPlace> places;
    Members begun;
    for (Member * member : active) {
        attempt(*member, [&] {
            const EvaluationPlace place = member->run->begin_evaluation(member->asked.job);
            evaluations.push_back(
                {&member->run->input(), place.timestep, member->recipe.shared()->guidance_at(place), &member->run->output()});
            places.push_back(place);
            begun.push_back(member);
        });
    }
    active.clear();
    if (begun.empty()) return;
    bool failed = false;
    try {
        stages_.denoiser->evaluate_shared(evaluations, rows, shared_);
    } catch (const Error & error) {
        if (error.code() == ErrorCode::aborted) {
            for (Member * member : begun) attempt(*member, [] { throw; });
            return;
        }
        if (error.code() == ErrorCode::out_of_memory) rows = std::max(1, rows / 2);
        failed = true;
    } catch (...) {
        failed = true;
    }
    if (failed) begun = evaluate_alone(begun, places);
    Members done;
    for (Member * member : begun) {
        const bool went_on = attempt(*member, [&] {
            if (member->run->end_evaluation()) member->recipe.report(*member->run);
        });
        if (went_on) (member->run->done() ? done : active).push_back(member);
    }
    std::vector<Latents> latents;
    for (Member * member : done) {
        latents.push_back(member->recipe.end_sampling(*member->run));
        member->run.reset();  // frees its memory before the decoder needs some
    }
    for (size_t i = 0; i < done.size(); ++i) {
        Member & member = *done[i];
        attempt(member, [&] {
            member.asked.job.check();
            member.recipe.clock().start();
            member.asked.made(member.recipe.result(latents[i]));
        });
    }
}

}  // namespace latent::pipeline
