#pragma once

#include <cstdint>

// A backend for tests of the library's table and of the device behind it: ggml's CPU backend in the role of a GPU with memory of
// its own. It refuses what real GPU backends refuse, and fails on request as real drivers do. It lists several equal GPUs;
// opening one twice, use by two threads at once, or after a failure, ends the process. LATENT_FAKE_FAILURE (fake_backend.cpp)
// makes it fail in other processes.

enum class Failure {
    none,
    no_memory,        // vk::OutOfDeviceMemoryError while computing
    lost,             // vk::DeviceLostError
    shader,           // vk::OutOfDeviceMemoryError while compiling a shader
    assertion,        // GGML_ABORT inside the backend
    said_memory,      // the same, after a message that memory is short, as of ggml's CUDA backend
    cublas_memory,    // the same, in the words of cuBLAS
    commands,         // a message alone, and the backend needs to be opened anew, as of ggml's Metal backend
    commands_memory,  // the same, for lack of memory
};

/// Exported by the library, for the test alone. `after`: the number of calls that still succeed.
struct FakeControl {
    void (*fail)(Failure failure, int after);
    void (*refuse)(bool products);  // supports_op says no to matrix products
    void (*limit)(uint64_t bytes);  // of memory, 0: none
    void (*deny)(bool memory);      // no buffer can be allocated
    void (*overdraw)(bool more);    // more memory is in use than the driver grants
    void (*hide)(bool all);         // the driver reports all memory as free, as without VK_EXT_memory_budget
    void (*halves)(bool on);        // products have 16-bit operands, for devices opened from now on; ends what it keeps
    uint64_t (*scratch)();          // bytes that it keeps for itself, as ggml's Vulkan backend would
    int (*slices)();                // computed so far
    int (*operations)();            // computed so far, in all slices
    int (*copies)();                // between tensors, on the device
    int (*largest)(bool anew);      // slice so far, in nodes; anew: from now on
};

using FakeControlFunction = const FakeControl * (*)();
