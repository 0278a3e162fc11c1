#include <algorithm>

#include "loaded.h"

// Calls of their own (predict, sample, decode, encodeImage, codes) under a bound: what a refusal names does run, and what a run
// keeps between its steps counts for everything that is called meanwhile.

using namespace loaded;

namespace {

LoadRequest fast_request(uint64_t max_bytes = 0, const std::string & memory = "auto") {
    LoadRequest request = exact_request();
    request.precision = Precision::fast;
    request.max_bytes = max_bytes, request.memory = memory;
    return request;
}

using Call = std::function<void(const Loaded & model, int width, int height, bool guided)>;

/// The details of a refusal; null where nothing was refused.
Json refusal(const std::function<void()> & call) {
    try {
        call();
    } catch (const Error & error) {
        CHECK(error.code() == ErrorCode::out_of_memory);
        const std::string text = error.what();
        CHECK(text.find("What fits: ") == text.rfind("What fits: "));  // told once
        std::printf("     %s\n", text.c_str());
        return Json::parse(error.details());
    }
    return {};
}

Latents noise(const Loaded & model, int width, int height) {
    return model->create_latents(width, height, 1, 1, "philox");
}

/// What it takes to load every part, less of which refuses the load and not the call.
uint64_t least_bound(const std::string & golden, const LoadRequest & request) {
    uint64_t least = 0;
    const Json stages = Loaded(golden, request)->estimate({64, 64})["stages"];
    for (const auto & [name, stage] : stages.items()) least = std::max(least, stage["weights"].get<uint64_t>());
    return least;
}

/// Refuses `call` at width x height under a bound of `spare` bytes beside the weights, then runs every plan under the same bound.
void check_call(const char * what, const std::string & golden, const Call & call, int width, int height, uint64_t spare,
                bool first_stage_only = false) {
    LoadRequest request = fast_request();
    const auto converted = request.dtype = {{"unet", "f16"}, {"conditioner", "f16"}, {"textEncoder", "f16"}, {"vae", "f16"}};
    request.first_stage_only = first_stage_only;  // converted weights lie on the heap and are not streamed
    const uint64_t bound = least_bound(golden, request) + spare;
    request.max_bytes = bound;
    const Loaded model(golden, request);
    std::printf("     %s:\n", what);
    const Json details = refusal([&] { call(model, width, height, true); });
    CHECK(!details.is_null());
    if (details.is_null()) return;
    CHECK(details.contains("plans") && details["nearest"] == details["plans"][0]);
    CHECK(details["required"].get<uint64_t>() > bound && details["available"] == bound);
    for (const Json & plan : details.value("plans", Json::array())) {
        CHECK(plan["peakBytes"].get<uint64_t>() <= bound);
        request.memory = plan["memory"];
        request.dtype = converted;
        if (plan.contains("dtype")) {
            const std::string type = plan["dtype"];
            request.dtype = {{"unet", type}, {"conditioner", type}, {"textEncoder", "q8_0"}, {"vae", "f16"}};
        }
        const Loaded other(golden, request);
        CHECK(refusal([&] { call(other, plan["width"], plan["height"], !plan.contains("guidanceScale")); }).is_null());
    }
}

}  // namespace

TEST(refused_calls_name_plans_that_run) {
    constexpr uint64_t mebi = 1 << 20;
    const Call predict = [](const Loaded & model, int width, int height, bool guided) {
        const Conditioning one = model->encode_prompt(model.tokens("ids", 0), {}),
                           other = model->encode_prompt(model.tokens("ids", 1), {});
        (void)model->predict(noise(model, width, height), {500}, &one, guided ? &other : nullptr, guided ? 3 : 1, nullptr, {});
    };
    const Call sample = [](const Loaded & model, int width, int height, bool guided) {
        const Conditioning one = model->encode_prompt(model.tokens("ids", 0), {}),
                           other = model->encode_prompt(model.tokens("ids", 1), {});
        SamplingRequest request;
        request.steps = 2, request.guidance_scale = guided ? 3 : 1, request.deep_cache = {2, 0};
        const auto run = model->start_sampling(request, noise(model, width, height), nullptr, &one, guided ? &other : nullptr);
        while (!run->done()) run->step({});
    };
    const Call decode = [](const Loaded & model, int width, int height, bool) {
        (void)model->decode(noise(model, width, height), true, {});
    };
    const Call encode = [](const Loaded & model, int width, int height, bool) {
        const ImageTensor image{{1, 3, height, width}, std::vector<float>(static_cast<size_t>(3 * height * width))};
        (void)model->encode_image(image, "mean", 1, "philox", {});
    };
    const Call codes = [](const Loaded & model, int width, int height, bool) {
        const ImageTensor image{{1, 3, height, width}, std::vector<float>(static_cast<size_t>(3 * height * width))};
        (void)model->encode_codes(image, {});
    };
    const Call from_codes = [](const Loaded & model, int width, int height, bool) {
        const int64_t h = height / 4, w = width / 4;
        (void)model->decode_codes({{1, h, w}, std::vector<int32_t>(static_cast<size_t>(h * w))}, {});
    };
    check_call("predict", "sd1", predict, 192, 128, 6 * mebi);
    check_call("sample", "sd1", sample, 192, 128, 7 * mebi);
    check_call("decode", "sd1", decode, 320, 256, 6 * mebi);
    check_call("encodeImage", "sd1", encode, 320, 256, 6 * mebi);
    check_call("encodeCodes", "ldm-cin256-v2", codes, 256, 192, 6 * mebi, true);
    check_call("decodeCodes", "ldm-cin256-v2", from_codes, 256, 192, 6 * mebi, true);
}

TEST(what_runs_keep_counts) {
    const Loaded free("sd1", fast_request());
    const auto stage = [](const Json & estimate, const char * name, const char * of) {
        return estimate["stages"][name][of].get<uint64_t>();
    };
    EstimateRequest asked{256, 256, 7.5, 1.5, 3};
    const Json plain = free->estimate(asked);
    asked.deep_cache = {2, 0};
    const Json kept = free->estimate(asked);
    const uint64_t features = stage(kept, "unet", "pictures") - stage(plain, "unet", "pictures");
    CHECK(features > 0 && stage(kept, "decode", "peak") == stage(plain, "decode", "peak"));
    // Halves of guidance that take turns keep as much as a batch of both.
    const Loaded low("sd1", fast_request(0, "low"));
    CHECK(stage(low->estimate(asked), "unet", "pictures") == stage(kept, "unet", "pictures"));
    // Without guidance there is one half.
    EstimateRequest unguided = asked;
    unguided.guidance_scale = 1;
    const uint64_t latents = stage(plain, "unet", "pictures");
    CHECK(stage(free->estimate(unguided), "unet", "pictures") == latents + features / 2);
    // A picture that is shown meanwhile is decoded beside all of it.
    asked.preview_method = "vae";
    const Json shown = free->estimate(asked);
    CHECK(stage(shown, "decode", "peak") == stage(kept, "decode", "peak") + latents + features);
    CHECK(stage(shown, "unet", "peak") > stage(kept, "unet", "peak"));
}

TEST(decoding_beside_a_run_is_planned_with_what_it_keeps) {
    const Loaded free("sd1", fast_request());
    EstimateRequest asked{96, 64, 7.5, 1.5, 2, {2, 3}, "vae"};
    // generate() under exactly the stated peak shows its previews; a bound that the decoder alone would fit refuses before it
    // begins.
    const uint64_t peak = free->estimate(asked)["peak"];
    const Loaded model("sd1", fast_request(peak));
    GenerateRequest request;
    request.inputs.prompt = model.tokens("ids", 0), request.negative = model.tokens("ids", 1);
    request.sampling.sampler = "ddim", request.sampling.steps = 3, request.sampling.guidance_scale = 3;
    request.sampling.deep_cache = asked.deep_cache;
    request.width = asked.width, request.height = asked.height, request.count = asked.count;
    request.preview_every = 1, request.preview_method = "vae";
    int shown = 0;
    JobContext job;
    job.preview = [&](int, int, Picture &&) { ++shown; };
    CHECK(model->generate(request, job).images.size() == 2 && shown == 2 * 2);

    // The same in the caller's hands: what fits alone does not fit beside a run that is alive, and fits again when it has ended.
    const auto decode = [](const Loaded & each) { (void)each->decode(noise(each, 256, 256), true, {}); };
    const Loaded narrow("sd1", fast_request(least_bound("sd1", fast_request())));
    const uint64_t alone = refusal([&] { decode(narrow); })["required"];
    const Loaded tight("sd1", fast_request(alone));
    const Conditioning one = tight->encode_prompt(tight.tokens("ids", 0), {});
    SamplingRequest loop;
    loop.steps = 4, loop.guidance_scale = 1, loop.deep_cache = {2, 3};
    auto run = tight->start_sampling(loop, tight->create_latents(64, 64, 32, 1, "philox"), nullptr, &one, nullptr);
    CHECK(!refusal([&] { decode(tight); }).is_null());
    run.reset();
    CHECK(refusal([&] { decode(tight); }).is_null());
}
