// Turns the recorded program into launches: fuses additions, removes dead work, places values in a shared arena.
#include <algorithm>
#include <map>

#include "cuda/program.h"

namespace latent::cuda {
namespace {

constexpr uint64_t kAlign = 256;
constexpr double kSliceFlops = 4e11;  // about a millisecond on a large GPU
constexpr size_t kSliceNodes = 96;
constexpr size_t kNever = SIZE_MAX;

/// Allocates in a growing arena: the smallest gap that fits, else the end.
class Arena {
public:
    uint64_t take(uint64_t bytes) {
        bytes = std::max<uint64_t>((bytes + kAlign - 1) / kAlign * kAlign, kAlign);
        auto best = gaps_.end();
        for (auto gap = gaps_.begin(); gap != gaps_.end(); ++gap) {
            if (gap->second >= bytes && (best == gaps_.end() || gap->second < best->second)) best = gap;
        }
        uint64_t at;
        if (best != gaps_.end()) {
            at = best->first;
            const uint64_t left = best->second - bytes;
            gaps_.erase(best);
            if (left) gaps_[at + bytes] = left;
        } else {
            // A gap at the end is extended.
            at = end_;
            if (!gaps_.empty() && std::prev(gaps_.end())->first + std::prev(gaps_.end())->second == end_) {
                at = std::prev(gaps_.end())->first;
                gaps_.erase(std::prev(gaps_.end()));
            }
            end_ = at + bytes;
            most_ = std::max(most_, end_);
        }
        taken_[at] = bytes;
        return at;
    }
    void give(uint64_t at) {
        uint64_t bytes = taken_.at(at);
        taken_.erase(at);
        auto after = gaps_.lower_bound(at);
        if (after != gaps_.end() && at + bytes == after->first) {
            bytes += after->second;
            after = gaps_.erase(after);
        }
        if (after != gaps_.begin()) {
            const auto before = std::prev(after);
            if (before->first + before->second == at) {
                before->second += bytes;
                return;
            }
        }
        gaps_[at] = bytes;
    }
    uint64_t most() const { return most_; }

private:
    std::map<uint64_t, uint64_t> gaps_, taken_;
    uint64_t end_ = 0, most_ = 0;
};

std::vector<int> count_uses(const std::vector<Node> & nodes, size_t values) {
    std::vector<int> uses(values, 0);
    for (const Node & node : nodes) {
        for (const int read : node.reads) ++uses[static_cast<size_t>(read)];
    }
    return uses;
}

/// Removes work that no output needs.
void drop_dead(std::vector<Node> & nodes, size_t values) {
    std::vector<bool> needed(values, false);
    std::vector<Node> kept;
    for (size_t i = nodes.size(); i-- > 0;) {
        Node & node = nodes[i];
        if (node.writes >= 0 && !needed[static_cast<size_t>(node.writes)]) continue;
        for (const int read : node.reads) needed[static_cast<size_t>(read)] = true;
        kept.push_back(std::move(node));
    }
    std::reverse(kept.begin(), kept.end());
    nodes = std::move(kept);
}

/// If an operand of an addition is the result of a product that nothing else uses, the other operand becomes the product's
/// residual. It must be computed before the product.
void take_in_additions(std::vector<Node> & nodes, const std::vector<Value> & values) {
    const std::vector<int> uses = count_uses(nodes, values.size());
    std::vector<size_t> maker(values.size(), kNever);
    std::vector<bool> gone(nodes.size(), false);
    for (size_t i = 0; i < nodes.size(); ++i) {
        Node & node = nodes[i];
        if (node.adds && !values[static_cast<size_t>(node.writes)].f32) {
            for (int side = 0; side < 2 && !gone[i]; ++side) {
                const auto mine = static_cast<size_t>(node.reads[side]), other = static_cast<size_t>(node.reads[1 - side]);
                const size_t at = maker[mine];
                if (at == kNever || uses[mine] != 1 || !nodes[at].product || nodes[at].product->residual >= 0) continue;
                if (maker[other] != kNever && maker[other] >= at) continue;
                nodes[at].product->residual = static_cast<int>(other);
                nodes[at].reads.push_back(static_cast<int>(other));
                nodes[at].writes = node.writes;
                maker[static_cast<size_t>(node.writes)] = at;
                gone[i] = true;
            }
        }
        if (!gone[i] && node.writes >= 0) maker[static_cast<size_t>(node.writes)] = i;
    }
    std::vector<Node> kept;
    for (size_t i = 0; i < nodes.size(); ++i) {
        if (!gone[i]) kept.push_back(std::move(nodes[i]));
    }
    nodes = std::move(kept);
}

/// The result of a product that is only used by an output stays in float32.
void keep_outputs_wide(Plan & plan) {
    const std::vector<int> uses = count_uses(plan.nodes, plan.f32.size());
    std::vector<bool> by_product(plan.f32.size(), false);
    for (const Node & node : plan.nodes) {
        if (node.product) by_product[static_cast<size_t>(node.writes)] = true;
    }
    for (const Node & node : plan.nodes) {
        if (node.writes >= 0) continue;
        const auto read = static_cast<size_t>(node.reads[0]);
        if (by_product[read] && uses[read] == 1) plan.f32[read] = true;
    }
}

}  // namespace

Plan Program::plan() const {
    Plan plan;
    plan.nodes = nodes_;
    for (Node & node : plan.nodes) {
        for (int & read : node.reads) read = stored(read);
        if (node.product) node.product = std::make_shared<Product>(*node.product);
    }
    drop_dead(plan.nodes, values_.size());
    take_in_additions(plan.nodes, values_);
    for (const Value & v : values_) plan.f32.push_back(v.f32);
    keep_outputs_wide(plan);

    std::vector<size_t> last(values_.size(), kNever);
    for (size_t i = 0; i < plan.nodes.size(); ++i) {
        for (const int read : plan.nodes[i].reads) last[static_cast<size_t>(read)] = i;
    }
    plan.offset.assign(values_.size(), UINT64_MAX);
    Arena arena;
    double flops = 0;
    for (size_t i = 0; i < plan.nodes.size(); ++i) {
        const Node & node = plan.nodes[i];
        if (plan.slices.empty() || i - plan.slices.back() >= kSliceNodes || flops >= kSliceFlops)
            plan.slices.push_back(i), flops = 0;
        flops += node.flops, plan.flops += node.flops, plan.launches += node.launches;
        if (node.writes >= 0) {
            const auto y = static_cast<size_t>(node.writes);
            const bool wider = plan.f32[y] && !values_[y].f32;
            plan.offset[y] = arena.take(values_[y].bytes() * (wider ? 2 : 1));
        }
        plan.workspace.push_back(node.workspace ? arena.take(node.workspace) : 0);
        if (node.workspace) arena.give(plan.workspace.back());
        for (size_t r = 0; r < node.reads.size(); ++r) {
            const auto read = static_cast<size_t>(node.reads[r]);
            const bool seen = std::find(node.reads.begin(), node.reads.begin() + static_cast<std::ptrdiff_t>(r), node.reads[r]) !=
                              node.reads.begin() + static_cast<std::ptrdiff_t>(r);
            if (!seen && last[read] == i && plan.offset[read] != UINT64_MAX) arena.give(plan.offset[read]);
        }
    }
    plan.slices.push_back(plan.nodes.size());
    plan.arena = arena.most();
    return plan;
}

uint64_t Program::port_bytes() const {
    uint64_t bytes = 0;
    for (const Port & port : ports_) bytes += (port.bytes + kAlign - 1) / kAlign * kAlign;
    return bytes;
}

latent_cuda_measure Program::measure() const {
    const Plan plan = this->plan();
    return {plan.arena + port_bytes(), 0, plan.flops, plan.launches, static_cast<int32_t>(plan.slices.size()) - 1};
}

}  // namespace latent::cuda
