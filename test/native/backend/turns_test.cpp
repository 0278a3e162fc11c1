#include "gpu_test.h"
#include "pipeline/pipeline.h"

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

/// A pipeline on the fake GPU with all parts in memory.
std::shared_ptr<pipeline::Pipeline> text_to_image(const golden::TempFolder & folder, const std::string & memory = "auto") {
    const golden::Case golden_case = golden::load("ldm-txt2img");
    pipeline::LoadRequest request;
    request.device = gpu()->name();
    request.precision = Precision::exact;
    request.memory = memory;
    request.vae_tiling = true, request.vae_tile_size = 8;  // so that the U-Net needs most
    request.model = golden::write_layout(golden_case, "compvis", folder.path());
    request.config = golden_case.config();
    return pipeline::Pipeline::load(request, {});
}

struct Drawn {
    std::vector<uint8_t> image;
    int operations = 0;  // that the GPU computed
};

pipeline::GenerateRequest request_of(int side) {
    const golden::Values ids = golden::input(golden::load("ldm-txt2img"), "ids");
    const auto row = [&](std::ptrdiff_t index) {
        pipeline::PromptTokens tokens;
        const auto begin = ids.data.begin() + index * static_cast<std::ptrdiff_t>(ids.shape[1]);
        tokens.chunks.push_back({{begin, begin + static_cast<std::ptrdiff_t>(ids.shape[1])}, {}});
        return tokens;
    };
    pipeline::GenerateRequest request;
    request.inputs.prompt = row(0), request.negative = row(1);
    request.sampling.sampler = "ddim", request.sampling.steps = 4, request.sampling.seed = 3;
    request.sampling.guidance_scale = 4;
    request.width = request.height = side;
    return request;
}

Drawn draw(pipeline::Pipeline & pipeline, int side) {
    const int before = fake().operations();
    const pipeline::GenerateResult result = pipeline.generate(request_of(side), {});
    return {result.images[0].data, fake().operations() - before};
}

/// Requests that wait together; the image of the last.
Drawn draw_together(pipeline::Pipeline & pipeline, int side, size_t count) {
    Drawn out;
    const pipeline::TogetherMember member{std::make_shared<pipeline::GenerateRequest>(request_of(side)),
                                          {},
                                          [&](pipeline::GenerateResult && result) { out.image = result.images[0].data; },
                                          [](const std::exception_ptr & error) { std::rethrow_exception(error); }};
    const int before = fake().operations();
    pipeline.generate_together(std::vector<pipeline::TogetherMember>(count, member), {});
    out.operations = fake().operations() - before;
    return out;
}

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

/// Neither turns nor a large image for which the halves of guidance run one after the other slow the images that fit.
TEST(halves_of_guidance_run_as_a_batch_where_that_fits) {
    if (real_device()) return;
    fake().halves(false);
    const golden::TempFolder folder;
    const auto model = text_to_image(folder);
    const Drawn small = draw(*model, 32), large = draw(*model, 128), two = draw_together(*model, 32, 2);
    CHECK(two.operations < 2 * small.operations);  // they share calls of the U-Net
    const Json estimate = model->estimate({128, 128, 4});
    const uint64_t batch = estimate["unet"]["bytes"].get<uint64_t>();
    const uint64_t weights = estimate["weights"]["unet"]["bytes"].get<uint64_t>();
    const auto takes_turns = [&] { return model->info()["memory"] == "low"; };
    const auto small_as_before = [&] {
        const Drawn again = draw(*model, 32);
        return again.operations == small.operations && again.image == small.image;
    };
    model->unload();
    CHECK(small_as_before() && !takes_turns());
    {
        const Limit limit(batch / 2);
        const Drawn first = draw(*model, 128);
        CHECK(takes_turns());
        const Drawn second = draw(*model, 128);
        for (const Drawn & each : {first, second}) CHECK(each.image == large.image && each.operations == large.operations);
        CHECK(small_as_before());
        const Drawn shared = draw_together(*model, 32, 2);
        CHECK(shared.image == two.image && shared.operations == two.operations);
    }
    model->unload();
    const Limit limit(weights + batch * 3 / 4);
    for (int round = 0; round < 2; ++round) {
        const Drawn halves = draw(*model, 128);
        CHECK(halves.image == large.image && halves.operations > large.operations);
        CHECK(small_as_before());
    }
}

/// Weights are read before any graph is built, so that memory may already be short then.
TEST(parts_take_turns_where_their_weights_do_not_fit_together) {
    if (real_device()) return;
    const golden::TempFolder folder;
    const auto model = text_to_image(folder);
    const Drawn expected = draw(*model, 32);
    const auto weights = model->estimate({32, 32, 4})["weights"];
    uint64_t all = 0, largest = 0;
    for (const auto & [part, each] : weights.items()) {
        const uint64_t bytes = each["bytes"].get<uint64_t>();
        all += bytes, largest = std::max(largest, bytes);
    }
    model->unload();
    Tower other(gpu(), 64);  // another program's memory
    other.store.load({});
    for (const bool hidden : {false, true}) {
        const Limit limit(all - 1, hidden);
        const golden::TempFolder own;
        const auto small = text_to_image(own);
        CHECK(small->info()["memory"] == "low");
        CHECK(draw(*small, 32).image == expected.image);
    }
    {
        const Limit limit(largest / 2, true);  // alone it does not fit either
        const golden::TempFolder own;
        CHECK_THROWS(text_to_image(own), ErrorCode::out_of_memory);
    }
    draw(*model, 32);
    model->unload();
    const Limit limit(all - 1, true);  // since it was loaded
    CHECK(draw(*model, 32).image == expected.image);
    CHECK(model->info()["memory"] == "low");
}

/// Requests that wait together for a call that does not fit share smaller ones.
TEST(shared_calls_that_do_not_fit_become_smaller) {
    if (real_device()) return;
    const golden::TempFolder folder;
    const auto model = text_to_image(folder, "fast");
    const Drawn alone = draw(*model, 128), shared = draw_together(*model, 128, 8);
    CHECK(shared.operations < 8 * alone.operations);
    const Json estimate = model->estimate({128, 128, 4});
    const uint64_t one = estimate["unet"]["bytes"].get<uint64_t>();
    const uint64_t decoder = estimate["stages"]["decode"]["compute"].get<uint64_t>();
    model->unload();
    draw(*model, 32);
    const Limit limit(3 * one + decoder, true);
    const Drawn again = draw_together(*model, 128, 8);
    CHECK(again.image == alone.image && again.operations > shared.operations);
}
