#include "pipeline/memory/alternatives.h"
#include "loaded.h"

using namespace loaded;

namespace {

/// A planner by rule: weights by type, work by area, twice with guidance unless parts take turns.
struct Rule {
    uint64_t bound;
    int questions = 0;

    static uint64_t peak(const Alternative & choice) {
        const bool low = choice.memory == "low";
        const uint64_t weights = choice.dtype.empty() ? 4000000 : choice.dtype == "q8_0" ? 2000000 : 1000000;
        return weights + static_cast<uint64_t>(choice.width * choice.height) * (choice.guided && !low ? 20 : 10) +
               (low ? 0 : 500000);
    }
    Alternatives nearest(Alternative wanted) {
        return find_alternatives(wanted, 64, bound, [this](const Alternative & choice, uint64_t limit) {
            ++questions;
            return PlanAnswer{peak(choice) <= limit, peak(choice)};
        });
    }
};

Alternative wanted(int64_t width, int64_t height, const char * memory = "auto") {
    return {width, height, memory, "", true};
}

std::string text_of(Rule rule, const Alternative & choice) {
    return rule.nearest(choice).text(choice);
}

}  // namespace

TEST(nearest_plans_change_as_little_as_they_can) {
    // 768x512 with guidance takes 12.4 MB, in low memory 7.9.
    Rule rule{8450000};
    const Alternatives found = rule.nearest(wanted(768, 512));
    CHECK(found.text(wanted(768, 512)) == "What fits: memory: 'low' (7.5 MiB), 512x320 (7.4 MiB) or guidanceScale: 1 (8.0 MiB)");
    CHECK(found.plans[0].memory == "low" && found.plans[0].width == 768 && found.plans[0].guided);
    CHECK(found.to_json(wanted(768, 512))["nearest"] ==
          Json({{"width", 768}, {"height", 512}, {"memory", "low"}, {"peakBytes", 7932160}}));
    for (const Alternative & plan : found.plans) CHECK(plan.peak == Rule::peak(plan) && plan.peak <= rule.bound);
    CHECK(rule.questions <= 50);

    // Every size of the same shape: the largest that fits, and nothing larger does.
    for (uint64_t bound = 4600000; bound < 12000000; bound += 370000) {
        Rule each{bound};
        const Alternatives plans = each.nearest(wanted(960, 640, "fast"));
        const auto sized = std::find_if(plans.plans.begin(), plans.plans.end(), [](const Alternative & plan) {
            return plan.width < 960 && plan.memory == "fast" && plan.dtype.empty() && plan.guided;
        });
        int64_t largest = 0;
        for (int64_t side = 1; side < 15; ++side) {
            Alternative choice = wanted(64 * side, std::max<int64_t>(1, (4 * side + 3) / 6) * 64, "fast");
            if (Rule::peak(choice) <= bound) largest = choice.width;
        }
        CHECK(largest == (sized == plans.plans.end() ? 0 : sized->width));
    }
}

TEST(nearest_plans_where_one_change_is_not_enough) {
    // Less than the weights: a smaller type, in low memory.
    CHECK(text_of({6000000}, wanted(768, 512, "low")).find("dtype: 'q8_0'") != std::string::npos);
    // Less than q4_0 at this size, whatever else: a smaller size with it.
    Rule small{1500000};
    const Alternatives found = small.nearest(wanted(512, 768));
    CHECK(found.plans.size() == 1 && found.plans[0].dtype == "q4_0" && found.plans[0].memory == "low");
    CHECK(found.plans[0].width * 3 <= found.plans[0].height * 2 + 64 && found.plans[0].peak <= 1500000);
    CHECK(small.questions <= 50);
    // Nothing: the least.
    Rule none{1000};
    const Alternatives nothing = none.nearest(wanted(512, 512));
    CHECK(nothing.plans.empty() && none.questions <= 50);
    CHECK(nothing.least.width == 64 && nothing.least.height == 64 && nothing.least.dtype == "q4_0");
    CHECK(nothing.least.peak == Rule::peak(nothing.least));
    CHECK(nothing.text(wanted(512, 512)) ==
          "Nothing fits; the smallest choice is 64x64 with memory: 'low' and dtype: 'q4_0' and guidanceScale: 1 (0.9 MiB)");
    CHECK(nothing.to_json(wanted(512, 512))["least"]["guidanceScale"] == 1);
}

namespace {

/// The plans of an error, loaded and run under the bound that made it.
size_t check_plans(const std::string & golden, const Json & details, LoadRequest request, GenerateRequest generate) {
    CHECK(details["nearest"] == details["plans"][0]);
    CHECK(details["required"].get<uint64_t>() > details["available"].get<uint64_t>());
    const auto own = request.dtype;
    for (const Json & plan : details["plans"]) {
        request.memory = plan["memory"];
        if (plan.contains("dtype")) {
            const std::string type = plan["dtype"];
            request.dtype = {{"unet", type}, {"conditioner", type}, {"textEncoder", "q8_0"}, {"vae", "f16"}};
        }
        if (plan.contains("guidanceScale")) generate.sampling.guidance_scale = plan["guidanceScale"];
        generate.width = plan["width"], generate.height = plan["height"];
        const Loaded model(golden, request);
        const Json estimate = model->estimate({generate.width, generate.height, generate.sampling.guidance_scale});
        CHECK(estimate["peak"] == plan["peakBytes"] && plan["peakBytes"] <= request.max_bytes);
        CHECK(model->generate(generate, {}).images.size() == 1);
        generate.sampling.guidance_scale = 3;
        request.dtype = own;
    }
    return details["plans"].size();
}

}  // namespace

TEST(plans_that_a_refusal_names_can_be_run) {
    for (const char * golden : {"sd1", "ldm-cin256-v2"}) {
        LoadRequest request = exact_request();
        request.precision = Precision::fast;
        request.dtype = {
            {"unet", "f16"}, {"conditioner", "f16"}, {"textEncoder", "f16"}, {"vae", "f16"}};  // on the heap: not streamed
        const Loaded free(golden, request);
        GenerateRequest generate;
        generate.sampling.sampler = "ddim", generate.sampling.steps = 1, generate.sampling.guidance_scale = 3;
        generate.inputs.prompt = std::string(golden) == "sd1" ? free.tokens("ids", 0) : PromptTokens{{{{5}, {}}}};
        if (std::string(golden) == "sd1") generate.negative = free.tokens("ids", 1);
        generate.width = 192, generate.height = 128;
        const uint64_t peak = free->estimate({192, 128})["peak"];
        size_t plans = 0;
        for (const double share : {0.95, 0.8, 0.6, 0.4, 0.2}) {
            request.max_bytes = static_cast<uint64_t>(share * static_cast<double>(peak));
            std::string message;
            Json details;
            try {
                (void)Loaded(golden, request)->generate(generate, {});
                continue;  // bands, halves or turns were enough
            } catch (const Error & error) {
                CHECK(error.code() == ErrorCode::out_of_memory);
                message = error.what(), details = Json::parse(error.details());
            }
            std::printf("     %s, %d MiB: %s\n", golden, static_cast<int>(request.max_bytes >> 20), message.c_str());
            if (details.contains("plans")) plans += check_plans(golden, details, request, generate);
        }
        CHECK(plans >= 2);
    }
}

TEST(the_least_that_a_refusal_names_is_enough) {
    LoadRequest request = exact_request();
    request.max_bytes = 1000;
    Json details;
    try {
        (void)Loaded("sd1", request);
    } catch (const Error & error) {
        details = Json::parse(error.details());
    }
    const Json least = details["least"];
    request.memory = least["memory"];
    request.max_bytes = least["peakBytes"];
    const auto estimate = [&] { return Loaded("sd1", request)->estimate({least["width"], least["height"], 1.0})["peak"]; };
    CHECK(estimate() <= request.max_bytes);
    request.max_bytes = request.max_bytes / 10 * 9;
    CHECK_THROWS(estimate(), ErrorCode::out_of_memory);
}
