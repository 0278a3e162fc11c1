#include <chrono>
#include <cmath>
#include <fstream>
#include <thread>

#ifdef __linux__
#include <unistd.h>
#endif

#include "check.h"
#include "graph/portable/ggml_device.h"
#include "graph/portable/ggml_handles.h"
#include "graph/runner.h"
#include "memory_source.h"

// Devices, weights and graphs: loading, types, memory, cancelling.

using namespace latent;
using namespace latent::graph;

namespace {

const WeightPolicy exact_policy{Precision::exact, {}};

/// `depth` linears of `dim` after one another, over `length` tokens.
struct Tower {
    WeightStore store;
    std::vector<Linear> layers;
    std::shared_ptr<MemorySource> source;
    int64_t dim, length;

    Tower(const DevicePtr & device, int64_t dim_, int64_t length_, int depth, bool mapped = false, DType stored = DType::f32)
        : store(device, "tower"), source(std::make_shared<MemorySource>(mapped)), dim(dim_), length(length_) {
        for (int i = 0; i < depth; ++i) {
            const std::string name = "layer." + std::to_string(i);
            source->add_random(name + ".weight", {dim, dim}, static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim))),
                               stored);
            source->add_random(name + ".bias", {dim}, 0.1f, stored);
            layers.push_back(Scope(store.declared(), "").linear(name, dim, dim));
        }
        source->done();
    }

    GraphBuilder builder() {
        return [this](Ops & ops) {
            Seq x = ops.input_seq("x", dim, length, 1);
            for (const Linear & layer : layers) x = ops.linear(x, layer, {});
            ops.output("y", x);
        };
    }

    std::vector<float> run(Runner & runner) {
        Graph & graph = runner.prepare("run", builder());
        const auto x = fixture::formula("x", static_cast<size_t>(dim * length));
        graph.set_input("x", Span<const float>(x));
        graph.compute(CancelToken{});
        std::vector<float> y(x.size());
        graph.get_output("y", y);
        return y;
    }
};

double distance(const std::vector<float> & a, const std::vector<float> & b) {
    double worst = a.size() == b.size() ? 0 : INFINITY;
    for (size_t i = 0; i < a.size() && i < b.size(); ++i) worst = std::fmax(worst, std::fabs(a[i] - b[i]));
    return worst;
}

}  // namespace

TEST(devices) {
    const auto all = list_devices();
    CHECK(!all.empty() && all.back().kind == "cpu" && all.back().memory_total > 0);
    const DevicePtr device = Device::create("cpu", 1);
    CHECK(device->threads() == 1 && device->shares_host_memory() && device->name() == "cpu");
    CHECK(Device::create()->threads() >= 1);
    CHECK_THROWS(Device::create("quantum"), ErrorCode::device);
    CHECK_THROWS(device->require(uint64_t{1} << 60, "a test"), ErrorCode::out_of_memory);
}

TEST(dtype_policy) {
    const DevicePtr device = Device::create("cpu", 2);
    Tower reference(device, 64, 5, 2);
    Runner runner(device, reference.store, "tower");
    reference.store.plan(reference.source, exact_policy);
    reference.store.load({});
    const auto expected = reference.run(runner);
    const uint64_t f32_bytes = reference.store.bytes();
    CHECK(f32_bytes == 2 * (64 * 64 + 64) * 4);
    CHECK(reference.store.parameter_count() == 2 * (64 * 64 + 64));

    const std::vector<std::pair<DType, double>> bounds = {{DType::f32, 1e-6},  {DType::f16, 1e-2}, {DType::bf16, 5e-2},
                                                          {DType::q8_0, 5e-2}, {DType::q5_0, 0.3}, {DType::q4_0, 0.6}};
    uint64_t last = f32_bytes + 1;
    for (const auto & [type, bound] : bounds) {
        reference.store.plan(reference.source, {Precision::fast, type});
        CHECK(reference.store.parameters()[0]->dtype == type);
        CHECK(reference.store.parameters()[1]->dtype == DType::f32);  // biases stay
        CHECK(reference.store.bytes() <= last);
        last = reference.store.bytes();
        reference.store.load({});
        CHECK_NEAR(distance(reference.run(runner), expected), 0.0, bound);
    }
    // Bytes per output channel, packed; biases stay.
    reference.store.plan(reference.source, {Precision::fast, DType::i8});
    CHECK(reference.store.parameters()[0]->dtype == DType::i8);
    CHECK(reference.store.parameters()[1]->dtype == DType::f32);
    CHECK(reference.store.bytes() < f32_bytes / 3);
    reference.store.load({});
    CHECK_NEAR(distance(reference.run(runner), expected), 0.0, 5e-2);
    // Blocks of 256 do not divide rows of 64: the next best type.
    reference.store.plan(reference.source, {Precision::fast, DType::q4_k});
    CHECK(reference.store.parameters()[0]->dtype == DType::q4_0);
    // As stored; exact ignores both.
    Tower halves(device, 64, 5, 1, false, DType::f16);
    halves.store.plan(halves.source, {});
    CHECK(halves.store.parameters()[0]->dtype == DType::f16);
    halves.store.plan(halves.source, {Precision::exact, DType::q4_0});
    CHECK(halves.store.parameters()[0]->dtype == DType::f32);
}

TEST(weights_in_place) {
    const DevicePtr device = Device::create("cpu", 2);
    Tower copied(device, 32, 3, 2), mapped(device, 32, 3, 2, true);
    Runner a(device, copied.store, "tower"), b(device, mapped.store, "tower");
    copied.store.plan(copied.source, exact_policy);
    mapped.store.plan(mapped.source, exact_policy);
    CHECK(copied.store.mapped_bytes() == 0 && mapped.store.mapped_bytes() == mapped.store.bytes());
    copied.store.load({});
    mapped.store.load({});
    CHECK_NEAR(distance(copied.run(a), mapped.run(b)), 0.0, 0.0);
    // Unloading and loading again makes old graphs stale, not wrong.
    const auto before = copied.run(a);
    copied.store.unload();
    CHECK(!copied.store.loaded());
    CHECK_THROWS(a.prepare("run", copied.builder()), ErrorCode::internal);
    copied.store.load({});
    CHECK_NEAR(distance(copied.run(a), before), 0.0, 0.0);
}

TEST(converted_parts_leave_nothing_in_the_file) {
    const DevicePtr device = Device::create("cpu", 1);
    Tower halves(device, 32, 3, 2, true), mapped(device, 32, 3, 2, true);
    halves.store.plan(halves.source, {Precision::fast, DType::f16});  // the matrices are converted, norms and biases could stay
    CHECK(halves.store.mapped_bytes() == 0);
    mapped.store.plan(mapped.source, exact_policy);
    CHECK(mapped.store.mapped_bytes() == mapped.store.bytes());
}

TEST(weights_at_rest) {
    const DevicePtr device = Device::create("cpu", 1);
    Tower copied(device, 32, 3, 2), mapped(device, 32, 3, 2, true);
    for (Tower * tower : {&copied, &mapped}) {
        std::vector<std::string> & released = tower->source->released;
        Runner runner(device, tower->store, "tower");
        tower->store.plan(tower->source, exact_policy);
        tower->store.rest();
        tower->store.load({});
        released.clear();
        tower->store.rest();  // nothing was read yet
        CHECK(released.empty());
        const auto before = tower->run(runner);
        tower->store.rest();
        const size_t expected = tower == &mapped ? tower->source->tensors().size() : 0;  // copies stay
        CHECK(released.size() == expected);
        tower->store.rest();
        CHECK(released.size() == expected);
        CHECK_NEAR(distance(tower->run(runner), before), 0.0, 0.0);
        tower->store.unload();  // gives back what was read since
        CHECK(released.size() == 2 * expected);
    }
}

TEST(files_that_do_not_fit) {
    const DevicePtr device = Device::create("cpu", 1);
    WeightStore store(device, "unet");
    const Scope scope(store.declared(), "m.");
    scope.linear("present", 8, 4);
    scope.linear("absent", 8, 4);
    auto source = std::make_shared<MemorySource>();
    source->add_random("m.present.weight", {8, 4}, 1.0f);  // transposed
    source->add_random("m.present.bias", {4}, 1.0f);
    source->done();
    try {
        store.plan(source, {});
        CHECK(false);
    } catch (const Error & e) {
        const std::string message = e.what();
        CHECK(e.code() == ErrorCode::model_format);
        CHECK(message.find("m.absent.weight") != std::string::npos && message.find("m.absent.bias") != std::string::npos);
        CHECK(message.find("[8, 4], expected [4, 8]") != std::string::npos);
    }
    CHECK(!store.planned());
    CHECK_THROWS(store.load({}), ErrorCode::internal);
    CHECK_THROWS(scope.table("huge", {int64_t{1} << 31, int64_t{1} << 31}), ErrorCode::model_format);
}

TEST(load_progress_and_abort) {
    const DevicePtr device = Device::create("cpu", 1);
    Tower tower(device, 32, 3, 3);
    tower.store.plan(tower.source, exact_policy);
    JobContext job;
    int64_t last = 0, total = 0;
    int reports = 0;
    job.progress = [&](const Progress & p) {
        CHECK(p.phase == Phase::load && p.step >= last);
        last = p.step, total = p.steps, ++reports;
        if (reports == 3) job.cancel->cancel();
    };
    CHECK_THROWS(tower.store.load(job), ErrorCode::aborted);
    CHECK(!tower.store.loaded() && reports == 3);
    JobContext again;
    again.progress = [&](const Progress & p) { last = p.step, total = p.steps; };
    tower.store.load(again);
    CHECK(tower.store.loaded() && last == total && static_cast<uint64_t>(total) == tower.store.bytes());
}

TEST(cancel_inside_compute) {
    for (const int threads : {1, 2}) {
        const DevicePtr device = Device::create("cpu", threads);
        Tower tower(device, 512, 512, 200);
        tower.store.plan(tower.source, {Precision::fast, DType::f16});
        tower.store.load({});
        Runner runner(device, tower.store, "tower");
        const auto expected = tower.run(runner);
        Graph & graph = runner.prepare("run", tower.builder());

        const auto start = std::chrono::steady_clock::now();
        graph.compute(CancelToken{});
        const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - start;

        // On a busy machine the thread that cancels may come too late: then it tries again, sooner.
        bool aborted = false;
        for (double delay = whole.count() / 10; !aborted && delay > 1e-7; delay /= 2) {
            CancelToken cancel;
            std::thread canceller([&] {
                std::this_thread::sleep_for(std::chrono::duration<double>(delay));
                cancel.cancel();
            });
            try {
                graph.compute(cancel);
            } catch (const Error & error) {
                CHECK(error.code() == ErrorCode::aborted);
                aborted = true;
            }
            canceller.join();
        }
        CHECK(aborted);
        CHECK_NEAR(distance(tower.run(runner), expected), 0.0, 0.0);  // the same graph, as if nothing had happened
        CancelToken already;
        already.cancel();
        CHECK_THROWS(graph.compute(already), ErrorCode::aborted);
    }
}

TEST(graph_memory) {
    const DevicePtr device = Device::create("cpu", 1);
    Tower tower(device, 64, 64, 40);
    tower.store.plan(tower.source, exact_policy);
    Runner runner(device, tower.store, "tower", 2);
    CHECK(runner.bytes() == 0);
    const GraphMeasure measured = runner.measure(tower.builder());
    CHECK(measured.flops == 2.0 * 64 * 64 * 64 * 40);
    tower.store.load({});
    tower.run(runner);
    CHECK(runner.bytes() > 0 && runner.bytes() <= measured.bytes);
    // Activations are reused: forty layers take little more than one.
    CHECK(measured.bytes < 40 * 64 * 64 * 4 + (8 << 20));

    // More than there is: an error with numbers, before anything is allocated; the runner goes on working.
    const int64_t absurd = int64_t{1} << 38;
    const auto too_large = [&](Ops & ops) {
        ops.output("y", ops.activation(ops.input_seq("x", 64, absurd / 64, 1), Activation::silu));
    };
    CHECK(runner.measure(too_large).bytes >= static_cast<uint64_t>(absurd) * 4);
    CHECK_THROWS(runner.prepare("absurd", too_large), ErrorCode::out_of_memory);
    tower.run(runner);

    // At most two shapes are kept.
    runner.prepare("second", tower.builder());
    const uint64_t two = runner.bytes();
    runner.prepare("third", tower.builder());
    CHECK(runner.bytes() == two);
    runner.clear();
    CHECK(runner.bytes() == 0);

    Graph & graph = runner.prepare("run", tower.builder());
    const std::vector<float> short_input(7);
    CHECK_THROWS(graph.set_input("x", Span<const float>(short_input)), ErrorCode::internal);
    CHECK_THROWS(graph.set_input("nothing", Span<const float>(short_input)), ErrorCode::internal);
}

TEST(bands_free_their_memory) {
    // Twenty banded convolutions in a row must not keep twenty outputs.
    const DevicePtr device = Device::create("cpu", 1);
    WeightStore store(device, "convs");
    auto source = std::make_shared<MemorySource>();
    std::vector<Conv> layers;
    for (int i = 0; i < 20; ++i) {
        const std::string name = std::to_string(i);
        source->add_random(name + ".weight", {16, 16, 3, 3}, 0.1f);
        source->add_random(name + ".bias", {16}, 0.1f);
        layers.push_back(Scope(store.declared(), "").conv(name, 16, 16, 3));
    }
    source->done();
    store.plan(source, exact_policy);
    Runner runner(device, store, "convs");
    runner.set_limits({1 << 20, 1 << 20, "portable"});
    const int64_t side = 256;
    const GraphMeasure measured = runner.measure([&](Ops & ops) {
        Map x = ops.input_map("x", side, side, 16, 1);
        for (const Conv & layer : layers) x = ops.conv(x, layer, {});
        ops.output("y", x);
    });
    const uint64_t map_bytes = 16 * side * side * 4;
    CHECK(measured.bytes < 5 * map_bytes + (24 << 20));
}

TEST(many_nodes) {
    // More bands than the first context holds: it grows. More than any context may hold: an error, not an abort.
    const DevicePtr device = Device::create("cpu", 1);
    WeightStore store(device, "convs");
    auto source = std::make_shared<MemorySource>();
    source->add_random("c.weight", {1, 1, 3, 3}, 0.1f);
    source->add_random("c.bias", {1}, 0.1f);
    const Conv layer = Scope(store.declared(), "").conv("c", 1, 1, 3);
    source->done();
    store.plan(source, exact_policy);
    Runner runner(device, store, "convs");
    runner.set_limits({1, 1, "portable"});
    const auto rows = [&](int64_t height) {
        return runner.measure(
            [&, height](Ops & ops) { ops.output("y", ops.conv(ops.input_map("x", 1, height, 1, 1), layer, {})); });
    };
    CHECK(rows(4000).bytes > 0);
    CHECK_THROWS(rows(1000000), ErrorCode::out_of_memory);
}

#ifdef __linux__
uint64_t resident_memory() {
    uint64_t pages = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> pages >> resident;
    return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

TEST(memory_of_freed_graphs_is_the_systems_again) {
    // malloc keeps blocks below the largest one freed so far (up to 32 MiB) in its heap, whose end it does not give back.
    const DevicePtr device = Device::create("cpu", 1);
    ggml_backend_buffer_type * type = static_cast<GgmlDevice &>(*device).buffer_type();
    const auto take = [&](size_t mebibytes) {
        ggml_backend_buffer_ptr buffer(ggml_backend_buft_alloc_buffer(type, mebibytes << 20));
        CHECK(buffer && ggml_backend_buffer_is_host(buffer.get()));
        ggml_backend_buffer_clear(buffer.get(), 1);
        return buffer;
    };
    take(30);
    const uint64_t before = resident_memory();
    {
        const auto large = take(24), small = take(8);
        CHECK(resident_memory() > before + (31 << 20));
    }
    CHECK(resident_memory() < before + (2 << 20));
}
#endif
