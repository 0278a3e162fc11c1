#pragma once

#include <dlfcn.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "checks.h"
#include "fake_backend.h"
#include "golden_unet.h"
#include "graph/home.h"
#include "graph/portable/ggml_library.h"
#include "memory_source.h"

// The GPU of the tests: a real one named by LATENT_TEST_DEVICE, or one of the fake library's.

namespace gpu_test {

using namespace latent;
using graph::DevicePtr;
using graph::Precision;
using graph::WeightPolicy;

inline const char * real_device() {
    return std::getenv("LATENT_TEST_DEVICE");
}

inline const FakeControl & fake() {
    static const FakeControl * control = [] {
        void * library = dlopen(LATENT_BACKEND_FAKE, RTLD_NOW | RTLD_LOCAL);
        return reinterpret_cast<FakeControlFunction>(dlsym(library, "latent_fake_control"))();
    }();
    return *control;
}

inline DevicePtr open_gpu(const std::string & fake_name = "vulkan") {
    if (!real_device()) graph::set_backend_library("vulkan", LATENT_BACKEND_FAKE);
    return graph::Device::create(real_device() ? real_device() : fake_name);
}

/// One that never fails for good; tests of such failures use other GPUs of the fake library.
inline DevicePtr gpu() {
    static const DevicePtr device = open_gpu();
    return device;
}

inline bool is_exact() {
    return graph::home_for(gpu()->kind()).is_exact(*gpu());
}

/// Exact where the device computes in float32, otherwise fast with its bound for 16-bit operands.
inline WeightPolicy policy() {
    return is_exact() ? exact : WeightPolicy{Precision::fast, DType::f16};
}

inline double bound(const golden::Tensor & expected) {
    return is_exact() ? expected.atol : 3e-3 * expected.max_abs;
}

/// Linears after one another, over as many tokens as they have channels.
struct Tower {
    static constexpr int64_t dim = 512;
    DevicePtr device;
    graph::WeightStore store;
    graph::Runner runner;
    std::vector<graph::Linear> layers;
    std::shared_ptr<MemorySource> source = std::make_shared<MemorySource>();
    std::vector<float> x = fixture::formula("x", dim * dim);

    Tower(const DevicePtr & opened, int depth) : device(opened), store(opened, "tower"), runner(opened, store, "tower") {
        for (int i = 0; i < depth; ++i) {
            const std::string name = "layer." + std::to_string(i);
            source->add_random(name + ".weight", {dim, dim}, static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim))));
            layers.push_back(graph::Scope(store.declared(), "").linear(name, dim, dim, false));
        }
        source->done();
        store.plan(source, policy());
    }
    graph::Graph & graph() {
        graph::Graph & graph = runner.prepare("run", [this](graph::Ops & ops) {
            graph::Seq seq = ops.input_seq("x", dim, dim, 1);
            for (const graph::Linear & layer : layers) seq = ops.linear(seq, layer, {});
            ops.output("y", seq);
        });
        graph.set_input("x", Span<const float>(x));
        return graph;
    }
    std::vector<float> run() {
        graph::Graph & g = graph();
        g.compute(CancelToken{});
        std::vector<float> y(x.size());
        g.get_output("y", y);
        return y;
    }
};

inline std::string message_of(const std::function<void()> & body) {
    try {
        body();
    } catch (const Error & error) {
        return std::string(code_name(error.code())) + " " + error.what();
    }
    return "nothing was thrown";
}

/// Why the list of devices says that one cannot be used.
inline std::string refusal(const std::string & name) {
    for (const graph::DeviceInfo & info : graph::list_devices())
        if (info.name == name) return info.refused;
    return "not listed";
}

inline bool contains(const std::string & text, const std::string & part) {
    if (text.find(part) != std::string::npos) return true;
    std::fprintf(stderr, "    \"%s\" is not in \"%s\"\n", part.c_str(), text.c_str());
    return false;
}

}  // namespace gpu_test
