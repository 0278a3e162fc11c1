#pragma once

struct ggml_backend_buffer_type;

namespace latent::graph {

/// The CPU's buffer type with large buffers allocated as Pages. ggml's use malloc, whose heap keeps freed memory (glibc: up to 64
/// MiB per thread) beyond the reported amount.
ggml_backend_buffer_type * cpu_pages_buffer_type();

}  // namespace latent::graph
