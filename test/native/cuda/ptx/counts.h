#pragma once

// With LATENT_PTX_COUNTS=FILE in the environment, what kernels do is counted and written there at the end of the process, as
// JSON: instructions of warps, wavefronts of shared memory and sectors of global memory, next to the fewest that would do. They
// follow from masks and addresses alone. PTX is not yet what a GPU runs: the assembler joins, moves and removes instructions.

#include <ostream>

#include "ptx/machine.h"

namespace latent_ptx {

/// What one instruction of a kernel did.
struct Count {
    uint64_t times = 0, lanes = 0;              // of warps, and the lanes that took part
    uint64_t wavefronts = 0, least_fronts = 0;  // of shared memory: 32 banks of four bytes
    uint64_t sectors = 0, least_sectors = 0;    // of global memory: 32 bytes
    void add(const Count & more);
};

/// Accesses of the lanes of a warp in one instruction.
struct Access {
    std::array<uint64_t, kLanes> at = {};  // addresses
    uint32_t mask = 0;                     // of the lanes that have one
    uint64_t bytes = 0;                    // of each lane

    void count_shared(Count & to) const;
    void count_global(Count & to) const;
};

class Counts {
public:
    explicit Counts(const Kernel & kernel) : kernel_(&kernel), of_(kernel.code.size()) {}
    const Kernel & kernel() const { return *kernel_; }
    /// Before an instruction is done for the lanes of the mask.
    void add(const Warp & warp, const Instruction & instruction, uint32_t mask);
    /// Adds those of a launch of the same kernel.
    void add(const Counts & launch, uint64_t blocks);
    void write(std::ostream & to) const;

private:
    struct Loop {
        size_t first = 0, last = 0;
    };
    /// The innermost loop with most of the products, if there is one.
    Loop main_loop() const;
    Count sum(size_t first, size_t last) const;
    void write_kinds(std::ostream & to, Loop part, double over) const;

    const Kernel * kernel_;
    std::vector<Count> of_;  // like the kernel's code
    uint64_t launches_ = 0, blocks_ = 0;
};

bool counting();
/// Adds a launch to what is written.
void keep(const Counts & launch, uint64_t blocks);

}  // namespace latent_ptx
