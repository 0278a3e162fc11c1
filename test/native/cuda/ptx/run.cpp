#include <algorithm>
#include <optional>
#include <stdexcept>

#include "ptx/counts.h"
#include "ptx/machine.h"

namespace latent_ptx {

void fail(const std::string & what) {
    throw std::runtime_error(what);
}

namespace {

uint32_t holding(const Warp & warp, const Instruction & i, uint32_t mask) {
    if (i.guard < 0) return mask;
    const Register & guard = warp.registers[static_cast<size_t>(i.guard)];
    uint32_t held = 0;
    for (int lane = 0; lane < kLanes; ++lane)
        held |= static_cast<uint32_t>((guard[static_cast<size_t>(lane)] & 1) != i.guard_negated) << lane;
    return mask & held;
}

/// The lanes of `among` that are first in the code; `next` is where the following one of the others is.
uint32_t first_lanes(const Warp & warp, uint32_t among, uint32_t & at, uint32_t & next) {
    at = next = UINT32_MAX;
    uint32_t mask = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
        if (!(among >> lane & 1)) continue;
        const uint32_t own = warp.at[static_cast<size_t>(lane)];
        if (own < at) {
            next = at, at = own, mask = 0;
        }
        if (own == at)
            mask |= 1u << lane;
        else
            next = std::min(next, own);
    }
    return mask;
}

void move(Warp & warp, uint32_t mask, uint32_t to) {
    for (int lane = 0; lane < kLanes; ++lane) {
        if (mask >> lane & 1) warp.at[static_cast<size_t>(lane)] = to;
    }
}

void set_special(const Kernel & kernel, Block & block, size_t index, Warp & warp) {
    const auto set = [&](const char * name, const auto & value) {
        const auto found = kernel.special.find(name);
        if (found == kernel.special.end()) return;
        for (size_t lane = 0; lane < kLanes; ++lane)
            warp.registers[static_cast<size_t>(found->second)][lane] = static_cast<uint64_t>(value(lane));
    };
    set("%tid.x", [&](size_t lane) { return index * kLanes + lane; });
    set("%ctaid.x", [&](size_t) { return block.index.x; });
    set("%ctaid.y", [&](size_t) { return block.index.y; });
    set("%ctaid.z", [&](size_t) { return block.index.z; });
    set("%nctaid.x", [&](size_t) { return block.grid.x; });
    set("%nctaid.y", [&](size_t) { return block.grid.y; });
    set("%nctaid.z", [&](size_t) { return block.grid.z; });
}

void run_block(const Kernel & kernel, Block & block) {
    std::fill(block.shared.begin(), block.shared.end(), static_cast<unsigned char>(0xff));  // NaN
    for (size_t w = 0; w < block.warps.size(); ++w) {
        Warp & warp = block.warps[w];
        warp.at = {}, warp.ended = warp.waiting = warp.early = 0;
        for (auto & copies : warp.copies) copies.clear();
        for (auto & groups : warp.groups) groups.clear();
        set_special(kernel, block, w, warp);
    }
    std::vector<size_t> order(block.warps.size());
    for (size_t w = 0; w < order.size(); ++w) order[w] = w;
    for (;;) {
        for (size_t w = order.size(); w > 1; --w) {
            std::swap(order[w - 1], order[block.random() % w]);
        }
        for (const size_t w : order) block.warps[w].run();
        // Each lane has ended or waits.
        const auto ended = [](const Warp & warp) { return warp.ended == kAll; };
        if (std::all_of(block.warps.begin(), block.warps.end(), ended)) return;
        for (Warp & warp : block.warps) {
            if (warp.ended) fail("a thread ended while others wait in a barrier of the block");
            if (std::count(warp.at.begin(), warp.at.end(), warp.at[0]) != kLanes)
                fail("lanes of a warp wait in different barriers");
            warp.waiting = 0;
        }
    }
}

}  // namespace

void Warp::run() {
    const std::vector<Instruction> & code = block->kernel->code;
    for (;;) {
        uint32_t live = ~ended & ~waiting & ~early, here = 0, next = 0;
        bool gathered = false;
        if (live == 0) {
            if (early == 0) return;
            // All others are past or at a barrier: what these lanes wait for must be for all of the warp.
            live = early, early = 0, gathered = true;
        }
        const uint32_t mask = first_lanes(*this, live, here, next);
        if (gathered && mask != kAll)
            fail("lanes of a warp wait in different collectives, at " + code[here].text + " in " + block->kernel->name);
        bool together = true;
        while (together && here < next) {
            const Instruction & i = code[here];
            const uint32_t doing = holding(*this, i, mask);
            // Lanes that come early to an instruction of the whole warp do it later.
            if (block->counts && (i.flow != Flow::together || mask == kAll)) block->counts->add(*this, i, doing);
            try {
                switch (i.flow) {
                    case Flow::next:
                        if (doing) i.step(*this, i, doing);
                        ++here;
                        break;
                    case Flow::branch:
                        if (doing == mask) {
                            here = i.target;
                        } else if (doing == 0) {
                            ++here;
                        } else {
                            move(*this, mask & ~doing, here + 1), move(*this, doing, i.target);
                            together = false;
                        }
                        break;
                    case Flow::leave:
                        for (size_t lane = 0; lane < kLanes; ++lane) {
                            const size_t committed = groups[lane].empty() ? 0 : groups[lane].back();
                            if (doing >> lane & 1 && copies[lane].size() > committed)
                                fail("a thread ended with copies that were not committed");
                        }
                        ended |= doing;
                        move(*this, mask & ~doing, here + 1);
                        together = false;
                        break;
                    case Flow::barrier:
                        if (doing != mask) fail("a barrier with a condition");
                        waiting |= mask;
                        move(*this, mask, here + 1);
                        together = false;
                        break;
                    case Flow::together:
                        if (doing != mask) fail("a condition");
                        if (mask == kAll) {
                            i.step(*this, i, mask);
                            ++here;
                        } else {
                            early |= mask;
                            move(*this, mask, here);
                            together = false;
                        }
                        break;
                }
            } catch (const std::runtime_error & error) {
                fail(std::string(error.what()) + ", at " + i.text + " in " + block->kernel->name);
            }
        }
        if (together) move(*this, mask, here);
    }
}

void run_grid(const Kernel & kernel, dim3 grid, int threads, size_t shared, const std::vector<unsigned char> & parameters) {
    if (threads % kLanes || threads < kLanes) fail("whole warps only");
    if (threads > kernel.most_threads) fail("more threads than " + kernel.name + " was compiled for");
    if (parameters.size() != kernel.parameter_bytes) fail("parameters of another size: " + kernel.name);
    static thread_local Block block;
    block.kernel = &kernel, block.grid = grid, block.parameters = &parameters;
    block.shared.resize(shared);
    block.chance = latent_host::first_chance();
    std::optional<Counts> counts;
    if (counting()) counts.emplace(kernel);
    block.counts = counts ? &*counts : nullptr;
    block.warps.resize(static_cast<size_t>(threads / kLanes));
    for (Warp & warp : block.warps) {
        warp.block = &block;
        Register wrong;
        wrong.fill(0x7fc0dead7fc0deadull);
        warp.registers.assign(static_cast<size_t>(kernel.registers), wrong);
        for (const auto & [slot, bits] : kernel.constants) warp.registers[static_cast<size_t>(slot)].fill(bits);
    }
    for (unsigned z = 0; z < grid.z; ++z) {
        for (unsigned y = 0; y < grid.y; ++y) {
            for (unsigned x = 0; x < grid.x; ++x) {
                block.index = dim3(x, y, z);
                run_block(kernel, block);
            }
        }
    }
    if (counts) keep(*counts, uint64_t{grid.x} * grid.y * grid.z);
}

}  // namespace latent_ptx
