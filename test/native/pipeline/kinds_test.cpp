#include <algorithm>
#include <functional>

#include "pipeline/system_checks.h"

// What holds for every kind of model: any size, counts, previews, cancelling, memory.

using namespace loaded;

namespace {

struct Kind {
    const char * golden;
    std::function<void(const Loaded &, GenerateRequest &)> fill;
};

void add_prompt(const Loaded & model, GenerateRequest & request) {
    request.inputs.prompt = model.tokens("ids", 0);
    request.negative = model.tokens("ids", 1);
    request.sampling.guidance_scale = 4;
}

ImageTensor picture_of(int64_t h, int64_t w) {
    ImageTensor image{{1, 3, h, w}, {}};
    for (int64_t i = 0; i < 3 * h * w; ++i) image.data.push_back(std::sin(static_cast<float>(i) * 0.7f));
    return image;
}

const std::vector<Kind> & kinds() {
    static const std::vector<Kind> all = {
        {"ldm-uncond", [](const Loaded &, GenerateRequest &) {}},
        {"ldm-cin256-v2",
         [](const Loaded &, GenerateRequest & request) {
             request.inputs.prompt = class_tokens(7);
             request.sampling.guidance_scale = 3;
         }},
        {"ldm-txt2img", add_prompt},
        {"ldm-layout2img",
         [](const Loaded & model, GenerateRequest & request) {
             const golden::Values layout = model.expected("layout_tokens");
             request.inputs.prompt.emplace();
             request.inputs.prompt->chunks.push_back({{layout.data.begin(), layout.data.end()}, {}});
         }},
        {"ldm-semantic",
         [](const Loaded &, GenerateRequest & request) {
             request.width = request.height = 0;  // the map's
             request.inputs.labels = LabelMap{32, 48, std::vector<int32_t>(32 * 48, 5)};
         }},
        {"ldm-sr",
         [](const Loaded &, GenerateRequest & request) {
             request.width = request.height = 0;
             request.inputs.image = picture_of(11, 13);
         }},
        {"sd-x4-upscaler",
         [](const Loaded & model, GenerateRequest & request) {
             add_prompt(model, request);
             request.width = request.height = 0;
             request.inputs.image = picture_of(11, 13);
         }},
        {"ldm-inpaint-big",
         [](const Loaded &, GenerateRequest & request) {
             request.width = request.height = 0;
             request.inputs.image = picture_of(37, 50);
             request.inputs.mask = ImageTensor{{1, 1, 37, 50}, std::vector<float>(37 * 50, 1.0f)};
         }},
        {"sd1-inpaint",
         [](const Loaded & model, GenerateRequest & request) {
             add_prompt(model, request);
             request.width = request.height = 0;
             request.inputs.image = picture_of(70, 50);
             request.inputs.mask = ImageTensor{{1, 1, 70, 50}, std::vector<float>(70 * 50, 1.0f)};
         }},
        {"sd2-depth",
         [](const Loaded & model, GenerateRequest & request) {
             add_prompt(model, request);
             request.inputs.depth = ImageTensor{{1, 1, 5, 7}, std::vector<float>(35, 0.5f)};
             request.inputs.depth->data[3] = 2;
         }},
        {"ldm-rdm",
         [](const Loaded &, GenerateRequest & request) {
             request.width = 64, request.height = 32;
             request.inputs.embeddings = EmbeddingRows{2, 64, std::vector<float>(2 * 64, 0.5f)};
             request.sampling.guidance_scale = 3;
         }},
    };
    return all;
}

GenerateRequest request_of(const Loaded & model, const Kind & kind) {
    GenerateRequest request;
    request.sampling.sampler = "ddim";
    request.sampling.steps = 2;
    request.sampling.seed = 3;
    request.sampling.guidance_scale = 1;
    request.width = 48, request.height = 32;
    kind.fill(model, request);
    return request;
}

}  // namespace

TEST(every_kind_makes_pictures_with_previews) {
    for (const Kind & kind : kinds()) {
        const Loaded model(kind.golden);
        GenerateRequest request = request_of(model, kind);
        request.count = 2;
        request.preview_every = 1;
        JobContext job;
        int previews = 0;
        job.preview = [&](int, int, Picture && picture) { previews += picture.width > 0 && picture.channels == 3; };
        Progress last;
        job.progress = [&](const Progress & p) { last = p; };
        const GenerateResult result = model->generate(request, job);
        CHECK(previews == 2 && last.phase == Phase::decode && last.step == last.steps);
        CHECK(result.images.size() == 2 && result.images[0].data != result.images[1].data);
        if (request.width > 0) CHECK(result.images[0].width == request.width && result.images[0].height == request.height);
        // The second picture is the first of the next seed, and "vae" previews are whole pictures.
        GenerateRequest second = request;
        second.count = 1, second.sampling.seed = 4, second.preview_method = "vae";
        int64_t width = 0;
        job.preview = [&](int, int, Picture && picture) { width = picture.width; };
        CHECK(model->generate(second, job).images[0].data == result.images[1].data);
        CHECK(width >= result.images[0].width);
        std::printf("     %s: %dx%d\n", kind.golden, result.images[0].width, result.images[0].height);
    }
}

TEST(every_kind_can_be_cancelled_and_goes_on) {
    for (const Kind & kind : kinds()) {
        const Loaded model(kind.golden);
        const GenerateRequest request = request_of(model, kind);
        const GenerateResult whole = model->generate(request, {});
        JobContext before;
        before.cancel->cancel();
        CHECK_THROWS(model->generate(request, before), ErrorCode::aborted);
        JobContext job;
        job.progress = [&](const Progress & p) {
            if (p.phase == Phase::sample && p.step == 1) job.cancel->cancel();
        };
        CHECK_THROWS(model->generate(request, job), ErrorCode::aborted);
        CHECK(model->generate(request, {}).images[0].data == whole.images[0].data);
    }
}

TEST(every_kind_runs_one_part_at_a_time) {
    for (const Kind & kind : kinds()) {
        const Loaded model(kind.golden);
        LoadRequest low = exact_request();
        low.memory = "low";
        const Loaded spare(kind.golden, low);
        JobContext job;
        bool one = true;
        job.progress = [&](const Progress &) {
            int loaded_parts = 0;
            const Json usage = spare->memory_usage();
            for (const auto & part : usage["parts"].items()) loaded_parts += part.value().get<uint64_t>() > 0;
            one = one && loaded_parts <= 1;
        };
        const GenerateRequest request = request_of(model, kind);
        const Picture a = model->generate(request, {}).images[0], b = spare->generate(request, job).images[0];
        int worst = 0;  // guidance runs as two calls in place of one: the sums of a batch may be ordered differently
        for (size_t i = 0; i < a.data.size(); ++i) worst = std::max(worst, std::abs(a.data[i] - b.data[i]));
        CHECK(one);
        CHECK(a.data.size() == b.data.size() && worst <= 1);
        CHECK(spare->info()["memory"] == "low");
    }
}

TEST(every_kind_keeps_its_memory_bound_or_refuses_before_work) {
    for (const Kind & kind : kinds()) {
        const Loaded model(kind.golden);
        const GenerateRequest request = request_of(model, kind);
        const Picture drawn = model->generate(request, {}).images[0];
        const Json estimate = model->estimate({drawn.width, drawn.height, request.sampling.guidance_scale});
        uint64_t weights = 0, largest = 0;
        for (const auto & part : estimate["weights"].items()) weights += part.value()["bytes"].get<uint64_t>();
        for (const char * stage : {"textEncoder", "conditioner", "unet", "encode", "decode"}) {
            if (estimate.contains(stage)) largest = std::max(largest, estimate[stage]["bytes"].get<uint64_t>());
        }
        LoadRequest bounded = exact_request();
        bounded.max_bytes = weights + 3 * largest;
        const Loaded kept(kind.golden, bounded);
        uint64_t held = 0;
        JobContext job;
        job.progress = [&](const Progress &) { held = std::max(held, kept->memory_usage()["total"].get<uint64_t>()); };
        CHECK(kept->generate(request, job).images.size() == 1);
        CHECK(held > 0 && held <= bounded.max_bytes);

        // Less than the work takes with streamed weights.
        bounded.max_bytes = estimate["floor"].get<uint64_t>() / 10 * 9;
        bool worked = false;
        job.progress = [&](const Progress &) { worked = true; };
        const auto starved = [&] { return Loaded(kind.golden, bounded)->generate(request, job).images.size(); };
        CHECK_THROWS(starved(), ErrorCode::out_of_memory);
        CHECK(!worked);
    }
}

TEST(conditioning_counts_against_the_memory_bound) {
    LoadRequest low = exact_request();
    low.memory = "low";
    low.precision = Precision::fast;
    low.dtype = {{"unet", "q4_0"}, {"vae", "q4_0"}};  // so that the text encoder is the largest part
    const Loaded free("ldm-txt2img", low);
    GenerateRequest request;
    add_prompt(free, request);
    request.sampling.steps = 1;
    request.width = request.height = 32;
    const Json stages = free->estimate({32, 32})["stages"];
    const uint64_t needed = stages["textEncoder"]["peak"];
    for (const char * stage : {"unet", "decode"}) CHECK(stages[stage]["peak"].get<uint64_t>() < needed);
    low.max_bytes = needed;
    CHECK(Loaded("ldm-txt2img", low)->generate(request, {}).images.size() == 1);

    low.max_bytes = needed - 1;  // its weights fit, its work does not
    const Loaded starved("ldm-txt2img", low);
    bool worked = false;
    JobContext job;
    job.progress = [&](const Progress &) { worked = true; };
    CHECK_THROWS(starved->generate(request, job), ErrorCode::out_of_memory);
    CHECK_THROWS(starved->encode_inputs(request.inputs, job), ErrorCode::out_of_memory);
    CHECK_THROWS(starved->encode_prompt(*request.negative, job), ErrorCode::out_of_memory);
    CHECK_THROWS(starved->estimate({32, 32}), ErrorCode::out_of_memory);
    CHECK(!worked && starved->memory_usage()["total"] == 0);
}

TEST(pictures_count_against_the_memory_bound) {
    LoadRequest bounded = exact_request();
    const Json estimate = Loaded("ldm-txt2img", bounded)->estimate({64, 64});
    bounded.max_bytes = estimate["peak"].get<uint64_t>() + (1 << 20);
    const Loaded model("ldm-txt2img", bounded);
    GenerateRequest request;
    add_prompt(model, request);
    request.sampling.steps = 1;
    request.width = request.height = 64;
    CHECK(model->generate(request, {}).images.size() == 1);
    request.count = 4096;  // more than the weights, which could be streamed, make room for
    bool worked = false;
    JobContext job;
    job.progress = [&](const Progress &) { worked = true; };
    CHECK_THROWS(model->generate(request, job), ErrorCode::out_of_memory);
    CHECK(!worked);
}

TEST(plans_keep_a_size_that_is_given) {
    LoadRequest bounded = exact_request();
    const Kind & semantic = kinds()[4];
    bounded.max_bytes = Loaded(semantic.golden, bounded)->estimate({48, 32, 1.0})["floor"].get<uint64_t>() - 1;
    const Loaded model(semantic.golden, bounded);
    Json details;
    try {
        model->generate(request_of(model, semantic), {});
    } catch (const Error & error) {
        CHECK(error.code() == ErrorCode::out_of_memory);
        details = Json::parse(error.details());
    }
    CHECK(details.contains("plans") || details.contains("least"));
    for (const Json & plan : details.value("plans", Json::array({details.value("least", Json::object())})))
        CHECK(plan["width"] == 48 && plan["height"] == 32);
}

TEST(info_says_what_each_kind_takes) {
    const auto condition = [](const char * name) { return Loaded(name)->info()["condition"]; };
    CHECK(condition("ldm-uncond") == Json({{"guidance", false}}));
    CHECK(condition("ldm-txt2img") == Json({{"guidance", true}, {"tokens", 77}, {"vocabulary", 30522}, {"dim", 64}}));
    CHECK(condition("ldm-layout2img") == Json({{"guidance", false}, {"tokens", 92}, {"vocabulary", 8192}, {"dim", 64}}));
    CHECK(condition("ldm-cin256-v2") == Json({{"guidance", true}, {"dim", 64}, {"classes", 1001}, {"nullClass", 1000}}));
    CHECK(condition("ldm-semantic") == Json({{"guidance", false}, {"labels", 182}}));
    CHECK(condition("ldm-sr") == Json({{"guidance", false}, {"factor", 4}}));
    const Json upscaler = condition("sd-x4-upscaler");
    CHECK(upscaler["guidance"] == true && upscaler["factor"] == 4);
    CHECK(upscaler["maxNoiseLevel"] == 350 && upscaler["noiseLevel"] == 20);
    CHECK(condition("ldm-rdm") == Json({{"guidance", true}, {"dim", 64}}));
}
