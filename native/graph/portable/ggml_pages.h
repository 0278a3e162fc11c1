#pragma once

#include <memory>

struct ggml_backend_buffer_type;

namespace latent::graph {

/// The buffer type of the CPU, with Pages for large buffers: ggml's buffers come from malloc, whose heap retains freed memory
/// (glibc: up to 64 MiB per thread) beyond the estimate. Must outlive its buffers.
class PageBuffers {
public:
    PageBuffers();
    ~PageBuffers();
    ggml_backend_buffer_type * type() const;
    /// Starts or stops keeping freed buffers for later ones of the same size. Calls nest.
    void reuse(bool on);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace latent::graph
