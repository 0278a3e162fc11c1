#include <cstring>

#include "cuda/device_code.h"
#include "ptx/machine.h"

// Loads, stores, asynchronous copies, and what a warp does together, by the PTX ISA.

namespace latent_ptx {
namespace {

uint64_t & value(Warp & warp, int slot, int lane) {
    return warp.registers[static_cast<size_t>(slot)][static_cast<size_t>(lane)];
}

/// The memory at an address in a register, which is the slot after the values.
template <typename At>
void each_lane(Warp & warp, const Instruction & i, uint32_t mask, const At & at) {
    for (int lane = 0; lane < kLanes; ++lane) {
        if (mask >> lane & 1) at(lane, value(warp, i.slot[i.elements], lane) + static_cast<uint64_t>(i.number));
    }
}

unsigned char * global_at(uint64_t address, uint64_t bytes) {
    if (address % bytes) fail("an address of global memory is not aligned");
    auto * p = reinterpret_cast<unsigned char *>(address);
    if (!latent_host::is_device_memory(p, bytes)) fail("an address of no memory of the device");
    return p;
}

void read(Warp & warp, const Instruction & i, int lane, const unsigned char * from) {
    for (int n = 0; n < i.elements; ++n) {
        uint64_t bits = 0;
        std::memcpy(&bits, from + n * i.bytes, i.bytes);
        if (i.is_signed) {
            const int unused = 64 - 8 * i.bytes;
            bits = static_cast<uint64_t>(static_cast<int64_t>(bits << unused) >> unused);
        }
        value(warp, i.slot[static_cast<size_t>(n)], lane) = bits;
    }
}

void write(Warp & warp, const Instruction & i, int lane, unsigned char * to) {
    for (int n = 0; n < i.elements; ++n)
        std::memcpy(to + n * i.bytes, &value(warp, i.slot[static_cast<size_t>(n)], lane), i.bytes);
}

uint64_t size_of(const Instruction & i) {
    return uint64_t{i.elements} * i.bytes;
}

void load_global(Warp & warp, const Instruction & i, uint32_t mask) {
    each_lane(warp, i, mask, [&](int lane, uint64_t at) { read(warp, i, lane, global_at(at, size_of(i))); });
}
void store_global(Warp & warp, const Instruction & i, uint32_t mask) {
    each_lane(warp, i, mask, [&](int lane, uint64_t at) { write(warp, i, lane, global_at(at, size_of(i))); });
}
// Shared addresses have 32 bits.
void load_shared(Warp & warp, const Instruction & i, uint32_t mask) {
    each_lane(warp, i, mask,
              [&](int lane, uint64_t at) { read(warp, i, lane, warp.block->shared_at(static_cast<uint32_t>(at), size_of(i))); });
}
void store_shared(Warp & warp, const Instruction & i, uint32_t mask) {
    each_lane(warp, i, mask,
              [&](int lane, uint64_t at) { write(warp, i, lane, warp.block->shared_at(static_cast<uint32_t>(at), size_of(i))); });
}
void load_parameter(Warp & warp, const Instruction & i, uint32_t mask) {
    const std::vector<unsigned char> & all = *warp.block->parameters;
    each_lane(warp, i, mask, [&](int lane, uint64_t at) {
        if (at + size_of(i) > all.size()) fail("a parameter that was not given");
        read(warp, i, lane, all.data() + at);
    });
}

// ---- atom.global.add.u32 result, [address], value

void atomic_add(Warp & warp, const Instruction & i, uint32_t mask) {
    for (int lane = 0; lane < kLanes; ++lane) {
        if (!(mask >> lane & 1)) continue;
        unsigned char * p = global_at(value(warp, i.slot[1], lane) + static_cast<uint64_t>(i.number), 4);
        uint32_t old;
        std::memcpy(&old, p, 4);
        const uint32_t sum = old + static_cast<uint32_t>(value(warp, i.slot[2], lane));
        std::memcpy(p, &sum, 4);
        value(warp, i.slot[0], lane) = old;
    }
}

// ---- cp.async.cg.shared.global [to], [from], 16, bytes: the rest of 16 is zero

void perform(Block & block, Copy & copy) {
    if (copy.done) return;
    copy.done = true;
    unsigned char * to = block.shared_at(copy.to, 16);
    std::memset(to, 0, 16);
    if (copy.bytes) std::memcpy(to, copy.from, copy.bytes);
}

void copy_async(Warp & warp, const Instruction & i, uint32_t mask) {
    Block & block = *warp.block;
    for (int lane = 0; lane < kLanes; ++lane) {
        if (!(mask >> lane & 1)) continue;
        const uint64_t from = value(warp, i.slot[1], lane);
        const auto to = static_cast<uint32_t>(value(warp, i.slot[0], lane)),
                   bytes = static_cast<uint32_t>(value(warp, i.slot[3], lane));
        if (static_cast<uint32_t>(value(warp, i.slot[2], lane)) != 16 || bytes > 16) fail("a cp.async of another size");
        if (from % 16) fail("the source of a cp.async is not aligned");
        if (bytes) global_at(from, 16);
        block.shared_at(to, 16);
        auto & copies = warp.copies[static_cast<size_t>(lane)];
        copies.push_back({to, reinterpret_cast<const void *>(from), bytes, false});
        if (block.random() >> 30) perform(block, copies.back());
    }
}

void commit(Warp & warp, const Instruction &, uint32_t mask) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
        if (mask >> lane & 1) warp.groups[lane].push_back(warp.copies[lane].size());
    }
}

void wait_groups(Warp & warp, const Instruction & i, uint32_t mask) {
    const auto left = static_cast<size_t>(value(warp, i.slot[0], 0));
    for (size_t lane = 0; lane < kLanes; ++lane) {
        auto & groups = warp.groups[lane];
        if (!(mask >> lane & 1) || groups.size() <= left) continue;
        auto & copies = warp.copies[lane];
        const size_t ended = groups.size() - left, count = groups[ended - 1];
        for (size_t n = 0; n < count; ++n) perform(*warp.block, copies[n]);
        copies.erase(copies.begin(), copies.begin() + static_cast<std::ptrdiff_t>(count));
        groups.erase(groups.begin(), groups.begin() + static_cast<std::ptrdiff_t>(ended));
        for (size_t & end : groups) end -= count;
    }
}

// ---- the warp together

/// shfl.sync.bfly.b32 result, value, mask, 31, members
void shuffle(Warp & warp, const Instruction & i, uint32_t) {
    if (static_cast<uint32_t>(value(warp, i.slot[3], 0)) != 31 || static_cast<uint32_t>(value(warp, i.slot[4], 0)) != kAll)
        fail("a shuffle of a part of the warp");
    const Register from = warp.registers[static_cast<size_t>(i.slot[1])], across = warp.registers[static_cast<size_t>(i.slot[2])];
    for (int lane = 0; lane < kLanes; ++lane)
        value(warp, i.slot[0], lane) = from[(static_cast<size_t>(lane) ^ across[static_cast<size_t>(lane)]) & 31];
}

/// ldmatrix.sync.aligned.m8n8.x4: lane 8 m + r has the address of row r of matrix m; each lane gets two neighbours of row
/// lane / 4, or of column lane / 4 where transposed.
template <bool transposed>
void load_matrices(Warp & warp, const Instruction & i, uint32_t) {
    std::array<std::array<uint16_t, 8>, kLanes> rows;
    for (size_t lane = 0; lane < kLanes; ++lane) {
        const uint64_t at = warp.registers[static_cast<size_t>(i.slot[4])][lane] + static_cast<uint64_t>(i.number);
        std::memcpy(rows[lane].data(), warp.block->shared_at(static_cast<uint32_t>(at), 16), 16);
    }
    for (size_t lane = 0; lane < kLanes; ++lane) {
        for (size_t m = 0; m < 4; ++m) {
            const size_t major = lane / 4, minor = lane % 4 * 2;
            const uint16_t low = transposed ? rows[8 * m + minor][major] : rows[8 * m + major][minor];
            const uint16_t high = transposed ? rows[8 * m + minor + 1][major] : rows[8 * m + major][minor + 1];
            warp.registers[static_cast<size_t>(i.slot[m])][lane] = low | uint32_t(high) << 16;
        }
    }
}

float number(uint16_t bits, bool half) {
    return half ? latent::cuda::to_float(latent::cuda::f16{bits}) : latent::cuda::to_float(latent::cuda::bf16{bits});
}

/// mma.sync.aligned.m16n8k16.row.col.f32: the four results, a's four words, b's two, c's four.
template <bool half>
void multiply_matrices(Warp & warp, const Instruction & i, uint32_t) {
    float a[16][16], b[16][8], c[16][8];
    const auto word = [&](int n, size_t lane) { return static_cast<uint32_t>(warp.registers[static_cast<size_t>(n)][lane]); };
    for (size_t lane = 0; lane < kLanes; ++lane) {
        const size_t group = lane / 4, in_group = lane % 4;
        for (size_t n = 0; n < 4; ++n) {  // rows + 8 in the second and fourth, columns + 8 in the third and fourth
            const uint32_t two = word(i.slot[4 + n], lane);
            float * to = &a[group + n % 2 * 8][in_group * 2 + n / 2 * 8];
            to[0] = number(static_cast<uint16_t>(two), half), to[1] = number(static_cast<uint16_t>(two >> 16), half);
        }
        for (size_t n = 0; n < 2; ++n) {
            const uint32_t two = word(i.slot[8 + n], lane);
            b[in_group * 2 + n * 8][group] = number(static_cast<uint16_t>(two), half);
            b[in_group * 2 + n * 8 + 1][group] = number(static_cast<uint16_t>(two >> 16), half);
        }
        for (size_t n = 0; n < 4; ++n) {
            const uint32_t bits = word(i.slot[10 + n], lane);
            std::memcpy(&c[group + n / 2 * 8][in_group * 2 + n % 2], &bits, 4);
        }
    }
    for (int row = 0; row < 16; ++row) {
        for (int k = 0; k < 16; ++k) {
            for (int column = 0; column < 8; ++column) c[row][column] += a[row][k] * b[k][column];
        }
    }
    for (size_t lane = 0; lane < kLanes; ++lane) {
        for (size_t n = 0; n < 4; ++n) {
            uint32_t bits;
            std::memcpy(&bits, &c[lane / 4 + n / 2 * 8][lane % 4 * 2 + n % 2], 4);
            warp.registers[static_cast<size_t>(i.slot[n])][lane] = bits;
        }
    }
}

void nothing(Warp &, const Instruction &, uint32_t) {}

}  // namespace

unsigned char * Block::shared_at(uint64_t address, uint64_t bytes) {
    if (address % bytes) fail("an address of shared memory is not aligned");
    if (address < kSharedBase || address - kSharedBase + bytes > shared.size()) fail("an address outside shared memory");
    return shared.data() + (address - kSharedBase);
}

void set_memory_step(const std::string & mnemonic, Instruction & i) {
    const auto begins = [&](const char * text) { return mnemonic.rfind(text, 0) == 0; };
    const auto is = [&](const char * text, Step step, int operands, Flow flow = Flow::next) {
        if (!begins(text)) return;
        i.step = step, i.operands = operands, i.flow = flow;
    };
    is("shfl.sync.bfly.b32", shuffle, 5, Flow::together);
    is("ldmatrix.sync.aligned.m8n8.x4.shared.b16", load_matrices<false>, 5, Flow::together);
    is("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", load_matrices<true>, 5, Flow::together);
    is("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", multiply_matrices<false>, 14, Flow::together);
    is("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", multiply_matrices<true>, 14, Flow::together);
    is("bar.warp.sync", nothing, 1, Flow::together);
    is("bar.sync", nothing, 1, Flow::barrier);
    is("ret", nothing, 0, Flow::leave);
    is("bra", nothing, 1, Flow::branch);
    is("cp.async.cg.shared.global", copy_async, 4);
    is("cp.async.commit_group", commit, 0);
    is("cp.async.wait_group", wait_groups, 1);
    is("atom.global.add.u32", atomic_add, 3);
    if (i.step) return;

    is("ld.global.", load_global, 2), is("st.global.", store_global, 2);
    is("ld.shared.", load_shared, 2), is("st.shared.", store_shared, 2);
    is("ld.param.", load_parameter, 2);
    if (!i.step) fail("an unknown instruction: " + mnemonic);
    if (mnemonic.find(".v2.") != std::string::npos) i.elements = 2;
    if (mnemonic.find(".v4.") != std::string::npos) i.elements = 4;
    const std::string type = mnemonic.substr(mnemonic.rfind('.') + 1);
    i.bytes = static_cast<uint8_t>(std::stoi(type.substr(1)) / 8);
    if (i.bytes < 1 || i.bytes > 8) fail("an access of another size: " + mnemonic);
    i.operands += i.elements - 1;
    i.is_signed = type[0] == 's';
}

}  // namespace latent_ptx
