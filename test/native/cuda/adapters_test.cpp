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

/// Layers whose input and product are scaled and turned, and sums of Kronecker products, of maps, tokens and vectors. Rows of 48
/// channels fold in place; those of 36 have padding.
template <typename Home>
void build_transformed_network(Home & home) {
    const Rows x = home.input_map("x", 2, 12, 5, 6);
    const Rows low = home.conv(x, "conv.down", 8, 3);
    Options scaled;
    scaled.gain = true, scaled.low = &low, scaled.rank = kRank, scaled.activation = 1;
    const Rows h = home.scale(home.conv(x, "conv", 48, 3, scaled), "input");
    const Rows turned = home.blocks(home.blocks(h, "turn", 16, 0), "butterfly", 8, 12);
    Options plain;
    plain.gain = true, plain.residual = &turned;
    const Rows tokens = home.linear(turned, "tokens", 48, plain);
    // Two products of 6 x 8 and 3 x 16 groups as the residual of a layer.
    const Rows parts = home.linear(home.fold(tokens, 8), "second", 8);
    const Rows sum = home.mix(home.fold(parts, 48), "first", 6, 6);
    const Rows wide = home.linear(home.linear(home.fold(tokens, 16), "wide.0", 4), "wide.1", 16);
    const Rows sums = home.mix(home.fold(wide, 48), "third", 3, 3, &sum);
    Options with_sums;
    with_sums.residual = &sums;
    const Rows added = home.linear(tokens, "added", 48, with_sums);
    home.output_seq("sums", home.add(home.fold(home.fold(added, 8), 48), tokens));
    const Rows narrow = home.linear(added, "narrow", 36);
    const Rows odd = home.mix(home.fold(home.linear(home.fold(narrow, 9), "odd.second", 5), 20), "odd.first", 3, 4);
    home.output_seq("gate", home.gate(home.linear(home.blocks(home.scale(odd, "odd"), "odd.turn", 5, 0), "both", 20)));
    Options gated;
    gated.geglu = true, gated.gain = true;
    home.output_seq("geglu", home.linear(odd, "geglu", 24, gated));
    home.output_seq("folded", home.fold(home.linear(tokens, "last", 48), 16));
    // An addition that the product takes in, although it is to another shape of its result; an input in another shape.
    home.output_seq("added", home.silu(home.add(home.fold(home.linear(tokens, "product", 48), 16), home.fold(tokens, 16))));
    home.output_seq("input", home.silu(home.fold(home.input_seq("c", 2, 3, 48), 8)));

    const Rows t = home.input_seq("t", 2, 1, 20);
    const Rows vector_low = home.linear(t, "time.down", 16);
    Options time;
    time.gain = true, time.low = &vector_low, time.rank = 4, time.first = 8;
    const Rows vector = home.blocks(home.scale(home.linear(t, "time", 30, time), "time.scale"), "time.turn", 6, 15);
    const Rows second = home.fold(home.linear(home.fold(vector, 5), "time.second", 3), 18);
    const Rows whole = home.linear(vector, "time.all", 12);
    const Rows mixed = home.mix(second, "time.first", 4, 6, &whole);
    home.output_seq("time", home.gate(mixed));
    home.output_seq("onto", home.add(x, mixed));
}

std::map<std::string, std::vector<float>> adapted_inputs() {
    Numbers numbers(4);
    std::map<std::string, std::vector<float>> inputs;
    inputs["x"] = numbers.list(2 * 12 * 30), inputs["t"] = numbers.list(40), inputs["c"] = numbers.list(2 * 3 * 48);
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
    for (const char * name : {"x", "t"})
        ok(table().set_input(home.program, name, adapted_inputs()[name].data(), adapted_inputs()[name].size()));
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

TEST(engine_transformed_layers) {
    for (const int element : {LATENT_CUDA_BF16, LATENT_CUDA_F16}) {
        test_seed(6);
        const Opened opened(element);
        Weights weights(3);
        TableHome home(opened.device, weights);
        build_transformed_network(home);
        ok(table().program_finish(home.program));
        ExactHome exact(weights, adapted_inputs());
        build_transformed_network(exact);
        for (const auto & [name, values] : adapted_inputs())
            ok(table().set_input(home.program, name.c_str(), values.data(), values.size()));
        ok(table().program_run(home.program, nullptr, nullptr));
        for (const auto & [name, expected] : exact.outputs) {
            const double bound = name == "time" ? 1e-5 : element == LATENT_CUDA_F16 ? 3e-3 : 2e-2;
            const double error = error_of(output_of(home.program, name.c_str()), expected);
            if (!(error < bound)) check::fail(__FILE__, __LINE__, name + ": " + std::to_string(error));
        }
    }
}

/// Gains cost no launch, and folding rows without padding neither launch nor memory.
TEST(engine_folds_in_place) {
    const Opened opened;
    Weights weights(3);
    const auto measured = [&](int channels, int folded, bool fold) {
        TableHome home(opened.device, weights);
        const Rows x = home.input_seq("x", 1, 6, channels);
        Options o;
        o.gain = fold;
        const Rows y = home.linear(x, "w" + std::to_string(channels), channels, o);
        home.output_seq("y", home.silu(fold ? home.fold(y, folded) : y));
        latent_cuda_measure measure{};
        ok(table().program_measure(home.program, &measure));
        return measure;
    };
    CHECK(measured(48, 16, true).launches == measured(48, 16, false).launches);
    CHECK(measured(48, 16, true).bytes == measured(48, 16, false).bytes);
    CHECK(measured(36, 9, true).launches == measured(36, 9, false).launches + 1);
}

TEST(engine_refuses_transforms) {
    const Opened opened;
    Weights weights(1);
    /// What a call on tokens of 24 channels returns.
    const auto status_of = [&](auto call) {
        TableHome home(opened.device, weights);
        const Rows x = home.input_seq("x", 1, 6, 24);
        latent_cuda_value v = -1;
        return call(home, x.id, &v);
    };
    const auto matrix = [&](TableHome & home, int out, int in, int kernel = 1) {
        const std::string name = std::to_string(out) + "x" + std::to_string(in) + "x" + std::to_string(kernel);
        return home.tensor(name, weights.matrix(name, out, in, kernel), {LATENT_CUDA_F32, LATENT_CUDA_MATRIX, out, in, kernel});
    };
    const auto of_blocks = [&](int size, int64_t distance, int rows, int kernel = 1) {
        return status_of([&](TableHome & home, int x, int * v) {
            const latent_cuda_blocks c{x, matrix(home, rows, size > 0 ? size : 1, kernel), nullptr, size, distance};
            return table().add_blocks(home.program, &c, v);
        });
    };
    CHECK(of_blocks(8, 0, 24) == LATENT_CUDA_OK && of_blocks(8, 0, 8) == LATENT_CUDA_OK && of_blocks(4, 6, 24) == LATENT_CUDA_OK);
    CHECK(of_blocks(5, 0, 24) == LATENT_CUDA_INVALID && says("Blocks of 5 with a distance of 0 do not divide 24 channels"));
    for (const auto & [size, distance] :
         {std::pair<int, int64_t>{0, 0}, {-8, 0}, {48, 0}, {3, 3}, {8, 6}, {8, 16}, {8, -4}, {8, INT64_MAX}, {2, 5}})
        CHECK(of_blocks(size, distance, 24) == LATENT_CUDA_INVALID);
    CHECK(of_blocks(8, 0, 16) == LATENT_CUDA_INVALID && says("the rows of one block or of all"));
    CHECK(of_blocks(8, 0, 24, 3) == LATENT_CUDA_INVALID && says("kernel 1"));
    CHECK(status_of([](TableHome & home, int, int * v) { return table().add_blocks(home.program, nullptr, v); }) ==
          LATENT_CUDA_INVALID);
    CHECK(status_of([](TableHome & home, int, int * v) { return table().linear(home.program, nullptr, v); }) ==
          LATENT_CUDA_INVALID);
    CHECK(status_of([](TableHome & home, int, int * v) { return table().conv(home.program, nullptr, v); }) ==
          LATENT_CUDA_INVALID);
    CHECK(status_of([](TableHome & home, int, int * v) { return table().group_norm(home.program, nullptr, v); }) ==
          LATENT_CUDA_INVALID);

    const auto of_fold = [&](int64_t channels) {
        return status_of([&](TableHome & home, int x, int * v) { return table().fold(home.program, x, channels, v); });
    };
    CHECK(of_fold(8) == LATENT_CUDA_OK && of_fold(36) == LATENT_CUDA_OK);
    for (const int64_t channels : {int64_t{0}, int64_t{-8}, int64_t{7}, int64_t{145}, INT64_MAX})
        CHECK(of_fold(channels) == LATENT_CUDA_INVALID);
    const auto of_mix = [&](int rows, int columns, int role, int residual) {
        return status_of([&](TableHome & home, int x, int * v) {
            const Rows added = home.input_seq("r", 1, 6, 16);
            latent_cuda_tensor * w =
                role == LATENT_CUDA_MATRIX
                    ? matrix(home, rows, columns)
                    : home.tensor("table", weights.matrix("t" + std::to_string(rows * columns), rows, columns),
                                  {LATENT_CUDA_F32, role, rows, columns, 1});
            return table().mix_groups(home.program, x, w, residual ? added.id : -1, v);
        });
    };
    CHECK(of_mix(2, 3, LATENT_CUDA_EMBEDDING, 1) == LATENT_CUDA_OK);
    CHECK(of_mix(2, 5, LATENT_CUDA_EMBEDDING, 0) == LATENT_CUDA_INVALID && says("5 groups do not divide 24 channels"));
    CHECK(of_mix(2, 3, LATENT_CUDA_MATRIX, 0) == LATENT_CUDA_INVALID && says("must be an embedding"));
    CHECK(of_mix(3, 3, LATENT_CUDA_EMBEDDING, 1) == LATENT_CUDA_INVALID && says("the shape of the result"));
    CHECK(status_of([](TableHome & home, int x, int * v) { return table().mix_groups(home.program, x, nullptr, -1, v); }) ==
          LATENT_CUDA_INVALID);

    CHECK(status_of([](TableHome & home, int x, int * v) {
              return table().scale_channels(home.program, x, nullptr, nullptr, v);
          }) == LATENT_CUDA_INVALID &&
          says("needs a gain or a shift"));
    CHECK(status_of([](TableHome & home, int x, int * v) {
              return table().scale_channels(home.program, x, home.vector("short", 16), nullptr, v);
          }) == LATENT_CUDA_INVALID &&
          says("a vector of 24"));
    CHECK(status_of([&](TableHome & home, int x, int * v) {
              latent_cuda_linear c = {};
              c.x = x, c.residual = -1, c.weight = matrix(home, 8, 24), c.gain = home.vector("short", 16);
              return table().linear(home.program, &c, v);
          }) == LATENT_CUDA_INVALID &&
          says("gain of a linear layer"));
    CHECK(status_of([](TableHome & home, int, int * v) {
              return table().gate(home.program, home.input_seq("odd", 1, 2, 7).id, v);
          }) == LATENT_CUDA_INVALID &&
          says("an even number of channels"));
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
