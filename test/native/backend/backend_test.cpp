#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "gpu_test.h"
#include "graph/check/device_check.h"
#include "models/autoencoder.h"
#include "models/clip_text.h"

using namespace latent;
using namespace gpu_test;
using golden::ModelCase;

TEST(only_the_wanted_driver_is_started) {
    if (real_device()) return;
    const auto started = [] { return dlopen(LATENT_BACKEND_NEXT, RTLD_NOW | RTLD_NOLOAD) != nullptr; };
    setenv("LATENT_METAL_LIBRARY", LATENT_BACKEND_NEXT, 1);
    CHECK(graph::device_kinds() == (std::vector<std::string>{"metal", "cpu"}));
    for (const char * name : {"cpu", "auto"}) CHECK(graph::Device::create(name)->kind() == "cpu");
    CHECK(graph::device_name("auto") == "cpu" && graph::device_name("cuda") == "cuda");
    CHECK(open_gpu("vulkan:0")->name() == "vulkan:0" && graph::device_name("vulkan") == "vulkan:0");
    CHECK_THROWS(graph::Device::create("vulkan:99"), ErrorCode::device);
    CHECK(message_of([] { graph::Device::create("quantum"); }) == "ERR_DEVICE There is no device \"quantum\". Devices: cpu.");
    CHECK(graph::device_kinds() == (std::vector<std::string>{"vulkan", "metal", "cpu"}));
    CHECK(!started());
    CHECK(!refusal("metal").empty() && refusal("cpu").empty());
    CHECK(started());  // by listing all devices
    unsetenv("LATENT_METAL_LIBRARY");
}

TEST(devices_and_refusals) {
    const DevicePtr device = gpu();
    const graph::DeviceInfo info = device->info();
    CHECK(!device->shares_host_memory() && info.home == "portable" && info.name == info.kind + ":0");
    CHECK(info.memory_total > 0 && info.memory_free > 0 && info.memory_free <= info.memory_total);
    CHECK(!info.driver.empty() || info.kind == "metal");
    std::printf("     %s (%s)\n", info.description.c_str(), info.driver.c_str());
    CHECK(graph::list_devices().front().name == info.name && graph::list_devices().back().kind == "cpu");
    CHECK(graph::Device::create("auto")->kind() == "cpu");  // a GPU is not taken by surprise
    CHECK_THROWS(graph::Device::create(info.kind + ":99"), ErrorCode::device);
    CHECK_THROWS(device->require(uint64_t{1} << 60, "a test"), ErrorCode::out_of_memory);
    if (is_exact()) return;
    GoldenUNet golden_unet(device);
    const std::string message = message_of([&] { golden_unet.load(exact); });
    CHECK(contains(message, "ERR_DEVICE") && (device->kind() != "vulkan" || contains(message, "LATENT_VULKAN_FLOAT32=1")));
    graph::Runner::Limits limits;
    limits.float32 = true;
    golden_unet.unet.runner().set_limits(limits);
    golden_unet.load(policy());
    CHECK_THROWS(golden_unet.difference(), ErrorCode::device);
}

TEST(text_encoder) {
    const ModelCase c("sd1");
    models::ClipText text(golden::clip_config(c.config().at("text_encoder")), gpu());
    const auto ids = c.input_values<int32_t>("ids");
    const golden::Tensor & expected = c.expected("text_context");
    std::vector<float> context(expected.data.size());
    text.weights().plan(c.weights("cond_stage_model."), policy());
    text.weights().load({});
    text.forward(ids, expected.shape[0], expected.shape[1], 0, context, JobContext{});
    within("sd1 text_context", golden::max_difference(context, expected), bound(expected));
}

TEST(unet) {
    GoldenUNet golden_unet(gpu());
    models::UNet & unet = golden_unet.unet;
    unet.weights().plan(golden_unet.c.weights("model.diffusion_model."), policy());
    const graph::GraphMeasure planned = unet.measure(golden_unet.input.shape);
    CHECK(planned.flops > 1e6 && planned.bytes > 0 && planned.host_bytes > 0 && unet.weights().mapped_bytes() == 0);
    unet.weights().load({});

    JobContext cancelled;
    cancelled.cancel->cancel();
    CHECK_THROWS(unet.forward(golden_unet.input, golden_unet.out, cancelled), ErrorCode::aborted);

    within("sd1 eps", golden_unet.difference(), bound(golden_unet.c.expected("eps")));
    CHECK(unet.runner().bytes() <= planned.bytes);

    const auto start = std::chrono::steady_clock::now();
    golden_unet.difference();
    std::printf("     again: %.3f s\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());

    unet.weights().unload();
    CHECK_THROWS(unet.forward(golden_unet.input, golden_unet.out, {}), ErrorCode::internal);
    unet.weights().load({});
    within("sd1 eps, weights loaded again", golden_unet.difference(), bound(golden_unet.c.expected("eps")));
}

TEST(features_stay_on_the_device) {
    GoldenUNet golden_unet(gpu());
    golden_unet.load(policy());
    golden_unet.difference();
    const std::vector<float> whole = golden_unet.out;
    models::DenoisingFeatures features;
    features.branch = 1;
    golden_unet.input.features = &features;
    for (int round = 0; round < 2; ++round) golden_unet.unet.forward(golden_unet.input, golden_unet.out, {});
    const int copies = real_device() ? 0 : fake().copies();
    golden_unet.unet.forward(golden_unet.input, golden_unet.out, {});
    double worst = 0;
    for (size_t i = 0; i < whole.size(); ++i) worst = std::fmax(worst, std::fabs(golden_unet.out[i] - whole[i]));
    within("sd1 eps with kept features", worst, bound(golden_unet.c.expected("eps")));
    CHECK(features.holds(golden_unet.input.shape) && features.data->bytes() > 0);
    CHECK(features.data->numbers().size() * sizeof(float) <= features.data->bytes());
    if (real_device()) return;
    CHECK(fake().copies() > copies);
}

TEST(first_stage) {
    const ModelCase c("sd1");
    models::Autoencoder stage(golden::autoencoder_config(c.params().at("first_stage_config").at("params")), gpu());
    stage.weights().plan(c.weights("first_stage_model."), policy());
    stage.weights().load({});
    const golden::Tensor & expected = c.expected("decoded");
    const auto latents = c.shape("z");
    const int64_t f = stage.config().downsampling();
    std::vector<float> picture(static_cast<size_t>(latents[0] * 3 * latents[2] * f * latents[3] * f));
    stage.decode(c.input("z"), latents[0], latents[2], latents[3], picture, JobContext{});
    within("sd1 decoded", golden::max_difference(picture, expected, latents[2] * f, latents[3] * f), bound(expected));
}

TEST(quantised_weights_stay_quantised) {
    if (real_device()) return;  // a software driver compiles these shaders for minutes; ops_test has a layer of each type
    GoldenUNet golden_unet(gpu());
    golden_unet.load({Precision::fast, DType::f16});
    const uint64_t halves = golden_unet.unet.weights().bytes();
    golden_unet.load({Precision::fast, DType::q8_0});
    CHECK(golden_unet.unet.weights().bytes() < halves);
    golden_unet.difference();
    GoldenUNet reference(graph::Device::create("cpu", 1));
    graph::Runner::Limits limits;
    limits.home = "portable";
    reference.unet.runner().set_limits(limits);
    reference.load({Precision::fast, DType::q8_0});
    reference.difference();
    double worst = 0;
    for (size_t i = 0; i < reference.out.size(); ++i) worst = std::fmax(worst, std::fabs(golden_unet.out[i] - reference.out[i]));
    within("sd1 eps, q8_0, against the CPU", worst, 1e-5);
}

TEST(operations) {
    for (const std::string & name : graph::check_names()) {
        const graph::CheckResult result = graph::check_operation(gpu(), name, {});
        within(name.c_str(), result.error, result.bound);
    }
    CHECK_THROWS(graph::check_operation(gpu(), "cubic norm", {}), ErrorCode::invalid_argument);
    if (real_device()) return;
    setenv("LATENT_FAKE_FAILURE", "wrong:0:GROUP_NORM", 1);
    CHECK(!graph::check_operation(gpu(), "group norm", {}).passed() && graph::check_operation(gpu(), "layer norm", {}).passed());
    setenv("LATENT_FAKE_FAILURE", "wrong:0", 1);
    for (const std::string & name : graph::check_names()) CHECK(!graph::check_operation(gpu(), name, {}).passed());
    unsetenv("LATENT_FAKE_FAILURE");
}

TEST(cancel_between_slices) {
    Tower tower(gpu(), 150);
    tower.store.load({});
    const auto expected = tower.run();
    const int before = real_device() ? 0 : fake().slices();
    const auto start = std::chrono::steady_clock::now();
    tower.run();
    const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - start;
    if (!real_device()) CHECK(fake().slices() - before > 2);
    bool aborted = false;
    double taken = 0;
    for (double delay = whole.count() / 10; !aborted && delay > 1e-6; delay /= 2) {
        CancelToken cancel;
        graph::Graph & graph = tower.graph();
        std::thread canceller([&] {
            std::this_thread::sleep_for(std::chrono::duration<double>(delay));
            cancel.cancel();
        });
        const auto begun = std::chrono::steady_clock::now();
        try {
            graph.compute(cancel);
        } catch (const Error & error) {
            CHECK(error.code() == ErrorCode::aborted);
            aborted = true;
        }
        canceller.join();
        taken = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    }
    std::printf("     cancelled after %.3f s of %.3f s\n", taken, whole.count());
    CHECK(aborted);
    CHECK(tower.run() == expected);  // the same graph, as if nothing had happened
}

TEST(profile) {
    Tower tower(gpu(), 3);
    tower.store.load({});
    tower.run();
    gpu()->start_profile();
    tower.run();
    const auto rows = gpu()->stop_profile();
    CHECK(!rows.empty() && rows.front().label == "ggml MUL_MAT" && rows.front().calls == 3);
    CHECK(rows.front().flops == 3 * 2.0 * Tower::dim * Tower::dim * Tower::dim && rows.front().milliseconds > 0);
    CHECK(gpu()->stop_profile().empty());
}

TEST(libraries_that_are_refused) {
    if (real_device()) return;
    gpu();
    graph::refuse_backend("vulkan", "the driver crashed");
    CHECK(graph::list_devices().front().refused == "the driver crashed" && graph::list_devices().back().kind == "cpu");
    for (const char * name : {"vulkan", "vulkan:0"})
        CHECK(contains(message_of([&] { graph::Device::create(name); }), "cannot be used: the driver crashed. Devices: cpu."));
    CHECK(graph::Device::create("cpu")->kind() == "cpu");
    graph::refuse_backend("vulkan", "");
    for (const char * other : {"/no/such/library.so", LATENT_BACKEND_NEXT}) {  // absent, and of another version
        graph::set_backend_library("vulkan", other);
        const auto found = graph::list_devices();
        CHECK(found.front().kind == "vulkan" && !found.front().refused.empty() && found.back().kind == "cpu");
        for (const char * name : {"vulkan", "vulkan:0"})
            CHECK(contains(message_of([&] { graph::Device::create(name); }), found.front().refused));
    }
    CHECK_THROWS(graph::set_backend_library("opengl", LATENT_BACKEND_FAKE), ErrorCode::invalid_argument);
    graph::set_backend_library("vulkan", LATENT_BACKEND_FAKE);
    CHECK(graph::list_devices().front().refused.empty());
}

TEST(single_devices_that_are_refused) {
    if (real_device()) return;
    gpu();
    graph::refuse_device("vulkan:0", "it computes wrong numbers");
    CHECK(refusal("vulkan:0") == "it computes wrong numbers" && refusal("vulkan:1").empty());
    CHECK(contains(message_of([&] { graph::Device::create("vulkan:0"); }), "cannot be used: it computes wrong numbers"));
    CHECK(graph::Device::create("vulkan")->name() == "vulkan:1");
    graph::refuse_device("vulkan:0", "");
    CHECK(graph::Device::create("vulkan")->name() == "vulkan:0");
}

TEST(operations_that_the_device_lacks) {
    if (real_device()) return;
    Tower tower(gpu(), 1);
    tower.store.load({});
    fake().refuse(true);
    const std::string message = message_of([&] { tower.run(); });
    fake().refuse(false);
    CHECK(contains(message, "device") && contains(message, "MUL_MAT of f32 [512, 512], f32 [512, 512]"));
    CHECK(contains(message, "vulkan:0"));
    CHECK(!tower.run().empty());
}

TEST(graphs_that_are_too_large) {
    Tower tower(gpu(), 1);
    tower.store.load({});
    const auto large = [&](graph::Ops & ops) {
        const int64_t length = int64_t{1} << 28;  // a terabyte, with the result
        ops.output("y", ops.linear(ops.input_seq("x", Tower::dim, length, 1), tower.layers[0], {}));
    };
    const std::string message = message_of([&] { tower.runner.prepare("large", large); });
    // Real backends may refuse such an operand first.
    const bool refused = real_device() && message.find("does not support") != std::string::npos;
    CHECK(contains(message, refused ? "ERR_DEVICE" : "ERR_OUT_OF_MEMORY"));
    CHECK(!tower.run().empty());
}

TEST(memory_that_ends) {
    if (real_device()) return;
    Tower tower(gpu(), 4);
    fake().limit(3 << 20);  // 4 MiB of weights
    CHECK_THROWS(tower.store.load({}), ErrorCode::out_of_memory);
    CHECK(!tower.store.loaded());
    fake().deny(true);  // the driver reports enough memory and refuses it
    fake().limit(0);
    CHECK(
        contains(message_of([&] { tower.store.load({}); }), "needs 4.0 MiB of memory, which could not be allocated on vulkan:0"));
    fake().deny(false);
    fake().limit(6 << 20);  // and 3 MiB of activations
    tower.store.load({});
    CHECK_THROWS(tower.run(), ErrorCode::out_of_memory);
    fake().limit(0);
    const auto expected = tower.run();

    // None is free; that is not the same as unknown.
    fake().overdraw(true);
    CHECK(gpu()->available() == 0);
    CHECK_THROWS(gpu()->require(1, "a test"), ErrorCode::out_of_memory);
    fake().overdraw(false);

    // Inside a graph: the device stays usable.
    for (const auto & [failure, words] :
         std::vector<std::pair<Failure, const char *>>{{Failure::no_memory, "ErrorOutOfDeviceMemory"},
                                                       {Failure::said_memory, "CUDA error: out of memory ("},
                                                       {Failure::cublas_memory, "CUDA error: the resource allocation failed ("},
                                                       {Failure::commands_memory, "Insufficient Memory"}}) {
        fake().fail(failure, 0);
        const std::string message = message_of([&] { tower.run(); });
        CHECK(contains(message, "ERR_OUT_OF_MEMORY"));
        CHECK(contains(message, words));
        CHECK(tower.run() == expected);
    }
}

TEST(scratch_of_the_backend_is_planned) {
    if (real_device()) return;
    gpu();
    for (const bool halves : {false, true}) {
        for (const DType type : {DType::bf16, DType::f16, DType::q8_0}) {
            fake().halves(halves);
            GoldenUNet golden_unet(graph::Device::create("vulkan:7"));
            if (halves) CHECK(contains(message_of([&] { golden_unet.load(exact); }), "with LATENT_VULKAN_FLOAT32=1 in"));
            golden_unet.load({Precision::fast, type});
            const graph::GraphMeasure planned = golden_unet.unet.measure(golden_unet.input.shape);
            golden_unet.difference();
            CHECK(golden_unet.unet.runner().bytes() + fake().scratch() <= planned.bytes);
            CHECK(planned.host_bytes >= LATENT_BACKEND_TRANSFER);
            CHECK((fake().scratch() > 0) == (halves || type == DType::bf16));
        }
    }
    fake().halves(false);
}

/// What the backend keeps is not taken again by the next graph.
TEST(kept_scratch_is_counted_once) {
    if (real_device()) return;
    gpu();
    fake().halves(false);  // ends what it keeps
    {
        const DevicePtr device = graph::Device::create("vulkan:7");
        Tower tower(device, 3);
        tower.store.plan(tower.source, {Precision::fast, DType::bf16});  // the other operands are copied to bf16
        tower.store.load({});
        const auto to_allocate = [&] {
            const graph::GraphBuilder build = [&](graph::Ops & ops) {
                graph::Seq seq = ops.input_seq("x", Tower::dim, Tower::dim, 1);
                for (const graph::Linear & layer : tower.layers) seq = ops.linear(seq, layer, {});
                ops.output("y", seq);
            };
            const auto graph = graph::home_for("vulkan").build({device, tower.store, build, graph::Runner::Limits{}});
            return std::pair(graph->bytes_to_allocate(), graph->measure().bytes);
        };
        const auto [first, planned] = to_allocate();
        CHECK(device->reusable() == 0 && first == planned);
        for (int round = 0; round < 2; ++round) {
            tower.run();
            CHECK(fake().scratch() > 0 && device->reusable() == fake().scratch());
            CHECK(to_allocate().first == first - fake().scratch() && to_allocate().second == planned);
        }
    }
}
