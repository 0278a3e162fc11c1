#include "gpu_test.h"

// Memory of a GPU that runs short: what is freed for a graph, and what is learnt from that.

using namespace latent;
using namespace gpu_test;

namespace {

/// The GPU has no more memory than is in use and `bytes`, for the lifetime of this object.
struct Limit {
    explicit Limit(uint64_t bytes, bool hidden = false) {
        fake().limit(bytes);
        fake().hide(hidden);
    }
    ~Limit() {
        fake().limit(0);
        fake().hide(false);
    }
    Limit(const Limit &) = delete;
    Limit & operator=(const Limit &) = delete;
};

}  // namespace

/// Without VK_EXT_memory_budget, only an allocation tells that memory is short.
TEST(room_is_made_where_the_driver_reports_all_memory_as_free) {
    if (real_device()) return;
    Tower tower(gpu(), 2), other(gpu(), 8);
    tower.store.load({});
    const std::vector<float> expected = tower.run();
    const uint64_t graph = tower.runner.bytes();
    CHECK(graph > 0);
    for (const bool hidden : {false, true}) {
        tower.runner.clear();
        other.store.load({});
        const Limit limit(graph / 2 + 1, hidden);  // some of the graph's buffers can be allocated
        int asked = 0;
        tower.runner.on_shortage([&] { return ++asked < 0; });
        CHECK_THROWS(tower.run(), ErrorCode::out_of_memory);
        CHECK(asked == 1 && tower.runner.bytes() == 0);
        tower.runner.on_shortage([&] { return ++asked > 0; });  // in vain
        CHECK_THROWS(tower.run(), ErrorCode::out_of_memory);
        CHECK(asked == 2);
        tower.runner.on_shortage([&] {
            ++asked;
            other.store.unload();
            return true;
        });
        CHECK(tower.run() == expected && asked == 3);
    }
    // What the runner keeps itself goes first.
    const auto shape = [&](int64_t tokens) -> graph::Graph & {
        return tower.runner.prepare(std::to_string(tokens), [&](graph::Ops & ops) {
            ops.output("y", ops.linear(ops.input_seq("x", Tower::dim, tokens, 1), tower.layers[0], {}));
        });
    };
    int asked = 0;
    tower.runner.on_shortage([&] { return ++asked > 0; });
    tower.runner.clear();
    shape(900);
    const Limit limit(tower.runner.bytes() / 2, true);
    shape(901);
    CHECK(asked == 0);
}

/// The keys and values of a prompt are a graph of their own.
TEST(room_is_made_for_every_graph_of_a_network) {
    if (real_device()) return;
    GoldenUNet golden_unet(gpu());
    golden_unet.load(policy());
    Tower other(gpu(), 8);
    other.store.load({});
    golden_unet.difference();
    const std::vector<float> out = golden_unet.out;
    golden_unet.context[0] += 1;
    int asked = 0;
    golden_unet.unet.on_shortage([&] {
        ++asked;
        other.store.unload();
        return true;
    });
    const Limit limit(64);  // the other graph is there
    CHECK(std::isfinite(golden_unet.difference()));
    CHECK(asked == 1 && golden_unet.out != out);
}
