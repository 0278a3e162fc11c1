#pragma once

#include <cstddef>

// Whoever wants to know what the threads of a kernel do with memory (races.cpp). The shim tells it about barriers, allocations
// and the accesses of its primitives; those of the kernels themselves it must find out by itself.

namespace latent_host {

class Watch {
public:
    virtual ~Watch() = default;
    virtual void allocated(void * p, size_t bytes) = 0;
    virtual void freed(void * p) = 0;
    virtual void launched() = 0;
    /// A block begins, or has ended where `shared` is null.
    virtual void block(const unsigned char * shared, size_t bytes) = 0;
    virtual void barrier() = 0;
    virtual void read(const void * p, size_t bytes) = 0;
    /// An asynchronous copy of 16 bytes to shared memory, from its issue to the end of the wait for it.
    virtual void copy_issued(const void * to) = 0;
    virtual void copy_done(const void * to) = 0;
};

/// Null: nobody.
Watch *& watch();

/// The running thread: of its block, of its grid, and its stack.
struct Running {
    unsigned thread = 0;
    unsigned long long of_grid = 0;
    const char * stack = nullptr;
    size_t stack_bytes = 0;
};
Running running();

}  // namespace latent_host
