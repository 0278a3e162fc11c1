#pragma once

#include <memory>

struct ggml_backend_buffer_type;

namespace latent::graph {

/// The CPU's buffer type, whose large buffers are Pages: ggml's own come from malloc, and the heap keeps what was freed there
/// (glibc: up to 64 MiB for each thread), beyond the memory that was stated. Outlives its buffers.
class PageBuffers {
public:
    PageBuffers();
    ~PageBuffers();
    ggml_backend_buffer_type * type() const;
    /// From now on, or no longer, buffers that are freed wait for the next ones of their size. Calls nest.
    void reuse(bool on);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace latent::graph
