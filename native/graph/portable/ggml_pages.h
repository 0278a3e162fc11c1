#pragma once

#include <memory>

struct ggml_backend_buffer_type;

namespace latent::graph {

/// The CPU's buffer type with large buffers allocated as Pages. ggml's use malloc, whose heap keeps freed memory (glibc: up to 64
/// MiB per thread) beyond the reported amount. Must outlive its buffers.
class PageBuffers {
public:
    PageBuffers();
    ~PageBuffers();
    ggml_backend_buffer_type * type() const;
    /// While on, freed buffers are kept for the next ones of the same size in huge pages. Calls nest.
    void reuse(bool on);
    /// Frees the kept buffers.
    void trim();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace latent::graph
