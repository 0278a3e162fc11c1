#include <algorithm>

#include "loaded.h"

// Options of the loop that leave work out: guidance for a part of the steps, features that serve several evaluations.

using namespace loaded;

namespace {

GenerateRequest request_of(const Loaded & model) {
    GenerateRequest request;
    request.inputs.prompt = model.tokens("ids", 0);
    request.negative = model.tokens("ids", 1);
    request.sampling.sampler = "ddim";
    request.sampling.steps = 4;
    request.sampling.seed = 3;
    request.sampling.guidance_scale = 4;
    request.width = 48, request.height = 32;
    request.output_float = true;
    return request;
}

std::vector<float> picture(const Loaded & model, const GenerateRequest & request) {
    return model->generate(request, {}).tensor.data;
}

}  // namespace

TEST(guidance_for_a_part_of_the_steps) {
    const Loaded model("ldm-txt2img");
    GenerateRequest request = request_of(model);
    const auto guided = picture(model, request);
    request.sampling.guidance_interval = {0.0, 0.0};
    const auto never = picture(model, request);
    request.sampling.guidance_interval = {0.5, 1.0};
    const auto late = picture(model, request);
    request.sampling.guidance_interval = {0.0, 0.5};
    const auto early = picture(model, request);
    CHECK(late != guided && late != never && early != guided && early != never && early != late);
    // An end that no step begins at or after changes nothing: steps begin at 0, 1/4, 1/2, 3/4.
    request.sampling.guidance_interval = {0.0, 0.76};
    CHECK(picture(model, request) == guided);
    request.sampling.guidance_interval = {0.0, 1.0};
    request.sampling.guidance_scale = 1;
    CHECK(difference(picture(model, request), never) == 0);
}

TEST(features_serve_several_evaluations) {
    const Loaded model("ldm-txt2img");
    GenerateRequest request = request_of(model);
    request.count = 2;
    const auto whole = picture(model, request);
    request.sampling.deep_cache = {2, 0};
    const auto cached = picture(model, request);
    CHECK(cached != whole && difference(cached, whole) < 0.5);
    CHECK(picture(model, request) == cached);  // nothing is left over from the run before
    request.sampling.deep_cache = {1, 0};
    CHECK(picture(model, request) == whole);
    request.sampling.deep_cache = {2, 0};

    // Every picture has features of its own: the second of two is that of its seed alone.
    GenerateRequest second = request;
    second.count = 1, second.sampling.seed = 4;
    const auto alone = picture(model, second);
    CHECK(difference({cached.begin() + static_cast<std::ptrdiff_t>(alone.size()), cached.end()}, alone) == 0);

    // And every half of guidance, where they run one after the other; and the conditional half alone, outside of the interval.
    LoadRequest low = exact_request();
    low.memory = "low";
    const Loaded halves("ldm-txt2img", low);
    CHECK(difference(picture(halves, request), cached) < 1e-3);
    request.sampling.guidance_interval = {0.25, 0.75};
    CHECK(difference(picture(halves, request), picture(model, request)) < 1e-3);

    request.sampling.deep_cache = {2, 1000};
    CHECK_THROWS(model->generate(request, {}), ErrorCode::invalid_argument);
}

// Two shapes of the U-Net in one run: only one graph is in the plan of a bounded pipeline.
TEST(a_bounded_run_holds_one_graph) {
    LoadRequest bounded = exact_request();
    bounded.max_bytes = uint64_t{1} << 34;
    const auto compute = [](const Loaded & model) { return model->memory_usage()["compute"].get<uint64_t>(); };
    const auto prompt = [](const Loaded & model, size_t windows) {
        PromptTokens tokens = model.tokens("ids", 0);
        tokens.chunks.resize(windows, tokens.chunks[0]);
        return model->encode_prompt(tokens, {});
    };
    const Loaded fresh("sd1", bounded), turned("sd1", bounded);
    const Latents latents = fresh->create_latents(64, 64, 1, 1, "philox");
    const Conditioning one = prompt(fresh, 1);
    (void)fresh->predict(latents, {500}, &one, nullptr, 1, nullptr, {});
    SamplingRequest half;
    half.steps = 2, half.guidance_scale = 4, half.guidance_interval = {0.0, 0.5};
    const auto run = turned->start_sampling(half, latents, nullptr, &one, &one);
    while (!run->done()) run->step({});
    (void)turned->predict(latents, {500}, &one, nullptr, 1, nullptr, {});
    CHECK(compute(turned) == compute(fresh));

    // Halves of different lengths.
    bounded.memory = "low";
    const Loaded same("sd1", bounded), different("sd1", bounded);
    const Conditioning two = prompt(same, 2);
    (void)same->predict(latents, {500}, &two, &two, 3, nullptr, {});
    (void)different->predict(latents, {500}, &two, &one, 3, nullptr, {});
    CHECK(compute(different) <= compute(same));
}
