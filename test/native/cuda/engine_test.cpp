#include "check.h"
#include "table_home.h"

// The engine through its function table.

using namespace cuda_test;

namespace {

std::map<std::string, std::vector<float>> small_inputs() {
    Numbers numbers(3);
    std::map<std::string, std::vector<float>> inputs;
    inputs["x"] = numbers.list(2 * 4 * 48), inputs["t"] = numbers.list(48), inputs["context"] = numbers.list(2 * 5 * 24);
    return inputs;
}

void set_inputs(latent_cuda_program * program) {
    for (const auto & [name, values] : small_inputs()) ok(table().set_input(program, name.c_str(), values.data(), values.size()));
}

/// The small network on a device, finished.
struct SmallNetwork {
    Weights weights{1};
    TableHome home;
    explicit SmallNetwork(const Opened & opened) : home(opened.device, weights) {
        build_small_network(home);
        ok(table().program_finish(home.program));
    }
};

struct Calls {
    int left;  // before it says yes
    static int asked(void * user) { return static_cast<Calls *>(user)->left-- <= 0; }
};

}  // namespace

TEST(engine_network) {
    for (const int element : {LATENT_CUDA_BF16, LATENT_CUDA_F16}) {
        test_seed(static_cast<unsigned>(element));
        const Opened opened(element);
        SmallNetwork network(opened);
        latent_cuda_program * program = network.home.program;
        ExactHome exact(network.weights, small_inputs());
        build_small_network(exact);
        for (int run = 0; run < 2; ++run) {  // the second one on what the first left behind
            set_inputs(program);
            ok(table().program_run(program, nullptr, nullptr));
            const double bound = element == LATENT_CUDA_BF16 ? 1.5e-2 : 2e-3;
            for (const char * name : {"out", "features"}) {
                const double error = error_of(output_of(program, name), exact.outputs.at(name));
                if (!(error < bound)) check::fail(__FILE__, __LINE__, std::string(name) + ": " + std::to_string(error));
            }
        }
        CHECK(opened.memory().programs == table().program_bytes(program));
        CHECK(opened.memory().weights > 0);
        CHECK(opened.memory().peak >= opened.memory().programs + opened.memory().weights);
    }
}

/// Inputs keep their values; the plan does not let them be overwritten.
TEST(engine_inputs_stay) {
    const Opened opened;
    SmallNetwork network(opened);
    set_inputs(network.home.program);
    ok(table().program_run(network.home.program, nullptr, nullptr));
    const auto first = output_of(network.home.program, "out");
    for (int i = 0; i < 2; ++i) ok(table().program_run(network.home.program, nullptr, nullptr));
    CHECK(output_of(network.home.program, "out") == first);
}

TEST(engine_measure_and_profile) {
    const Opened opened;
    Weights weights(1);
    TableHome home(opened.device, weights);
    build_small_network(home);
    latent_cuda_measure measure;
    ok(table().program_measure(home.program, &measure));
    CHECK(opened.memory().programs == 0);
    ok(table().program_finish(home.program));
    CHECK(table().program_bytes(home.program) == measure.bytes);
    // The sum of what its layers say, each counted once: additions and concatenations are launches of none.
    set_inputs(home.program);
    std::vector<latent_cuda_launch_time> times(200);
    int32_t count = 0;
    ok(table().program_profile(home.program, times.data(), 200, &count));
    double flops = 0;
    int adds = 0, concats = 0;
    for (int i = 0; i < count; ++i) {
        flops += times[i].flops;
        adds += std::string(times[i].label) == "add";
        concats += std::string(times[i].label).rfind("concat", 0) == 0;
    }
    CHECK(flops == measure.flops && flops > 0);
    CHECK(adds == 0 && concats == 0);
    CHECK(measure.launches >= count && measure.slices >= 1);
    CHECK(table().program_run(home.program, nullptr, nullptr) == LATENT_CUDA_OK);
}

TEST(engine_cancel) {
    const Opened opened;
    latent_cuda_program * program = nullptr;
    ok(table().program_create(opened.device, &program));
    latent_cuda_value v = -1;
    ok(table().input_seq(program, "x", 1, 3, 16, &v));
    for (int i = 0; i < 250; ++i) ok(table().activation(program, v, LATENT_CUDA_SILU, &v));
    ok(table().output_seq(program, "y", v));
    latent_cuda_measure measure;
    ok(table().program_measure(program, &measure));
    CHECK(measure.slices == 3);
    CHECK(measure.bytes < 8 * 1024);  // values take turns in the arena
    ok(table().program_finish(program));
    const std::vector<float> x(48, 1.0f);
    ok(table().set_input(program, "x", x.data(), x.size()));
    Calls now{0}, later{2}, never{1000};
    CHECK(table().program_run(program, Calls::asked, &now) == LATENT_CUDA_CANCELLED);
    CHECK(now.left == -1);
    CHECK(table().program_run(program, Calls::asked, &later) == LATENT_CUDA_CANCELLED);
    CHECK(later.left == -1);
    CHECK(table().program_run(program, Calls::asked, &never) == LATENT_CUDA_OK);
    table().program_destroy(program);
}

#ifndef __CUDACC__
/// A program is captured once, when it is finished; a run launches its graphs and nothing else.
TEST(engine_captures_once) {
    using latent_host::graph_counts;
    const auto before = graph_counts();
    {
        const Opened opened;
        Weights weights(1);
        TableHome home(opened.device, weights);
        build_small_network(home);
        latent_cuda_measure measure;
        ok(table().program_measure(home.program, &measure));
        CHECK(measure.slices > 0 && graph_counts().made == before.made);
        ok(table().program_finish(home.program));
        CHECK(graph_counts().made == before.made + measure.slices && graph_counts().launched == before.launched);
        set_inputs(home.program);
        for (int run = 1; run <= 3; ++run) {
            const int64_t outside = graph_counts().outside;
            ok(table().program_run(home.program, nullptr, nullptr));
            CHECK(graph_counts().launched == before.launched + run * measure.slices);
            CHECK(graph_counts().outside == outside);
        }
        CHECK(graph_counts().made == before.made + measure.slices && graph_counts().destroyed == before.destroyed);
    }
    CHECK(graph_counts().made - before.made == graph_counts().destroyed - before.destroyed);
}

TEST(engine_out_of_memory) {
    const size_t before = latent_host::held_memory();
    {
        const Opened opened;
        Weights weights(1);
        TableHome home(opened.device, weights);
        build_small_network(home);
        const uint64_t held = latent_host::held_memory();
        latent_host::limit_memory(held + 1000);
        CHECK(table().program_finish(home.program) == LATENT_CUDA_OUT_OF_MEMORY);
        const latent_cuda_error error = last_error();
        latent_cuda_measure measure;
        ok(table().program_measure(home.program, &measure));
        CHECK(error.wanted_bytes == measure.bytes && error.free_bytes == 1000 && error.total_bytes > 0);
        CHECK(says("MiB needed"));
        CHECK(latent_host::held_memory() == held);
        const latent_cuda_tensor_desc desc{LATENT_CUDA_F32, LATENT_CUDA_MATRIX, 64, 64, 1};
        latent_cuda_tensor * tensor = nullptr;
        ok(table().tensor_declare(opened.device, &desc, &tensor));
        const std::vector<float> values(64 * 64, 1.0f);
        CHECK(table().tensor_load(tensor, values.data(), values.size() * 4) == LATENT_CUDA_OUT_OF_MEMORY);
        latent_host::limit_memory(SIZE_MAX);
        ok(table().tensor_load(tensor, values.data(), values.size() * 4));
        table().tensor_free(tensor);
        // Memory can also run out in the driver, for a graph.
        latent_host::refuse_graphs(true);
        CHECK(table().program_finish(home.program) == LATENT_CUDA_OUT_OF_MEMORY);
        CHECK(last_error().total_bytes > 0 && says("network's graph") && !says("Restart the process"));
        CHECK(last_error().driver_code == 2);  // cudaErrorMemoryAllocation
        latent_host::refuse_graphs(false);
        ok(table().program_finish(home.program));  // the device stays usable
    }
    CHECK(latent_host::held_memory() == before);
    CHECK(latent_host::held_pinned() == 0);
}

/// The weights of a network are one piece of memory, which is freed with the last of them.
TEST(engine_tensors_allocated_together) {
    const size_t before = latent_host::held_memory();
    {
        const Opened opened;
        const latent_cuda_tensor_desc descs[] = {{LATENT_CUDA_F32, LATENT_CUDA_MATRIX, 64, 64, 1},
                                                 {LATENT_CUDA_Q8_0, LATENT_CUDA_MATRIX, 9, 32, 1},
                                                 {LATENT_CUDA_F32, LATENT_CUDA_VECTOR, 5, 1, 1}};
        std::vector<latent_cuda_tensor *> tensors(3);
        uint64_t bytes = 0;
        for (size_t i = 0; i < 3; ++i) {
            ok(table().tensor_declare(opened.device, &descs[i], &tensors[i]));
            CHECK(table().tensor_bytes(tensors[i]) % 256 == 0);
            bytes += table().tensor_bytes(tensors[i]);
        }
        const size_t held = latent_host::held_memory();
        latent_host::limit_memory(held + bytes - 1);
        CHECK(table().tensors_allocate(opened.device, tensors.data(), 3) == LATENT_CUDA_OUT_OF_MEMORY);
        CHECK(last_error().wanted_bytes == bytes && latent_host::held_memory() == held);
        latent_host::limit_memory(SIZE_MAX);
        ok(table().tensors_allocate(opened.device, tensors.data(), 3));
        CHECK(latent_host::held_memory() == held + bytes);

        const std::vector<float> matrix(64 * 64, 1.0f), vector = {1, 2, 3, 4, 5};
        const std::vector<uint8_t> blocks(9 * 34, 3);
        std::vector<float> read(5);
        CHECK(table().tensor_read(tensors[2], read.data(), 5) == LATENT_CUDA_INVALID);  // it has a place and no values
        ok(table().tensor_load(tensors[2], vector.data(), 5 * 4));
        ok(table().tensor_load(tensors[0], matrix.data(), matrix.size() * 4));
        ok(table().tensor_load(tensors[1], blocks.data(), blocks.size()));
        ok(table().tensor_read(tensors[2], read.data(), 5));
        CHECK(read == vector);
        table().device_trim(opened.device);
        CHECK(latent_host::held_memory() == held + bytes);
        for (const size_t i : {size_t{2}, size_t{0}, size_t{1}}) {
            CHECK(latent_host::held_memory() == held + bytes);
            table().tensor_unload(tensors[i]);
        }
        CHECK(latent_host::held_memory() == held);
        CHECK(table().tensors_allocate(opened.device, nullptr, 1) == LATENT_CUDA_INVALID);
        for (latent_cuda_tensor * tensor : tensors) table().tensor_free(tensor);
    }
    CHECK(latent_host::held_memory() == before);
}

/// Every call is for its own device, also after calls for another one in the same thread.
TEST(engine_two_devices) {
    latent_host::show_devices(2);
    {
        const Opened first(LATENT_CUDA_BF16), second(LATENT_CUDA_BF16, 1);
        SmallNetwork a(first), b(second);
        for (latent_cuda_program * program : {a.home.program, b.home.program}) set_inputs(program);
        for (latent_cuda_program * program : {a.home.program, b.home.program}) ok(table().program_run(program, nullptr, nullptr));
        CHECK(output_of(a.home.program, "out") == output_of(b.home.program, "out"));
        std::vector<latent_cuda_launch_time> times(200);
        int32_t count = 0;
        for (latent_cuda_program * program : {a.home.program, b.home.program})
            ok(table().program_profile(program, times.data(), 200, &count));
        table().device_trim(first.device);
        set_inputs(b.home.program);
        ok(table().program_run(b.home.program, nullptr, nullptr));
        latent_cuda_tensor * foreign = a.home.any_tensor();
        CHECK(table().tensors_allocate(second.device, &foreign, 1) == LATENT_CUDA_INVALID);
        table().tensor_unload(foreign);
    }
    latent_host::show_devices(1);
}

TEST(engine_lost_device) {
    const size_t before = latent_host::held_memory();
    latent_cuda_device * device = nullptr;
    ok(table().device_open(0, LATENT_CUDA_BF16, &device));
    {
        Weights weights(1);
        TableHome home(device, weights);
        build_small_network(home);
        ok(table().program_finish(home.program));
        set_inputs(home.program);
        latent_host::lose_device(true);
        CHECK(table().program_run(home.program, nullptr, nullptr) == LATENT_CUDA_DEVICE_FAILED);
        CHECK(says("illegal memory access") && says("Restart the process"));
    }
    table().device_close(device);
    CHECK(table().device_open(0, LATENT_CUDA_BF16, &device) == LATENT_CUDA_DEVICE_FAILED && says("Restart the process"));
    latent_host::lose_device(false);
    ok(table().device_open(0, LATENT_CUDA_BF16, &device));
    table().device_close(device);
    CHECK(latent_host::held_memory() == before);
}

TEST(engine_without_devices) {
    latent_host::show_devices(0);
    int32_t count = 7;
    CHECK(table().device_count(&count) == LATENT_CUDA_NO_DEVICE && count == 0);
    CHECK(says("no CUDA-capable device"));
    latent_cuda_device * device = nullptr;
    CHECK(table().device_open(0, LATENT_CUDA_BF16, &device) == LATENT_CUDA_NO_DEVICE && !device);
    latent_host::show_devices(1);
    latent_host::show_driver(12080);
    CHECK(table().device_count(&count) == LATENT_CUDA_NO_DEVICE);
    CHECK(says("too old: the driver serves CUDA 12.8, and this library needs 13.0 or newer"));
    latent_host::show_driver(13000);
    CHECK(table().device_open(3, LATENT_CUDA_BF16, &device) == LATENT_CUDA_NO_DEVICE);
    CHECK(says("no CUDA device 3"));
}
#endif

TEST(engine_devices) {
    CHECK(latent_cuda_open(0) == nullptr && latent_cuda_open(LATENT_CUDA_VERSION + 1) == nullptr);
    CHECK(table().version == LATENT_CUDA_VERSION && table().size == sizeof(latent_cuda_api));
    int32_t count = 0;
    ok(table().device_count(&count));
    CHECK(count >= 1);
    latent_cuda_device_info info;
    ok(table().device_info(0, &info));
    CHECK(info.usable == 1 && info.compute_major >= 8 && info.multiprocessors > 0 && info.name[0]);
    latent_cuda_device * device = nullptr;
    CHECK(table().device_open(0, LATENT_CUDA_Q8_0, &device) == LATENT_CUDA_INVALID);
}

TEST(engine_refuses) {
    const Opened opened;
    Weights weights(1);
    TableHome home(opened.device, weights);
    const Rows x = home.input_map("x", 1, 16, 4, 4);
    latent_cuda_value v = -1;
    std::string words;
    const auto fresh = [&](auto call) {
        latent_cuda_program * program = nullptr;
        ok(table().program_create(opened.device, &program));
        latent_cuda_value in = -1;
        ok(table().input_map(program, "x", 1, 16, 4, 4, &in));
        const int status = call(program, in);
        words = last_error().message;
        // Nothing is recorded after a refusal.
        if (status != LATENT_CUDA_OK) CHECK(table().program_finish(program) == LATENT_CUDA_INVALID);
        table().program_destroy(program);
        return status;
    };
    const auto matrix = [&](int out, int in, int kernel) {
        const std::string name = std::to_string(out) + "x" + std::to_string(in) + "x" + std::to_string(kernel);
        return home.tensor(name, weights.matrix(name, out, in, kernel), {LATENT_CUDA_F32, LATENT_CUDA_MATRIX, out, in, kernel});
    };
    const auto conv = [&](latent_cuda_conv c) {
        return fresh([&, c](latent_cuda_program * p, latent_cuda_value in) {
            latent_cuda_conv with = c;
            with.x = in;
            return table().conv(p, &with, &v);
        });
    };
    latent_cuda_conv good = {};
    good.weight = matrix(8, 16, 3), good.height = 4, good.width = 4, good.stride = 1, good.channel_add = good.residual = -1;
    CHECK(conv(good) == LATENT_CUDA_OK);
    latent_cuda_conv bad = good;
    bad.weight = matrix(8, 24, 3);
    CHECK(conv(bad) == LATENT_CUDA_INVALID && words.find("takes 24 channels") != std::string::npos);
    bad = good, bad.height = 5;
    CHECK(conv(bad) == LATENT_CUDA_INVALID);
    bad = good, bad.residual = 0;  // the input, of other channels
    CHECK(conv(bad) == LATENT_CUDA_INVALID && words.find("residual") != std::string::npos);
    bad = good, bad.crop_height = 3;
    CHECK(conv(bad) == LATENT_CUDA_INVALID);
    bad = good, bad.first_row = 3, bad.rows = 2;
    CHECK(conv(bad) == LATENT_CUDA_INVALID);
    bad = good, bad.weight = nullptr;
    CHECK(conv(bad) == LATENT_CUDA_INVALID);
    CHECK(fresh([&](latent_cuda_program * p, latent_cuda_value) { return table().activation(p, 99, 1, &v); }) ==
          LATENT_CUDA_INVALID);
    CHECK(fresh([&](latent_cuda_program * p, latent_cuda_value) { return table().input_map(p, "x", 1, 1, 2, 2, &v); }) ==
          LATENT_CUDA_INVALID);
    CHECK(fresh([&](latent_cuda_program * p, latent_cuda_value) { return table().input_seq(p, "y", 1, INT64_MAX, 8, &v); }) ==
          LATENT_CUDA_INVALID);
    CHECK(fresh([&](latent_cuda_program * p, latent_cuda_value) { return table().input_seq(p, nullptr, 1, 1, 8, &v); }) ==
          LATENT_CUDA_INVALID);
    const auto * square = matrix(16, 16, 1);
    const auto vectors = [&](int64_t count) {
        return fresh([&](latent_cuda_program * p, latent_cuda_value) {
            latent_cuda_linear c = {};
            ok(table().input_seq(p, "v", count, 1, 16, &c.x));
            c.weight = square, c.residual = -1;
            return table().linear(p, &c, &v);
        });
    };
    CHECK(vectors(65535) == LATENT_CUDA_OK && vectors(65536) == LATENT_CUDA_UNSUPPORTED);
    CHECK(fresh([&](latent_cuda_program * p, latent_cuda_value in) { return table().slice_channels(p, in, 10, 7, &v); }) ==
          LATENT_CUDA_INVALID);
    CHECK(fresh([&](latent_cuda_program * p, latent_cuda_value in) {
              const latent_cuda_attention c{in, in, in, 3, 0};
              return table().attention(p, &c, &v);
          }) == LATENT_CUDA_INVALID);
    (void)x;

    latent_cuda_tensor * tensor = nullptr;
    const auto declare = [&](latent_cuda_tensor_desc d) { return table().tensor_declare(opened.device, &d, &tensor); };
    CHECK(declare({LATENT_CUDA_Q8_0, LATENT_CUDA_MATRIX, 8, 40, 1}) == LATENT_CUDA_UNSUPPORTED);
    CHECK(declare({LATENT_CUDA_Q4_K, LATENT_CUDA_VECTOR, 256, 1, 1}) == LATENT_CUDA_UNSUPPORTED);
    CHECK(declare({77, LATENT_CUDA_MATRIX, 8, 8, 1}) == LATENT_CUDA_UNSUPPORTED);
    CHECK(declare({LATENT_CUDA_F32, LATENT_CUDA_MATRIX, 0, 8, 1}) == LATENT_CUDA_INVALID);
    CHECK(declare({LATENT_CUDA_F32, LATENT_CUDA_MATRIX, INT64_MAX, INT64_MAX, 1}) == LATENT_CUDA_INVALID);
    CHECK(!tensor);
    const std::vector<float> few(10);
    CHECK(table().tensor_load(matrix(8, 16, 3), few.data(), 40) == LATENT_CUDA_INVALID && says("40 were given"));
    CHECK(table().type_supported(LATENT_CUDA_Q4_K, LATENT_CUDA_MATRIX) == 1);
    CHECK(table().type_supported(LATENT_CUDA_Q4_K, LATENT_CUDA_EMBEDDING) == 0);
}

TEST(engine_stale_weights) {
    const Opened opened;
    SmallNetwork network(opened);
    latent_cuda_program * program = network.home.program;
    set_inputs(program);
    ok(table().program_run(program, nullptr, nullptr));
    std::vector<float> too_short(3);
    CHECK(table().set_input(program, "x", too_short.data(), 3) == LATENT_CUDA_INVALID);
    CHECK(table().set_input(program, "nothing", too_short.data(), 3) == LATENT_CUDA_INVALID);
    CHECK(table().get_output(program, "out", too_short.data(), 3) == LATENT_CUDA_INVALID);
    table().tensor_unload(network.home.any_tensor());
    CHECK(table().program_run(program, nullptr, nullptr) == LATENT_CUDA_INVALID && says("record it again"));
}

TEST(engine_transfer) {
    const Opened opened;
    latent_cuda_program *a = nullptr, *b = nullptr;
    latent_cuda_value v = -1;
    for (latent_cuda_program ** p : {&a, &b}) {
        ok(table().program_create(opened.device, p));
        ok(table().input_seq(*p, "x", 2, 3, 5, &v));
        ok(table().activation(*p, v, LATENT_CUDA_SILU, &v));
        ok(table().output_seq(*p, "y", v));
        ok(table().program_finish(*p));
    }
    Numbers numbers(9);
    const auto x = numbers.list(30);
    ok(table().set_input(a, "x", x.data(), x.size()));
    ok(table().program_run(a, nullptr, nullptr));
    ok(table().transfer(a, "y", b, "x"));
    ok(table().program_run(b, nullptr, nullptr));
    std::vector<double> expected;
    for (const float each : x) expected.push_back(gate(gate(each, 1), 1));
    CHECK(error_of(output_of(b, "y"), expected) < 6e-3);
    table().program_destroy(a), table().program_destroy(b);
}

/// Tokens: ids, positions, a causal attention with heads of 12 (padded), and vectors read back.
TEST(engine_tokens) {
    const Opened opened;
    Weights weights(5);
    TableHome home(opened.device, weights);
    latent_cuda_value v = -1, ids = -1, parts[3];
    ok(table().input_ids(home.program, "ids", 1, 6, &ids));
    const auto & words = weights.matrix("words", 10, 36);
    const auto & places = weights.matrix("places", 7, 36);
    const auto * table_of = home.tensor("words", words, {LATENT_CUDA_F32, LATENT_CUDA_EMBEDDING, 10, 36, 1});
    ok(table().embed(home.program, ids, table_of, &v));
    ok(table().add_positions(home.program, v, home.tensor("places", places, {LATENT_CUDA_F32, LATENT_CUDA_EMBEDDING, 7, 36, 1}),
                             &v));
    ok(table().split_heads_qkv(home.program, v, 1, parts));  // dim 12
    const latent_cuda_attention c{parts[0], parts[1], parts[2], 1, 1};
    ok(table().attention(home.program, &c, &v));
    ok(table().output_seq(home.program, "y", v));
    ok(table().program_finish(home.program));
    const std::vector<int32_t> tokens = {3, 9, 0, 0, 5, 1};
    ok(table().set_ids(home.program, "ids", tokens.data(), 6));
    ok(table().program_run(home.program, nullptr, nullptr));
    std::vector<double> x, expected;
    for (int i = 0; i < 6 * 36; ++i) x.push_back(static_cast<double>(words[tokens[i / 36] * 36 + i % 36]) + places[i]);
    for (int i = 0; i < 6; ++i) {
        std::vector<double> s(static_cast<size_t>(i) + 1, 0.0);
        double sum = 0;
        for (int j = 0; j <= i; ++j) {
            for (int d = 0; d < 12; ++d) s[j] += x[i * 36 + d] * x[j * 36 + 12 + d] / std::sqrt(12.0);
            sum += s[j] = std::exp(s[j]);
        }
        for (int d = 0; d < 12; ++d) {
            double mixed = 0;
            for (int j = 0; j <= i; ++j) mixed += s[j] / sum * x[j * 36 + 24 + d];
            expected.push_back(mixed);
        }
    }
    CHECK(error_of(output_of(home.program, "y"), expected) < 6e-3);
    std::vector<float> back(360);
    ok(table().tensor_read(table_of, back.data(), 360));
    CHECK(back == words);
}
