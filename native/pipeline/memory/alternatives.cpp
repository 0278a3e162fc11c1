#include "pipeline/memory/alternatives.h"

#include <algorithm>

#include "pipeline/messages.h"

namespace latent::pipeline {
namespace {

constexpr const char * kSmallerTypes[] = {"q8_0", "q4_0"};
constexpr int64_t kLeastSide = 64;  // pixels of the longer side; smaller suggestions are useless
constexpr int kMostQuestions = 12;  // when searching for the least bytes of one choice

/// The changes of `choice`, as options.
std::string changes(const Alternative & choice, const Alternative & wanted) {
    std::vector<std::string> words;
    if (choice.width != wanted.width || choice.height != wanted.height) words.push_back(size_text(choice.width, choice.height));
    if (choice.memory != wanted.memory) words.push_back("memory: '" + choice.memory + "'");
    if (choice.dtype != wanted.dtype) words.push_back("dtype: '" + choice.dtype + "'");
    if (choice.guided != wanted.guided) words.push_back("guidanceScale: 1");
    if (choice.guided != wanted.guided && wanted.by_picture) words.push_back("imageGuidanceScale: 1");
    std::string text;
    for (size_t i = 0; i < words.size(); ++i) text += (i == 0 ? "" : i == 1 ? " with " : " and ") + words[i];
    return text + " (" + mebibytes(choice.peak) + ")";
}

class Search {
public:
    Search(const Alternative & wanted, int64_t multiple, uint64_t bound, const AskPlanner & ask)
        : wanted_(wanted), multiple_(multiple), bound_(bound), ask_(ask) {}

    Alternatives run() {
        const Alternative low = lowered(wanted_);
        if (wanted_.memory != "low") add(low);
        single_changes(wanted_);
        if (found_.plans.empty() && wanted_.memory != "low") single_changes(low);
        if (found_.plans.empty()) all_at_once(low);
        if (found_.plans.empty()) found_.least = least(low);
        return std::move(found_);
    }

private:
    static Alternative lowered(Alternative choice) {
        choice.memory = "low";
        return choice;
    }

    bool add(Alternative choice) {
        const PlanAnswer answer = ask_(choice, bound_);
        if (!answer.fits) return false;
        choice.peak = answer.bytes;
        found_.plans.push_back(choice);
        return true;
    }

    void single_changes(const Alternative & base) {
        add_largest_size(base);
        for (const char * type : kSmallerTypes) {
            Alternative choice = base;
            choice.dtype = type;
            if (add(choice)) break;
        }
        if (!base.guided) return;
        Alternative choice = base;
        choice.guided = false;
        add(choice);
    }

    void all_at_once(Alternative choice) {
        choice.dtype = kSmallerTypes[1];
        if ((other_sizes() ? add_largest_size(choice) : add(choice)) || !choice.guided) return;
        choice.guided = false;
        if (!add(choice)) add_largest_size(choice);
    }

    bool other_sizes() const { return multiple_ > 0; }
    int64_t steps() const { return (std::max(wanted_.width, wanted_.height) + multiple_ - 1) / multiple_; }
    int64_t least_steps() const { return std::min(steps(), std::max<int64_t>(1, kLeastSide / multiple_)); }

    /// The same aspect ratio, with a longer side of this many multiples.
    Alternative resized(Alternative choice, int64_t side) const {
        const int64_t longer = std::max(wanted_.width, wanted_.height), shorter = std::min(wanted_.width, wanted_.height);
        const int64_t other = std::max<int64_t>(1, (2 * side * shorter + longer) / (2 * longer));
        choice.width = (wanted_.width >= wanted_.height ? side : other) * multiple_;
        choice.height = (wanted_.width >= wanted_.height ? other : side) * multiple_;
        return choice;
    }

    bool add_largest_size(const Alternative & base) {
        if (!other_sizes()) return false;
        int64_t below = least_steps() - 1, above = steps();  // the largest that fits is in (below, above), if any
        Alternative best;
        while (above - below > 1) {
            const int64_t side = below + (above - below) / 2;
            Alternative choice = resized(base, side);
            const PlanAnswer answer = ask_(choice, bound_);
            if (answer.fits) choice.peak = answer.bytes, best = choice;
            (answer.fits ? below : above) = side;
        }
        if (best.peak > 0) found_.plans.push_back(best);
        return best.peak > 0;
    }

    /// Raises the limit to what the planner needs until it accepts.
    Alternative least(Alternative choice) {
        if (other_sizes()) choice = resized(choice, least_steps());
        choice.guided = false;
        Alternative best;
        for (const std::string & type : {wanted_.dtype, std::string(kSmallerTypes[1])}) {
            choice.dtype = type;
            uint64_t bound = bound_;
            PlanAnswer answer = ask_(choice, bound);
            for (int i = 0; i < kMostQuestions && !answer.fits && answer.bytes > bound; ++i) {
                bound = answer.bytes;
                answer = ask_(choice, bound);
            }
            choice.peak = std::max(bound, answer.bytes);
            if (best.peak == 0 || choice.peak < best.peak) best = choice;
        }
        return best;
    }

    const Alternative & wanted_;
    int64_t multiple_;
    uint64_t bound_;
    const AskPlanner & ask_;
    Alternatives found_;
};

}  // namespace

Json Alternative::to_json(const Alternative & wanted) const {
    Json out = {{"width", width}, {"height", height}, {"memory", memory}, {"peakBytes", peak}};
    if (!dtype.empty()) out["dtype"] = dtype;
    if (guided != wanted.guided) out["guidanceScale"] = 1;
    if (guided != wanted.guided && wanted.by_picture) out["imageGuidanceScale"] = 1;
    return out;
}

Json Alternatives::to_json(const Alternative & wanted) const {
    if (plans.empty()) return {{"least", least.to_json(wanted)}};
    Json all = Json::array();
    for (const Alternative & choice : plans) all.push_back(choice.to_json(wanted));
    return {{"nearest", all[0]}, {"plans", all}};
}

std::string Alternatives::text(const Alternative & wanted) const {
    if (plans.empty()) return "Nothing fits; the smallest choice is " + changes(least, wanted);
    std::string text = "What fits: " + changes(plans[0], wanted);
    for (size_t i = 1; i < plans.size(); ++i) text += (i + 1 < plans.size() ? ", " : " or ") + changes(plans[i], wanted);
    return text;
}

Alternatives find_alternatives(const Alternative & wanted, int64_t multiple, uint64_t bound, const AskPlanner & ask) {
    return Search(wanted, multiple, bound, ask).run();
}

}  // namespace latent::pipeline
