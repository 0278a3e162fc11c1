#pragma once

#include <string>
#include <vector>

namespace latent::kernels {

/// Instruction sets that this processor can run and LATENT_KERNELS may name, the portable one first. A set is limited to those
/// up to the one named.
std::vector<std::string> kernel_names();

/// Whether LATENT_KERNELS lets a set of this name be used. The variable counts as it was at the first use; throws
/// invalid_argument where it names no set of kernel_names().
bool kernels_allowed(const char * name);

/// Sets by name: of the processor, and those in use.
struct KernelChoice {
    struct Floats {
        std::string name, format;  // f32 | bf16
    };
    std::vector<Floats> runnable;
    std::vector<std::string> runnable_int8;
    std::string float32, fast, int8, rows;  // in use: exact and fast products, 8-bit ones, norms and elementwise
};

/// Throws as kernels_allowed() does.
KernelChoice kernel_choice();

}  // namespace latent::kernels
