#include "graph/portable/ggml_pages.h"

#include <ggml-backend-impl.h>

#include <new>

#include "core/pages.h"
#include "graph/portable/ggml_handles.h"

namespace latent::graph {

namespace {

// Smaller buffers use malloc, which does not keep much memory for blocks of this size.
constexpr size_t least_pages = 256 << 10;

void free_pages(ggml_backend_buffer * buffer) {
    Pages::give_back(static_cast<uint8_t *>(buffer->context), buffer->size);
}

ggml_backend_buffer * allocate(ggml_backend_buffer_type * type, size_t bytes) {
    if (bytes < least_pages) return ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), bytes);
    try {
        Pages pages(bytes);
        ggml_backend_buffer * buffer = ggml_backend_cpu_buffer_from_ptr(pages.data(), bytes);
        buffer->buft = type;
        buffer->iface.free_buffer = free_pages;
        pages.release();
        return buffer;
    } catch (const std::bad_alloc &) {
        return nullptr;  // like ggml's function; exceptions must not pass through ggml
    }
}

}  // namespace

ggml_backend_buffer_type * cpu_pages_buffer_type() {
    // A copy of ggml's buffer type, whatever members this version has; only allocation differs.
    static ggml_backend_buffer_type type = [] {
        ggml_backend_buffer_type copy = *ggml_backend_cpu_buffer_type();
        copy.iface.get_name = [](ggml_backend_buffer_type *) { return "CPU pages"; };
        copy.iface.alloc_buffer = allocate;
        return copy;
    }();
    return &type;
}

}  // namespace latent::graph
