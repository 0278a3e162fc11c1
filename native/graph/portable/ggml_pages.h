#pragma once

struct ggml_backend_buffer_type;

namespace latent::graph {

/// The CPU's buffer type, whose large buffers are Pages: ggml's own come from malloc, and the heap keeps what was freed there
/// (glibc: up to 64 MiB for each thread), beyond the memory that was stated.
ggml_backend_buffer_type * cpu_pages_buffer_type();

}  // namespace latent::graph
