#pragma once

#include <cstdint>

namespace latent {

/// Bytes that the system could give to this process without swapping: MemAvailable bounded by the control group's limit on
/// Linux, free + inactive pages on macOS, available physical memory on Windows. 0 when the system does not tell.
uint64_t available_memory();

/// Physical memory of the machine (bounded by the control group), 0 when unknown.
uint64_t total_memory();

/// Highest resident set of this process so far. 0 when unknown.
uint64_t peak_resident_memory();

/// Returns freed heap pages to the system where the allocator keeps them (glibc); a no-op elsewhere.
void trim_heap();

}  // namespace latent
