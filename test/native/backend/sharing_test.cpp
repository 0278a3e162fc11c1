#include <atomic>
#include <thread>

#include "gpu_test.h"

// Several users of a GPU: what they share, and what becomes of them when it fails.

using namespace latent;
using namespace gpu_test;

TEST(devices_that_are_lost) {
    if (real_device()) return;
    struct Case {
        Failure failure;
        const char *name, *why;
    };
    for (const Case & each :
         {Case{Failure::lost, "vulkan:1", "ErrorDeviceLost"}, Case{Failure::assertion, "vulkan:2", "no pipeline"},
          Case{Failure::shader, "vulkan:3", "createComputePipeline"}, Case{Failure::commands, "vulkan:8", "GPU Timeout"}}) {
        const DevicePtr device = open_gpu(each.name), second = open_gpu(each.name);
        Tower tower(device, 2), other(second, 1);
        tower.store.load({});
        other.store.load({});
        tower.run();
        fake().fail(each.failure, 0);
        const std::string message = message_of([&] { tower.run(); });
        fake().fail(Failure::none, 0);
        CHECK(contains(message, "ERR_DEVICE") && contains(message, each.why));
        // From now on the driver would end the process.
        CHECK(contains(message_of([&] { tower.run(); }), "cannot be used again"));
        CHECK(contains(message_of([&] { other.run(); }), each.why));
        CHECK(contains(message_of([&] { open_gpu(each.name); }), each.why));
        CHECK(contains(refusal(each.name), each.why) && contains(refusal(each.name), "cannot be used again"));
        tower.store.unload();
        CHECK_THROWS(tower.store.load({}), ErrorCode::device);
        fake().deny(true);  // a lost device has no memory either
        CHECK_THROWS(tower.store.load({}), ErrorCode::device);
        fake().deny(false);
    }
    // Opening fails; the driver keeps what it has made of the device by then.
    for (const Case & each :
         {Case{Failure::lost, "vulkan:4", "ErrorDeviceLost"}, Case{Failure::no_memory, "vulkan:5", "OutOfDevice"}}) {
        fake().fail(each.failure, 0);
        const std::string message = message_of([&] { open_gpu(each.name); });
        fake().fail(Failure::none, 0);
        CHECK(contains(message, "ERR_DEVICE") && contains(message, each.why));
        CHECK(contains(message_of([&] { open_gpu(each.name); }), each.why));
        CHECK(contains(refusal(each.name), each.why));
    }
    CHECK(refusal("vulkan:0").empty());
    Tower tower(gpu(), 1);  // another GPU
    tower.store.load({});
    CHECK(!tower.run().empty());
}

TEST(handles_of_one_gpu) {
    if (real_device()) return;
    gpu();
    std::vector<std::thread> threads;
    std::vector<std::vector<float>> results(3);
    for (auto & result : results) {
        threads.emplace_back([&result] {
            Tower tower(graph::Device::create("vulkan:6"), 3);
            tower.store.load({});
            for (int i = 0; i < 5; ++i) result = tower.run();
        });
    }
    for (std::thread & thread : threads) thread.join();
    CHECK(!results[0].empty() && results[1] == results[0] && results[2] == results[0]);
}

/// What ggml keeps of a GPU to compute with exists once, however many pipelines use it, and as long as one of them is open.
TEST(handles_share_scratch) {
    if (real_device()) return;
    gpu();
    fake().halves(false);  // ends what others keep
    const WeightPolicy halves = {Precision::fast, DType::bf16};
    std::vector<float> expected;
    const auto open = [&] {
        auto tower = std::make_unique<Tower>(graph::Device::create("vulkan:7"), 3);
        tower->store.plan(tower->source, halves);
        tower->store.load({});
        return tower;
    };
    const auto reusable = [](const std::unique_ptr<Tower> & tower) { return tower->device->reusable(); };
    auto first = open(), second = open();
    expected = first->run();
    const uint64_t kept = fake().scratch();
    CHECK(kept > 0 && reusable(first) == kept && reusable(second) == kept);
    CHECK(second->run() == expected && fake().scratch() == kept && reusable(second) == kept);

    fake().fail(Failure::no_memory, 0);  // the library opens the GPU anew, for both
    CHECK_THROWS(first->run(), ErrorCode::out_of_memory);
    CHECK(fake().scratch() == 0 && reusable(first) == 0 && reusable(second) == 0);
    CHECK(second->run() == expected && first->run() == expected);

    // One is cancelled and closed again and again while the other computes.
    std::atomic<bool> done{false};
    std::thread other([&] {
        for (bool even = false; !done; even = !even) {
            auto third = open();
            CancelToken cancel;
            graph::Graph & graph = third->graph();
            if (even) cancel.cancel();
            try {
                graph.compute(cancel);
            } catch (const Error & error) {
                CHECK(even && error.code() == ErrorCode::aborted);
            }
        }
    });
    for (int i = 0; i < 5; ++i) CHECK(second->run() == expected);
    done = true;
    other.join();

    first.reset();
    CHECK(fake().scratch() == kept && second->run() == expected);
    second.reset();
    CHECK(fake().scratch() == 0);
    auto last = open();
    CHECK(reusable(last) == 0 && last->run() == expected);
}

/// Two GPUs at once.
TEST(gpus_beside_one_another) {
    if (real_device()) return;
    gpu();
    std::vector<std::thread> threads;
    std::vector<std::vector<float>> results(2);
    for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&result = results[static_cast<size_t>(i)], i] {
            Tower tower(graph::Device::create("vulkan:" + std::to_string(6 + i)), 3);
            tower.store.load({});
            for (int round = 0; round < 5; ++round) result = tower.run();
        });
    }
    for (std::thread & thread : threads) thread.join();
    CHECK(!results[0].empty() && results[1] == results[0]);
}

/// ggml's CUDA backend is a kind of its own beside our engine, "cuda".
TEST(a_kind_with_a_hyphen) {
    if (real_device()) return;
    setenv("LATENT_GGML_CUDA_LIBRARY", LATENT_BACKEND_FAKE, 1);
    CHECK(graph::device_name("ggml-cuda") == "ggml-cuda:0");
    const DevicePtr device = graph::Device::create("ggml-cuda:6");
    CHECK(device->kind() == "ggml-cuda" && device->info().home == "portable");
    CHECK_THROWS(graph::Device::create("cuda:6"), ErrorCode::device);
    for (const DType type : {DType::f16, DType::q8_0}) {
        GoldenUNet golden_unet(device), other(gpu());
        golden_unet.load({Precision::fast, type}), other.load({Precision::fast, type});
        golden_unet.difference(), other.difference();
        CHECK(golden_unet.out == other.out);
        // Where weights are decoded, memory for that is planned.
        CHECK(golden_unet.unet.measure(golden_unet.input.shape).bytes > golden_unet.unet.runner().bytes());
    }
    unsetenv("LATENT_GGML_CUDA_LIBRARY");
    CHECK(graph::device_name("ggml-cuda") == "ggml-cuda");
}

/// ggml prepares the nodes after the first 64 in threads where a failed assertion cannot be caught.
TEST(slices_for_metal_are_short) {
    if (real_device()) return;
    setenv("LATENT_METAL_LIBRARY", LATENT_BACKEND_FAKE, 1);
    GoldenUNet golden_unet(graph::Device::create("metal:7")), other(graph::Device::create("vulkan:7"));
    const auto largest_slice = [&](GoldenUNet & network) {
        network.load({Precision::fast, DType::f16});
        network.difference();
        fake().largest(true);
        network.difference();
        return fake().largest(false);
    };
    CHECK(largest_slice(golden_unet) <= 64);
    CHECK(largest_slice(other) > 64);
    CHECK(golden_unet.out == other.out);
    unsetenv("LATENT_METAL_LIBRARY");
}
