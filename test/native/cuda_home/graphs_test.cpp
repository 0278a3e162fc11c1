#include <dlfcn.h>

#include <cmath>
#include <cstdlib>

#include "check.h"
#include "cuda/shim/host_runtime.h"
#include "graph/adapter_weights.h"
#include "graph/cuda/cuda_library.h"
#include "graph/home.h"
#include "graph/memory_source.h"
#include "graph/runner.h"

// One captured CUDA graph per shape of a network: replayed for the same shape, dropped when weights or adapters change.

using namespace latent;
using namespace latent::graph;

namespace {

/// The counts of the engine that is compiled for the host.
latent_host::GraphCounts engine_counts() {
    static void * library = dlopen(LATENT_CUDA_HOST, RTLD_NOW | RTLD_LOCAL);
    using Function = void (*)(latent_host::GraphCounts *);
    latent_host::GraphCounts counts;
    reinterpret_cast<Function>(dlsym(library, "latent_host_graph_counts"))(&counts);
    return counts;
}

/// y = W x + b, for as many tokens as are asked for.
struct Layer {
    static constexpr int64_t in = 24, out = 16;
    DevicePtr device = Device::create("cuda");
    WeightStore store{device, "layer"};
    Runner runner{device, store, "layer"};
    std::shared_ptr<MemorySource> source = std::make_shared<MemorySource>();
    std::vector<float> weight = source->add_random("layer.weight", {out, in}, 0.2f),
                       bias = source->add_random("layer.bias", {out}, 0.5f);
    Linear linear = Scope(store.declared(), "").linear("layer", in, out);
    std::vector<float> change = std::vector<float>(out * in);  // of the weight, by an adapter

    Layer() {
        source->done();
        store.plan(source, {Precision::fast, {}});
        store.load({});
    }
    void adapt(float strength) {
        ParameterChange adapter;
        adapter.parameter = "layer.weight", adapter.rank = 2;
        adapter.down = fixture::formula("down", 2 * in), adapter.up = fixture::formula("up", out * 2);
        for (float & each : adapter.up) each *= strength;
        for (int64_t o = 0; o < out; ++o) {
            for (int64_t i = 0; i < in; ++i)
                change[o * in + i] = adapter.up[o * 2] * adapter.down[i] + adapter.up[o * 2 + 1] * adapter.down[in + i];
        }
        bool given = false;
        store.set_adapter(std::make_shared<AdapterWeights>(
            store,
            [&](ParameterChange & next) {
                if (given) return false;
                given = true, next = adapter;
                return true;
            },
            JobContext{}));
    }
    /// Runs it, and checks the numbers and how many graphs were made, launched and destroyed meanwhile.
    void run(int64_t length, int made, int destroyed) {
        const latent_host::GraphCounts before = engine_counts();
        Graph & graph = runner.prepare(std::to_string(length), [&](Ops & plain) {
            plain.output("y", plain.linear(plain.input_seq("x", in, length, 1), linear));
        });
        const std::vector<float> x = fixture::formula("x", static_cast<size_t>(length * in));
        graph.set_input("x", Span<const float>(x));
        graph.compute(CancelToken{});
        std::vector<float> y(static_cast<size_t>(length * out));
        graph.get_output("y", y);
        double wrong = 0, all = 0;
        for (int64_t at = 0; at < length * out; ++at) {
            double sum = bias[at % out];
            for (int64_t i = 0; i < in; ++i)
                sum += static_cast<double>(x[at / out * in + i]) * (weight[at % out * in + i] + change[at % out * in + i]);
            wrong += (y[at] - sum) * (y[at] - sum), all += sum * sum;
        }
        CHECK(std::sqrt(wrong / all) < 1e-2);
        const latent_host::GraphCounts after = engine_counts();
        CHECK(after.made - before.made == made && after.destroyed - before.destroyed == destroyed);
        CHECK(after.launched - before.launched == 1);
    }
};

}  // namespace

TEST(graphs_by_shape) {
    if (std::getenv("LATENT_CUDA_LIBRARY")) return;  // its counts are those of the host's
    set_cuda_library(LATENT_CUDA_HOST);
    const latent_host::GraphCounts before = engine_counts();
    {
        Layer layer;
        layer.run(5, 1, 0);
        layer.run(5, 0, 0);  // replayed
        layer.run(9, 1, 0);  // captured anew
        layer.run(5, 0, 0);  // both are kept
        layer.run(9, 0, 0);
        layer.run(7, 1, 1);  // the one that was used longest ago makes room
        layer.run(9, 0, 0);
        layer.run(5, 1, 1);

        layer.adapt(0.5f);
        layer.run(5, 1, 2);  // both are stale
        layer.run(5, 0, 0);
        layer.run(9, 1, 0);
        layer.adapt(-1);
        layer.run(9, 1, 2);
        layer.store.set_adapter(nullptr);
        layer.change.assign(layer.change.size(), 0);
        layer.run(9, 1, 1);

        layer.store.unload();
        layer.store.load({});
        layer.run(9, 1, 1);
        layer.run(9, 0, 0);
    }
    CHECK(engine_counts().made - before.made == engine_counts().destroyed - before.destroyed);
}
