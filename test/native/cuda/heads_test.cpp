#include <cmath>

#include "check.h"
#include "table_home.h"

// Attention with heads of every size, through the engine's function table: sizes that are not a multiple of 8 are padded.

using namespace cuda_test;

namespace {

/// The error of self-attention and of attention to a few keys, or the status of a refusal.
double error_of_heads(int element, int heads, int dim, int keys, int & status) {
    test_seed(static_cast<unsigned>(dim));
    const Opened opened(element);
    Weights weights(3);
    TableHome home(opened.device, weights);
    const int width = heads * dim, queries = 9;
    const Rows q = home.input_seq("q", 2, queries, width), k = home.input_seq("k", 2, keys, width),
               v = home.input_seq("v", 2, keys, width);
    const latent_cuda_attention c{q.id, k.id, v.id, heads, 0};
    latent_cuda_value y = -1;
    status = table().attention(home.program, &c, &y);
    if (status != LATENT_CUDA_OK) return INFINITY;
    ok(table().output_seq(home.program, "y", y));
    ok(table().program_finish(home.program));
    Numbers numbers(static_cast<uint32_t>(dim));
    std::map<std::string, std::vector<float>> inputs;
    for (const auto & [name, length] : {std::pair{"q", queries}, std::pair{"k", keys}, std::pair{"v", keys}}) {
        std::vector<float> list = numbers.list(static_cast<size_t>(2 * length * width));
        inputs[name] = element == LATENT_CUDA_BF16 ? as<latent::cuda::bf16>(list) : as<latent::cuda::f16>(list);
        ok(table().set_input(home.program, name, inputs[name].data(), inputs[name].size()));
    }
    ok(table().program_run(home.program, nullptr, nullptr));
    ExactHome exact(weights, inputs);
    const Rows expected = exact.attention(exact.input_seq("q", 2, queries, width), exact.input_seq("k", 2, keys, width),
                                          exact.input_seq("v", 2, keys, width), heads);
    return error_of(output_of(home.program, "y"), expected.v);
}

}  // namespace

TEST(engine_head_sizes) {
    for (const int dim : {1, 7, 20, 24, 33, 40, 41, 56, 64, 72, 80, 88, 96, 100, 104, 120, 136, 152, 160, 161, 255, 500, 512}) {
        for (const int heads : {1, 3}) {
            for (const int keys : {9, 70}) {
                int status = LATENT_CUDA_OK;
                const double error = error_of_heads(LATENT_CUDA_BF16, heads, dim, keys, status);
                if (!(error < 4e-3))
                    check::fail(__FILE__, __LINE__,
                                std::to_string(heads) + " heads of " + std::to_string(dim) + ": " + std::to_string(error));
            }
        }
        int status = LATENT_CUDA_OK;
        CHECK(error_of_heads(LATENT_CUDA_F16, 2, dim, 20, status) < 6e-4);
    }
}

/// Heads that need more shared memory than a kernel has by itself, before ones that need less of the same kernel.
TEST(engine_heads_of_several_sizes) {
    const Opened opened;
    Weights weights(3);
    TableHome home(opened.device, weights);
    for (const int dim : {512, 200}) {
        const std::string name = std::to_string(dim);
        const Rows x = home.input_seq(name.c_str(), 1, 9, dim);
        const latent_cuda_attention c{x.id, x.id, x.id, 1, 0};
        latent_cuda_value y = -1;
        ok(table().attention(home.program, &c, &y));
        ok(table().output_seq(home.program, name.c_str(), y));
    }
#ifndef __CUDACC__
    latent_host::unload_kernels();  // the first use of a kernel must not be in a capture
#endif
    ok(table().program_finish(home.program));
    std::map<std::string, std::vector<float>> inputs;
    Numbers numbers(4);
    for (const int dim : {512, 200}) {
        const std::string name = std::to_string(dim);
        inputs[name] = as<latent::cuda::bf16>(numbers.list(static_cast<size_t>(9 * dim)));
        ok(table().set_input(home.program, name.c_str(), inputs[name].data(), inputs[name].size()));
    }
    ok(table().program_run(home.program, nullptr, nullptr));
    ExactHome exact(weights, inputs);
    for (const int dim : {512, 200}) {
        const std::string name = std::to_string(dim);
        const Rows x = exact.input_seq(name.c_str(), 1, 9, dim);
        CHECK(error_of(output_of(home.program, name.c_str()), exact.attention(x, x, x, 1).v) < 4e-3);
    }
}

TEST(engine_heads_that_are_too_large) {
    for (const int dim : {513, 520, 1024}) {
        int status = LATENT_CUDA_OK;
        CHECK(std::isinf(error_of_heads(LATENT_CUDA_BF16, 1, dim, 4, status)));
        CHECK(status == LATENT_CUDA_UNSUPPORTED && says("at most 512"));
    }
}
