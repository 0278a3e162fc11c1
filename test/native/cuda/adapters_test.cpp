#include "check.h"
#include "table_home.h"

// Adapters through the engine's function table: what they add is part of each layer's sum.

using namespace cuda_test;

namespace {

constexpr int kWidth = 40, kRank = 6;

/// A convolution, linear layers that share a lower product, a gate and vectors, all adapted. The factors of layers that share a
/// product begin at multiples of eight.
template <typename Home>
void build_adapted_network(Home & home) {
    const Rows x = home.input_map("x", 2, 12, 5, 6);
    const Rows map_low = home.conv(x, "conv.down", 8, 3);
    Options adapted;
    adapted.low = &map_low, adapted.rank = kRank, adapted.activation = 1;
    const Rows h = home.conv(x, "conv", kWidth, 3, adapted);
    const Rows point_low = home.conv(h, "point.down", 8, 1);
    Options point;
    point.low = &point_low, point.rank = 8, point.residual = &h;
    const Rows tokens = home.conv(h, "point", kWidth, 1, point);
    const Rows low = home.linear(tokens, "qkv.down", 24);
    const auto part = [&](const char * name, int first, int rank) {
        Options o;
        o.low = &low, o.rank = rank, o.first = first;
        return home.linear(tokens, name, kWidth, o);
    };
    const Rows mixed = home.attention(part("q", 0, kRank), part("k", 8, 3), part("v", 16, 8), 2);
    const Rows gate_low = home.linear(mixed, "gate.down", 8);
    Options gated;
    gated.low = &gate_low, gated.rank = kRank, gated.geglu = true;
    home.output_seq("out", home.linear(mixed, "gate", 24, gated));

    const Rows t = home.input_seq("t", 2, 1, 20);
    const Rows vector_low = home.linear(t, "time.down", 16);
    Options time;
    time.low = &vector_low, time.rank = 4, time.first = 8, time.activation = 1;
    home.output_seq("time", home.linear(t, "time", 30, time));
}

std::map<std::string, std::vector<float>> adapted_inputs() {
    Numbers numbers(4);
    std::map<std::string, std::vector<float>> inputs;
    inputs["x"] = numbers.list(2 * 12 * 30), inputs["t"] = numbers.list(40);
    return inputs;
}

}  // namespace

TEST(engine_adapted_layers) {
    test_seed(5);
    const Opened opened;
    Weights weights(2);
    TableHome home(opened.device, weights);
    build_adapted_network(home);
    ok(table().program_finish(home.program));
    ExactHome exact(weights, adapted_inputs());
    build_adapted_network(exact);
    for (const auto & [name, values] : adapted_inputs())
        ok(table().set_input(home.program, name.c_str(), values.data(), values.size()));
    ok(table().program_run(home.program, nullptr, nullptr));
    CHECK(error_of(output_of(home.program, "out"), exact.outputs.at("out")) < 2e-2);
    CHECK(error_of(output_of(home.program, "time"), exact.outputs.at("time")) < 1e-5);

    // No launches of their own but the lower products.
    std::vector<latent_cuda_launch_time> times(100);
    int32_t count = 0;
    ok(table().program_profile(home.program, times.data(), 100, &count));
    int products = 0, others = 0;
    for (int i = 0; i < count; ++i) {
        const std::string label = times[i].label;
        const bool product = label.rfind("conv ", 0) == 0 || label.rfind("linear ", 0) == 0 || label.rfind("geglu ", 0) == 0;
        products += product;
        others += !product && label.rfind("attention ", 0) != 0 && label != "output" && label.rfind("pad heads", 0) != 0 &&
                  label.rfind("unpad heads", 0) != 0;
    }
    CHECK(products == 12 && others == 0);
}

TEST(engine_refuses_sides) {
    const Opened opened;
    Weights weights(1);
    const auto status_of = [&](int out, int in, int kernel, int64_t first, int low_channels, int low_length) {
        TableHome home(opened.device, weights);
        const Rows x = home.input_seq("x", 1, 6, 16), low = home.input_seq("low", 1, low_length, low_channels);
        const std::string name = std::to_string(out) + "x" + std::to_string(in) + "x" + std::to_string(kernel);
        latent_cuda_linear c = {};
        c.x = x.id, c.residual = -1;
        c.weight = home.tensor("w", weights.matrix("w", 24, 16), {LATENT_CUDA_F32, LATENT_CUDA_MATRIX, 24, 16, 1});
        c.side = {
            low.id,
            home.tensor(name, weights.matrix(name, out, in, kernel), {LATENT_CUDA_F32, LATENT_CUDA_MATRIX, out, in, kernel}),
            first};
        latent_cuda_value v = -1;
        return table().linear(home.program, &c, &v);
    };
    CHECK(status_of(24, 4, 1, 8, 12, 6) == LATENT_CUDA_OK);
    CHECK(status_of(24, 5, 1, 8, 12, 6) == LATENT_CUDA_INVALID &&
          says("reads 5 channels from channel 8 on of a lower product of 12"));
    CHECK(status_of(24, 4, 1, 4, 12, 6) == LATENT_CUDA_INVALID && says("a multiple of 8"));
    CHECK(status_of(24, 4, 1, -8, 12, 6) == LATENT_CUDA_INVALID);
    CHECK(status_of(24, 16, 1, INT64_MAX - 7, 12, 6) == LATENT_CUDA_INVALID);
    CHECK(status_of(16, 4, 1, 0, 12, 6) == LATENT_CUDA_INVALID && says("24 rows"));
    CHECK(status_of(24, 4, 3, 0, 12, 6) == LATENT_CUDA_INVALID && says("kernel 1"));
    CHECK(status_of(24, 4, 1, 0, 12, 5) == LATENT_CUDA_INVALID && says("the rows of its layer's result"));

    TableHome home(opened.device, weights);
    const Rows x = home.input_seq("x", 1, 6, 32);
    latent_cuda_linear c = {};
    c.x = x.id, c.residual = -1;
    c.weight = home.tensor("w", weights.matrix("wide", 24, 32), {LATENT_CUDA_F32, LATENT_CUDA_MATRIX, 24, 32, 1});
    const latent_cuda_tensor_desc desc{LATENT_CUDA_Q8_0, LATENT_CUDA_MATRIX, 24, 32, 1};
    latent_cuda_tensor * quantised = nullptr;
    ok(table().tensor_declare(opened.device, &desc, &quantised));
    c.side = {x.id, quantised, 0};
    latent_cuda_value v = -1;
    CHECK(table().linear(home.program, &c, &v) == LATENT_CUDA_UNSUPPORTED && says("quantised upper factor"));
    table().tensor_free(quantised);
}
