#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/json.h"

// What an image that does not fit in memory could be made with instead.

namespace latent::pipeline {

/// What decides how much memory an image takes.
struct Alternative {
    int64_t width = 0, height = 0;  // pixels
    std::string memory = "auto";    // auto | fast | low
    std::string dtype;              // of the whole model; "": as it was asked for
    bool guided = false;
    uint64_t peak = 0;        // bytes of the highest stage, as planned
    bool by_picture = false;  // guidance has a second scale, that of the image (models that edit one)

    /// `wanted` tells what need not be said.
    Json to_json(const Alternative & wanted) const;
};

/// The planner's answer: the peak where the choice fits the bound; otherwise the bytes that the stage which did not fit needs.
struct PlanAnswer {
    bool fits = false;
    uint64_t bytes = 0;
};
using AskPlanner = std::function<PlanAnswer(const Alternative & choice, uint64_t bound)>;

/// Choices that fit, the nearest to what was wanted first; or, where nothing fits, the least that could be asked for.
struct Alternatives {
    std::vector<Alternative> plans;
    Alternative least;

    /// "nearest" and "plans", or "least", for the details of an error.
    Json to_json(const Alternative & wanted) const;
    /// A sentence for its message.
    std::string text(const Alternative & wanted) const;
};

/// Asks the planner, at most some eighty times, for single changes: low memory, which makes the same image; the largest size of
/// the same shape whose sides are multiples of `multiple` (found by bisection, so of sizes whose peaks grow with them; 0: the
/// size is given); a smaller weight type; no guidance. Where none of them is enough, for two or three at once.
Alternatives find_alternatives(const Alternative & wanted, int64_t multiple, uint64_t bound, const AskPlanner & ask);

}  // namespace latent::pipeline
