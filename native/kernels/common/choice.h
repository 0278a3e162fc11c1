#pragma once

#include <string>
#include <vector>

namespace latent::kernels {

/// Instruction sets that this processor supports and LATENT_KERNELS may name, the portable one first. Naming one limits the
/// choice to it and those before it.
std::vector<std::string> kernel_names();

/// Whether LATENT_KERNELS allows the set of this name. The variable is read once, at the first use; throws invalid_argument if
/// its value is not in kernel_names().
bool kernels_allowed(const char * name);

/// Whether LATENT_KERNELS names this very set.
bool kernels_named(const char * name);

/// Names of the sets that the processor supports, and of those in use.
struct KernelChoice {
    struct Floats {
        std::string name, format;  // f32 | bf16
    };
    std::vector<Floats> runnable;
    std::vector<std::string> runnable_int8;
    std::string float32, fast, int8, rows;  // in use for exact, fast and 8-bit products, and for norms and elementwise operations
};

/// Throws as kernels_allowed() does.
KernelChoice kernel_choice();

}  // namespace latent::kernels
