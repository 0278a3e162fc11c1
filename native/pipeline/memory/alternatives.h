#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/json.h"

// Alternatives for an image that does not fit in memory.

namespace latent::pipeline {

/// The choices that determine how much memory an image takes.
struct Alternative {
    int64_t width = 0, height = 0;  // pixels
    std::string memory = "auto";    // auto | fast | low
    std::string dtype;              // of the whole model; "": as requested
    bool guided = false;
    uint64_t peak = 0;        // planned bytes of the largest stage
    bool by_picture = false;  // guidance has a second scale for the image (editing models)

    /// Leaves out what is the same as in `wanted`.
    Json to_json(const Alternative & wanted) const;
};

/// The planner's answer: the peak if the choice fits the limit; otherwise the bytes that the failing stage needs.
struct PlanAnswer {
    bool fits = false;
    uint64_t bytes = 0;
};
using AskPlanner = std::function<PlanAnswer(const Alternative & choice, uint64_t bound)>;

/// Choices that fit, those closest to the request first; or, if nothing fits, the smallest choice.
struct Alternatives {
    std::vector<Alternative> plans;
    Alternative least;

    /// "nearest" and "plans", or "least", for the details of an error.
    Json to_json(const Alternative & wanted) const;
    /// A sentence for its message.
    std::string text(const Alternative & wanted) const;
};

/// Queries the planner, about eighty times at most, for single changes: low memory, which gives the same image; the largest size
/// with the same aspect ratio whose sides are multiples of `multiple` (found by bisection, assuming that the peak grows with the
/// size; 0: the size is fixed); a smaller weight type; no guidance. If none is enough, tries two or three at once.
Alternatives find_alternatives(const Alternative & wanted, int64_t multiple, uint64_t bound, const AskPlanner & ask);

}  // namespace latent::pipeline
