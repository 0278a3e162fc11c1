#include <ggml-backend-impl.h>
#include <ggml-metal.h>

#include <array>
#include <cstdlib>

#include "backend/backend_start.h"
#include "check.h"

namespace {

size_t memory_free = 0, memory_total = 0;
std::array<int, 2> allocated = {0, 0};  // by kind of memory: shared, private
bool residency_sets = true;

/// ggml's, which would go on with a null pointer where Metal cannot allocate.
template <size_t kind>
ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, size_t bytes) {
    if (bytes > 1000) std::abort();
    ++allocated.at(kind);
    ggml_backend_buffer_i functions = {};
    functions.get_base = [](ggml_backend_buffer_t) { return static_cast<void *>(&memory_total); };
    return ggml_backend_buffer_init(type, functions, nullptr, bytes);
}

ggml_backend_device device = [] {
    ggml_backend_device all = {};
    all.iface.get_memory = [](ggml_backend_dev_t, size_t * free, size_t * total) { *free = memory_free, *total = memory_total; };
    return all;
}();

template <size_t kind>
ggml_backend_buffer_type type_of() {
    return {
        {[](ggml_backend_buffer_type_t) { return "MTL"; }, allocate<kind>, [](ggml_backend_buffer_type_t) { return size_t{32}; },
         [](ggml_backend_buffer_type_t) { return size_t{1000}; }, nullptr, nullptr},
        &device,
        nullptr};
}
std::array<ggml_backend_buffer_type, 2> types = {{type_of<0>(), type_of<1>()}};

/// Whether a buffer could be allocated on a device with this much memory.
bool can_allocate(size_t kind, size_t bytes, size_t free, size_t total) {
    memory_free = free, memory_total = total;
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(&types.at(kind), bytes);
    if (buffer) ggml_backend_buffer_free(buffer);
    return buffer != nullptr;
}

}  // namespace

ggml_backend_reg_t ggml_backend_metal_reg() {
    static ggml_backend_reg registry = {};
    residency_sets = std::getenv("GGML_METAL_NO_RESIDENCY") == nullptr;
    return &registry;
}

TEST(memory_that_metal_does_not_have) {
    for (size_t i = 0; i < types.size(); ++i) {
        latent::backend::guard_buffers(&types[i]);
        latent::backend::guard_buffers(&types[i]);
    }
    CHECK(can_allocate(0, 1000, 1000, 4000) && can_allocate(1, 10, 1000, 4000));
    CHECK(allocated[0] == 1 && allocated[1] == 1);
    CHECK(!can_allocate(0, 1001, 4000, 4000));                // larger than a buffer may be
    CHECK(!can_allocate(0, 501, 500, 4000));                  // more than is free
    CHECK(!can_allocate(0, 1, size_t{0} - 100, 4000));        // more is used than there is
    CHECK(can_allocate(0, 1000, 0, 0) && allocated[0] == 2);  // unknown
}

TEST(no_residency_sets) {
    CHECK(latent::backend::start() != nullptr && !residency_sets);
}
