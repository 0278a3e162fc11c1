#pragma once

// CUDA's execution model on the host, for tests. Blocks run one after another; the threads of a block are fibers. Barriers and
// warp collectives are rendezvous: what is wrong with them (a thread that ends while others wait, lanes in different collectives)
// is reported, as is a misaligned or wild address. Shared memory begins as NaN. A cp.async is done at its issue or at its wait,
// and who runs next is a matter of chance (seed()), so that a missing barrier or wait shows as a wrong
// result. Not modelled: time, banks, occupancy, memory ordering between blocks.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>
#include <vector>

#include "shim/host_runtime.h"

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)

namespace latent_host {

/// What chance begins from in every launch; tests run more than one.
void seed(unsigned value);
/// A number that follows from it, for the next launch.
unsigned long long first_chance();
/// Fiber switches so far.
long switches();

/// Reports a fault of the running kernel: the launch throws std::runtime_error.
/// The fiber is not resumed, so nothing on its stack may own memory.
[[noreturn]] void fail(const char * what, const char * more = "");

/// Does it now, or records it where the stream is being captured.
void run_or_record(cudaStream_t stream, std::function<void()> work);
/// Runs a kernel now, or records it where the stream is being captured. Whole warps only.
void launch(const void * kernel, dim3 grid, int threads, size_t shared, cudaStream_t stream, std::function<void()> body,
            std::vector<unsigned char> parameters);

/// What runs a kernel in place of its body, or nothing (ptx/kernels.cpp).
using Emulator = std::function<void(const void * kernel, dim3 grid, int threads, size_t shared,
                                    const std::vector<unsigned char> & parameters)>;
const Emulator & emulator();

/// The arguments of a kernel as they are passed to a GPU.
template <typename... P>
std::vector<unsigned char> parameters(const P &... arguments) {
    std::vector<unsigned char> all;
    const auto append = [&](const auto & argument) {
        constexpr size_t align = alignof(std::decay_t<decltype(argument)>);
        const size_t at = (all.size() + align - 1) / align * align;
        all.resize(at + sizeof argument);
        std::memcpy(all.data() + at, &argument, sizeof argument);
    };
    (append(arguments), ...);
    return all;
}

unsigned char * dynamic_shared();
const dim3 & thread_index();
const dim3 & block_index();
const dim3 & grid_size();

void sync_threads();
void sync_warp();
void cp_async16(void * to, const void * from, bool valid);
void cp_async_commit();
void cp_async_wait(int left);
void ldmatrix(uint32_t * r, const void * row, bool transposed);
void mma(bool half, float * c, const uint32_t * a, const uint32_t * b);
float shuffle_xor(float v, int mask);
uint32_t atomic_add(uint32_t * p, uint32_t v);

}  // namespace latent_host

#define threadIdx (latent_host::thread_index())
#define blockIdx (latent_host::block_index())
#define gridDim (latent_host::grid_size())
