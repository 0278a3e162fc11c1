#include "pipeline/system_checks.h"

// Limits below the weights, which are then streamed from the file.

using namespace loaded;

namespace {

LoadRequest as_stored(uint64_t max_bytes = 0) {
    LoadRequest request = exact_request();
    request.precision = Precision::fast;
    request.max_bytes = max_bytes;
    return request;
}

GenerateRequest drawing_of(const Loaded & model) {
    GenerateRequest request;
    request.inputs.prompt = model.tokens("ids", 0);
    request.negative = model.tokens("ids", 1);
    request.sampling.guidance_scale = 4;
    request.sampling.steps = 3;
    request.width = request.height = 64;
    return request;
}

int most_levels_apart(const Picture & a, const Picture & b) {
    if (a.data.size() != b.data.size()) return 255;
    int worst = 0;  // the sums of guidance as one batch may be ordered differently
    for (size_t i = 0; i < a.data.size(); ++i) worst = std::max(worst, std::abs(a.data[i] - b.data[i]));
    return worst;
}

uint64_t kept_of_unet(const Loaded & model) {
    return model->memory_usage()["parts"]["unet"];
}

}  // namespace

TEST(previews_by_a_tiny_autoencoder_beside_streamed_weights) {
    for (const bool f16 : {false, true}) {  // large enough to be streamed itself, and too small
        golden::TempFolder folder;
        golden::WriteOptions options;
        options.f16 = f16;
        golden::write_layout(golden::load("addon-taesd"), "pth", folder.path(), options);
        LoadRequest load = as_stored();
        load.preview_vae = folder.path() + "/taesd_decoder.pth";
        const Loaded free("sd1", load);
        GenerateRequest request = drawing_of(free);
        request.preview_every = 1, request.preview_method = "taesd";
        EstimateRequest asked{request.width, request.height, request.sampling.guidance_scale};
        asked.preview_method = "taesd";
        const Json whole = free->estimate(asked);
        CHECK(whole["stages"]["preview"]["streamed"] == 0 && whole["stages"]["unet"]["streamed"] == 0);
        load.max_bytes = whole["floor"];
        CHECK(load.max_bytes < whole["weights"]["unet"]["bytes"].get<uint64_t>());

        const Loaded bounded("sd1", load);
        const Json plan = bounded->estimate(asked);
        for (const auto & stage : plan["stages"].items()) {
            CHECK(stage.value()["peak"].get<uint64_t>() <= load.max_bytes);
            CHECK(stage.value()["pictures"].get<uint64_t>() < load.max_bytes);
            CHECK(stage.value()["weights"].get<uint64_t>() <= load.max_bytes);
        }
        CHECK(plan["stages"]["unet"]["streamed"].get<uint64_t>() > 0);
        int shown = 0;
        uint64_t kept = 0;
        JobContext job;
        job.preview = [&](int, int, Picture &&) {
            ++shown;
            kept = kept_of_unet(bounded);
        };
        const Picture drawn = bounded->generate(request, job).images[0];
        CHECK(shown == 2);
        const uint64_t all = plan["weights"]["unet"]["bytes"], streamed = plan["stages"]["unet"]["streamed"];
        CHECK(kept == all - streamed && kept <= load.max_bytes);
        request.preview_every = 0;
        CHECK(most_levels_apart(drawn, free->generate(request, {}).images[0]) <= 1);
    }
}

TEST(adapters_leave_less_room_for_streamed_weights) {
    golden::TempFolder folder;
    // Both replace whole weights, which lie on the heap. The second leaves the size of the graph as it is.
    const std::string norms = golden::write_layout(golden::load("addon-norm-full"), "kohya", folder.path());
    const std::string convolutions = folder / "convolutions.safetensors";
    std::vector<golden::FileTensor> tensors;
    for (const char * layer : {"resnets_0_conv1", "resnets_0_conv2", "resnets_1_conv1", "resnets_1_conv2"})
        tensors.push_back(golden::formula_tensor(std::string("lora_unet_mid_block_") + layer + ".diff", {128, 128, 3, 3}));
    golden::write_safetensors(convolutions, tensors);
    const Loaded free("sd1", as_stored());
    GenerateRequest request = drawing_of(free);
    const EstimateRequest asked{request.width, request.height, request.sampling.guidance_scale};
    const Json whole = free->estimate(asked);
    const uint64_t floor = whole["floor"];
    const Loaded bounded("sd1", as_stored(floor + whole["stages"]["unet"]["weights"].get<uint64_t>() / 8));
    const auto streamed_after_drawing = [&] {
        uint64_t kept = 0;
        JobContext job;
        job.progress = [&](const Progress & at) {
            if (at.phase == Phase::sample) kept = kept_of_unet(bounded);
        };
        CHECK(bounded->generate(request, job).images.size() == 1);
        const Json plan = bounded->estimate(asked);
        const uint64_t all = plan["weights"]["unet"]["bytes"], streamed = plan["stages"]["unet"]["streamed"];
        CHECK(streamed > 0 && kept == all - streamed);
        return streamed;
    };
    const uint64_t alone = streamed_after_drawing();
    for (const std::string & path : {norms, convolutions}) {
        bounded->set_adapters({{path, 0.01, 0.01}}, {});
        CHECK(streamed_after_drawing() > alone);
        bounded->set_adapters({}, {});
        CHECK(streamed_after_drawing() == alone);
    }
}

// Adapters of a high rank add more to the graph than to the weights.
TEST(adapters_under_a_limit_take_no_more_than_estimated) {
    golden::TempFolder folder;
    const std::string layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_ff_net_0_proj";
    const std::string path = folder / "high.safetensors";
    constexpr uint64_t rank = 24576, tokens = 32 * 32;
    golden::write_safetensors(path, {golden::formula_tensor(layer + ".lora_down.weight", {rank, 32}),
                                     golden::formula_tensor(layer + ".lora_up.weight", {256, rank})});
    const Loaded free("sd1", as_stored());
    GenerateRequest request = drawing_of(free);
    request.width = request.height = 256;
    request.sampling.steps = 1;
    EstimateRequest asked{request.width, request.height, request.sampling.guidance_scale};
    const Json bare = free->estimate(asked);
    request.adapters = asked.adapters = AdapterUses{{path, 1, 1}};
    const Json whole = free->estimate(asked);
    const auto weights = [](const Json & estimate) { return estimate["weights"]["unet"]["bytes"].get<uint64_t>(); };
    const uint64_t floor = whole["floor"], adapter = weights(whole) - weights(bare);
    CHECK(adapter == 2 * rank * (32 + 256));
    CHECK(floor > 2 * rank * tokens + adapter);

    const Loaded bounded("sd1", as_stored(floor));
    const Json plan = bounded->estimate(asked);
    CHECK(plan["peak"].get<uint64_t>() <= floor);
    CHECK(bounded->generate(request, {}).images.size() == 1);
    bounded->set_adapters(request.adapters.value(), {});
    const Conditioning prompt = bounded->encode_prompt(request.inputs.prompt.value(), {});
    (void)bounded->predict(bounded->create_latents(256, 256, 1, 1, "philox"), {500}, &prompt, &prompt, 4, nullptr, {});
    const Json usage = bounded->memory_usage();
    const uint64_t used = usage["compute"].get<uint64_t>() + usage["parts"]["unet"].get<uint64_t>();
    CHECK(used > 2 * rank * tokens + adapter && used <= plan["stages"]["unet"]["peak"].get<uint64_t>());
    // Less is refused, not exceeded.
    const Loaded tight("sd1", as_stored(floor - rank));
    bool refused = false;
    try {
        (void)tight->generate(request, {});
    } catch (const Error & error) {
        refused = error.code() == ErrorCode::out_of_memory;
    }
    CHECK(refused);
}

TEST(runs_that_begin_meanwhile_take_room_from_streamed_weights) {
    const Loaded free("sd1", as_stored());
    const GenerateRequest request = drawing_of(free);
    const EstimateRequest asked{request.width, request.height, request.sampling.guidance_scale};
    const Json whole = free->estimate(asked);
    const uint64_t floor = whole["floor"];
    const Loaded bounded("sd1", as_stored(floor + whole["stages"]["unet"]["weights"].get<uint64_t>() / 4));
    const Conditioning prompt = bounded->encode_prompt(request.inputs.prompt.value(), {});
    const auto begin = [&](int side, int count) {
        return bounded->start_sampling(request.sampling, bounded->create_latents(side, side, count, 1, "philox"), nullptr,
                                       &prompt, &prompt);
    };
    const auto paused = begin(64, 1);
    paused->step({});
    const uint64_t before = kept_of_unet(bounded);
    {
        const auto other = begin(64, 512);
        paused->step({});
        CHECK(kept_of_unet(bounded) < before);
    }
    paused->step({});
    CHECK(kept_of_unet(bounded) == before);
}
