#pragma once

#include <vector>

#include "pipeline/recipe.h"

namespace latent::pipeline {

/// Makes several requests side by side: encodes one after another, then evaluates the network for all runs of the same size in
/// common calls, then decodes one after another. Each image takes the same steps as alone; only the calls have more rows. Runs
/// that cannot share calls are made one after another.
class Together {
public:
    Together(Stages & stages, const MemoryPlanner & planner, std::vector<TogetherMember> members, const JobContext & shared);

    void make();

private:
    struct Member {
        Member(Stages & stages, const MemoryPlanner & planner, TogetherMember given)
            : asked(std::move(given)), recipe(stages, planner, *asked.request, asked.job) {}

        const TogetherMember asked;
        Recipe recipe;                     // refers to `asked`
        std::unique_ptr<SamplingRun> run;  // while it samples
    };
    using Members = std::vector<Member *>;
    /// Runs a step of one member; whatever it throws ends only that member. Whether it went well.
    template <typename Step>
    bool attempt(Member & member, Step && step);
    /// Rows of a common call; 0 if the members are made one after another.
    int rows_of(const Members & members) const;
    void make_alone(Member & member);
    void make_shared(const Members & members, int rows);
    /// One evaluation of each run. Decodes finished ones and removes them, and those that failed. `rows`: fewer if memory was
    /// short.
    void advance(Members & active, int & rows);
    Members evaluate_alone(const Members & members, const std::vector<EvaluationPlace> & places);

    Stages & stages_;
    const MemoryPlanner & planner_;
    const JobContext & shared_;
    std::vector<std::unique_ptr<Member>> members_;
};

}  // namespace latent::pipeline
