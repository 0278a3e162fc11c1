#pragma once

// Runs the PTX that nvcc made of the kernels, on the host: the same tests then see the device's code, its inline assembly and
// what the compiler made of the rest, which the host's compiler never sees. Warps run in lockstep with a mask of their lanes. A
// cp.async is done at its issue or at its wait. Not modelled: time, ordering of memory between warps, and the errors of ex2,
// rsqrt and div.approx.

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "shim/host_device.h"

namespace latent_ptx {

constexpr int kLanes = 32;
constexpr uint32_t kAll = 0xffffffffu;
/// Where shared memory begins in its own address space, so that an address of 0 is wrong.
constexpr uint32_t kSharedBase = 1024;

/// A register of all lanes. Types of 8 to 64 bits and predicates are in the low bits; what is above them is not defined.
using Register = std::array<uint64_t, kLanes>;

struct Warp;
struct Instruction;
/// Does it for the lanes of the mask.
using Step = void (*)(Warp & warp, const Instruction & instruction, uint32_t mask);

enum class Flow : uint8_t { next, branch, leave, barrier, together };

/// What an instruction is counted as (counts.h). Moves are those of registers and parameters, which a GPU hardly sees.
enum class Kind : uint8_t {
    mma,
    matrix_load,
    shared_load,
    shared_store,
    global_load,
    global_store,
    copy,
    integer,
    real,
    shuffle,
    control,
    barrier,
    move
};

struct Instruction {
    Step step = nullptr;
    Flow flow = Flow::next;  // together: needs all lanes of the warp
    Kind kind = Kind::integer;
    int guard = -1;  // a predicate, or none
    bool guard_negated = false;
    int operands = 0;               // registers that it has
    std::array<int, 14> slot = {};  // registers, results first
    int64_t number = 0;             // the offset of an address, or a count
    uint32_t target = 0;            // of a branch
    uint8_t elements = 1, bytes = 0;
    bool is_signed = false;
    std::string text;
};

struct Kernel {
    std::string name;
    std::vector<Instruction> code;
    int registers = 0;
    std::vector<std::pair<int, uint64_t>> constants;  // registers that hold one value
    std::unordered_map<std::string, int> special;     // %tid.x and its like
    size_t parameter_bytes = 0;
    int most_threads = 1024;
};

struct Copy {
    uint32_t to;
    const void * from;
    uint32_t bytes;
    bool done;
};

class Counts;

struct Block {
    const Kernel * kernel = nullptr;
    Counts * counts = nullptr;  // or not counted
    dim3 grid, index;
    const std::vector<unsigned char> * parameters = nullptr;
    std::vector<unsigned char> shared;
    std::vector<Warp> warps;
    uint64_t chance = 1;

    /// 31 random bits.
    uint64_t random() {
        chance = chance * 6364136223846793005ull + 1442695040888963407ull;
        return chance >> 33;
    }
    /// The memory of an address; throws if it is not that of the block.
    unsigned char * shared_at(uint64_t address, uint64_t bytes);
};

struct Warp {
    Block * block = nullptr;
    std::vector<Register> registers;
    std::array<uint32_t, kLanes> at = {};        // the next instruction of each lane
    uint32_t ended = 0, waiting = 0, early = 0;  // waiting: in a barrier of the block; early: before an instruction of the warp
    std::array<std::vector<Copy>, kLanes> copies;
    std::array<std::vector<size_t>, kLanes> groups;  // ends in `copies`

    /// Runs until every lane has ended or waits.
    void run();
};

[[noreturn]] void fail(const std::string & what);
/// The step of an instruction by its mnemonic, with the sizes and kind of memory it accesses; throws if it is unknown.
void set_step(const std::string & mnemonic, Instruction & instruction);
void set_memory_step(const std::string & mnemonic, Instruction & instruction);
Kind kind_of(const std::string & mnemonic);

/// All kernels of a file as nvcc writes it, by their mangled names.
std::vector<Kernel> parse(const std::string & text);

void run_grid(const Kernel & kernel, dim3 grid, int threads, size_t shared, const std::vector<unsigned char> & parameters);

}  // namespace latent_ptx
