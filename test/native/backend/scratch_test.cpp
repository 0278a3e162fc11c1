#include "graph/portable/vulkan_scratch.h"

#include "check.h"
#include "graph/portable/cuda_scratch.h"
#include "graph/portable/ggml_handles.h"

// What ggml's backends take for themselves.

using namespace latent;

TEST(scratch_of_one_operation) {
    // The shapes of one product: a copy of 300 columns, padded, and eight partial sums.
    ggml_context_ptr context(ggml_init({ggml_tensor_overhead() * 8 + ggml_graph_overhead() * 2, nullptr, true}));
    const auto scratch = [&](ggml_type type, int64_t length, bool float32) {
        ggml_tensor * a = ggml_new_tensor_2d(context.get(), type, length, 64);
        ggml_tensor * b = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, length, 300);
        ggml_cgraph * graph = ggml_new_graph_custom(context.get(), 8, false);
        ggml_build_forward_expand(graph, ggml_mul_mat(context.get(), a, b));
        const uint64_t bytes = graph::vulkan_scratch_bytes(graph, float32);
        ggml_reset(context.get());
        return bytes;
    };
    const uint64_t copy = 2 * 512 * 512, sums = 8 * 4 * 64 * 300;
    CHECK(scratch(GGML_TYPE_F16, 512, true) == 0 && scratch(GGML_TYPE_BF16, 512, true) == copy);
    CHECK(scratch(GGML_TYPE_F16, 512, false) == copy && scratch(GGML_TYPE_F32, 512, false) == copy + 2 * 512 * 64);
    CHECK(scratch(GGML_TYPE_Q8_0, 512, false) == copy && scratch(GGML_TYPE_F16, 2048, true) == sums);

    // Large results are split too, into fewer parts, and results of several images by the tiles of one.
    const auto parts = [&](int64_t rows, int64_t columns, int64_t images, int64_t length) {
        ggml_tensor * a = ggml_new_tensor_3d(context.get(), GGML_TYPE_F16, length, rows, images);
        ggml_tensor * b = ggml_new_tensor_3d(context.get(), GGML_TYPE_F32, length, columns, images);
        ggml_cgraph * graph = ggml_new_graph_custom(context.get(), 8, false);
        ggml_build_forward_expand(graph, ggml_mul_mat(context.get(), a, b));
        const uint64_t bytes = graph::vulkan_scratch_bytes(graph, true);
        ggml_reset(context.get());
        return static_cast<int64_t>(bytes) / (4 * rows * columns * images);
    };
    CHECK(parts(320, 8192, 1, 2880) == 3 && parts(320, 8192, 1, 2047) == 0 && parts(1280, 8192, 1, 2880) == 0);
    CHECK(parts(768, 8192, 1, 2048) == 3 && parts(640, 2048, 1, 2048) == 7 && parts(64, 300, 100, 2048) == 8);

    // Long rows of a softmax: a maximum and a sum for every 512 columns.
    const auto soft_max = [&](int64_t columns) {
        ggml_cgraph * graph = ggml_new_graph_custom(context.get(), 8, false);
        ggml_tensor * x = ggml_new_tensor_3d(context.get(), GGML_TYPE_F32, columns, 30, 2);
        ggml_build_forward_expand(graph, ggml_soft_max(context.get(), x));
        const uint64_t bytes = graph::vulkan_scratch_bytes(graph, true);
        ggml_reset(context.get());
        return bytes;
    };
    CHECK(soft_max(16384) == 0 && soft_max(16385) == 2 * 4 * 33 * 60);
}

TEST(cuda_scratch_of_one_operation) {
    ggml_context_ptr context(ggml_init({ggml_tensor_overhead() * 8 + ggml_graph_overhead() * 2, nullptr, true}));
    const auto scratch = [&](ggml_type type, int64_t length) {
        ggml_tensor * a = ggml_new_tensor_2d(context.get(), type, length, 4096);
        ggml_tensor * b = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, length, 1024);
        ggml_cgraph * graph = ggml_new_graph_custom(context.get(), 8, false);
        ggml_build_forward_expand(graph, ggml_mul_mat(context.get(), a, b));
        const uint64_t bytes = graph::cuda_scratch_bytes(graph);
        ggml_reset(context.get());
        return bytes;
    };
    const auto rounded = [](uint64_t bytes) { return (bytes + (2 << 20) - 1) >> 21 << 21; };
    // Weights in float32, the other operand and the result in 16 bits; those of float32 need no copy.
    const uint64_t workspace = 32 << 20, padding = 2 * 32;
    const auto copies = [&](uint64_t length) { return 4 * length * 4096 + 2 * length * 1024 + padding + 2 * 4096 * 1024; };
    CHECK(scratch(GGML_TYPE_F32, 4096) == workspace);
    CHECK(scratch(GGML_TYPE_F16, 4096) == workspace + rounded(copies(4096)));
    CHECK(scratch(GGML_TYPE_BF16, 512) == workspace + rounded(copies(512)));
    // Of short rows in blocks, the q8_1 copy and the partial sums are more.
    const uint64_t sums = 64 << 20;
    CHECK(scratch(GGML_TYPE_Q8_0, 512) == workspace + rounded((512 + 512) * 1024 * 36 / 32 + sums));

    ggml_cgraph * graph = ggml_new_graph_custom(context.get(), 8, false);
    ggml_build_forward_expand(graph, ggml_soft_max(context.get(), ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, 512, 64)));
    CHECK(graph::cuda_scratch_bytes(graph) == 0);
}
