#pragma once

#include <cstdint>

namespace latent {

/// Bytes that this process could allocate without swapping: MemAvailable limited by the control group on Linux, free + inactive
/// pages on macOS, available physical memory on Windows. 0 if unknown.
uint64_t available_memory();

/// Physical memory of the machine (limited by the control group), 0 if unknown.
uint64_t total_memory();

/// Peak resident set size of this process. 0 if unknown.
uint64_t peak_resident_memory();

/// Returns freed heap pages to the system if the allocator keeps them (glibc); otherwise does nothing.
void trim_heap();

}  // namespace latent
