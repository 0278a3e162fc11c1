#include <algorithm>

#include "fixture.h"
#include "pipeline/refiner.h"
#include "pipeline/system_checks.h"
#include "samplers/solver.h"

// SDXL's refiner: one list of steps, the first of them made by the base model, the rest by the refiner.

using namespace loaded;

namespace {

/// What generate() and two loops by hand have in common.
struct Case {
    LoadRequest load = exact_request();
    golden::Case refiner = golden::load("sdxl-refiner");
    golden::TempFolder folder;

    Case() {
        load.refiner = golden::write_layout(refiner, "compvis", folder.path());
        load.refiner_config = refiner.config();
    }
    static SamplingRequest sampling() {
        SamplingRequest sampling;
        sampling.sampler = "euler", sampling.schedule = "leading";
        sampling.steps = 4;
        sampling.guidance_scale = 5;
        return sampling;
    }
    static GenerateRequest request(const Loaded & base, const Latents & start, double switch_at) {
        GenerateRequest request;
        request.sampling = sampling();
        request.inputs = prompt_request(base.tokens("ids_l", 0));
        request.negative = base.tokens("ids_l", 1), request.empty_negative = true;
        request.width = static_cast<int>(start.shape[3]) * 8, request.height = static_cast<int>(start.shape[2]) * 8;
        request.latents = start;
        request.refiner_switch_at = switch_at;
        request.output_float = true;
        return request;
    }
};

/// A loop of one model alone, as generate() conditions it.
std::unique_ptr<SamplingRun> loop_of(Pipeline & pipe, const GenerateRequest & request, const Latents & start) {
    Inputs inputs = request.inputs, other = request.inputs;
    SizeInputs sizes;
    sizes.original = std::array<double, 2>{static_cast<double>(request.height), static_cast<double>(request.width)};
    if (pipe.info()["condition"]["sizes"] == "base") sizes.target = sizes.original;
    inputs.sizes = other.sizes = sizes;
    other.prompt = request.negative, other.unconditional = true;
    const Conditioning conditioning = pipe.encode_inputs(inputs, {}), unconditional = pipe.encode_inputs(other, {});
    return pipe.start_sampling(request.sampling, start, nullptr, &conditioning, &unconditional);
}

}  // namespace

TEST(refiner_takes_over_between_two_steps) {
    const Case made;
    const Loaded both("sdxl-base", made.load), base("sdxl-base"), refiner("sdxl-refiner");
    const Latents start = base.latents("x_T", 0);
    const auto picture_of = [&](const Loaded & pipe, double switch_at) {
        return pipe->generate(Case::request(base, start, switch_at), {}).tensor.data;
    };
    // Timesteps 751, 501, 251, 1: the refiner's are those below 1000 - 1000 * share.
    for (const auto & [switch_at, own] : std::vector<std::pair<double, int>>{{0.0, 0}, {0.4, 1}, {0.6, 2}, {0.8, 3}}) {
        const GenerateRequest request = Case::request(base, start, switch_at);
        const auto first = loop_of(*base, request, start), second = loop_of(*refiner, request, start);
        for (int step = 0; step < own; ++step) first->step({}), second->step({});
        if (own > 0) second->latents() = first->latents();  // Euler keeps nothing else
        while (!second->done()) second->step({});
        const ImageTensor expected = base->decode(second->latents(), true, {});
        within("refiner from " + std::to_string(switch_at), difference(picture_of(both, switch_at), expected.data), 1e-6);
    }
    CHECK(picture_of(both, 1.0) == picture_of(base, 0.8));  // never, and none
    CHECK(picture_of(both, 0.8) != picture_of(base, 0.8));
    // The two networks take turns where memory is low, and their parts are reported together.
    LoadRequest low = made.load;
    low.memory = "low";
    const Loaded turns("sdxl-base", low);
    within("one after the other", difference(picture_of(turns, 0.4), picture_of(both, 0.4)), 1e-5);
    CHECK(turns->info()["memory"] == "low");
    const Json info = both->info(), alone = base->info(), own = refiner->info();
    CHECK(info["parameters"] == alone["parameters"] && !alone.contains("refiner"));
    for (const char * part : {"unet", "textEncoder"}) CHECK(info["refiner"]["parameters"][part] == own["parameters"][part]);
    CHECK(!info["refiner"]["parameters"].contains("vae"));
}

TEST(refiner_from_a_picture_and_with_a_mask) {
    const Case made;
    const golden::TempFolder files;
    LoadRequest alone = exact_request();
    alone.vae = golden::write_layout(golden::load("sdxl-base"), "compvis", files.path());
    const Loaded both("sdxl-base", made.load), base("sdxl-base"), refiner("sdxl-refiner", alone);
    const Latents start = base.latents("x_T", 0);
    GenerateRequest request = Case::request(base, start, 0.8);
    ImageTensor image{{1, 3, request.height, request.width}, {}};
    for (int64_t i = 0; i < 3 * request.height * request.width; ++i) image.data.push_back(static_cast<float>(std::sin(0.37 * i)));
    request.inputs.image = image;
    request.sampling.strength = 0.5;  // timesteps 251, 1
    const auto made_by = [&](const Loaded & pipe) { return pipe->generate(request, {}).tensor.data; };
    const std::vector<float> refined = made_by(both);
    CHECK(refined != made_by(base));
    request.refiner_switch_at = 0;  // all of it is the refiner's: as the refiner alone with this first stage
    CHECK(made_by(both) != refined && difference(made_by(both), made_by(refiner)) < 1e-6);
    request.inputs.mask = ImageTensor{{1, 1, request.height, request.width}, {}};
    for (int64_t i = 0; i < int64_t{request.height} * request.width; ++i) {
        request.inputs.mask->data.push_back(i % request.width < 24 ? 1.0f : 0.0f);
    }
    const std::vector<float> masked = made_by(both);
    CHECK(difference(masked, made_by(refiner)) < 1e-6);
    CHECK(masked.back() == image.data.back() && masked.front() != image.data.front());
}

TEST(refiner_in_memory_plans) {
    const Case made;
    LoadRequest low = made.load;
    low.memory = "low";
    const Loaded both("sdxl-base", made.load), turns("sdxl-base", low), base("sdxl-base"), refiner("sdxl-refiner");
    const Latents start = base.latents("x_T", 0);
    const GenerateRequest drawn = Case::request(base, start, 0.4);
    EstimateRequest request;
    request.width = drawn.width, request.height = drawn.height;
    const Json plan = both->estimate(request), alone = base->estimate(request), own = refiner->estimate(request);
    CHECK(!alone.contains("refiner") && !alone["stages"].contains("refiner"));
    CHECK(plan["weights"]["refiner"]["bytes"] == own["weights"]["unet"]["bytes"]);
    CHECK(plan["weights"]["unet"] == alone["weights"]["unet"]);
    CHECK(plan["refiner"] == own["unet"] && plan["unet"] == alone["unet"]);
    CHECK(plan["stages"]["refiner"]["compute"] == own["stages"]["unet"]["compute"]);
    const auto weights = [](const Json & each, const char * stage) { return each["stages"][stage]["weights"].get<uint64_t>(); };
    const Json low_plan = turns->estimate(request);
    CHECK(weights(low_plan, "refiner") == own["weights"]["unet"]["bytes"].get<uint64_t>());
    CHECK(low_plan["peak"].get<uint64_t>() < plan["peak"].get<uint64_t>());
    // The refiner's run is set up at the start, and keeps its latents while the base model works; not the other way round.
    const auto kept = [](const Json & each, const char * stage) { return each["stages"][stage]["pictures"].get<uint64_t>(); };
    CHECK(kept(alone, "unet") > 0 && kept(plan, "unet") == 2 * kept(alone, "unet"));
    CHECK(kept(plan, "refiner") == kept(own, "unet"));
    // A bound that the plan names is enough, and one that is less is refused before anything is drawn.
    low.max_bytes = low_plan["peak"].get<uint64_t>();
    const auto picture = [&](const Loaded & pipe) { return pipe->generate(drawn, {}).tensor.data; };
    CHECK(difference(picture(Loaded("sdxl-base", low)), picture(both)) < 1e-5);
    // Below, weights are streamed, down to the floor.
    low.max_bytes = low_plan["floor"].get<uint64_t>();
    CHECK(low.max_bytes < low_plan["peak"].get<uint64_t>());
    CHECK(difference(picture(Loaded("sdxl-base", low)), picture(both)) < 1e-5);
    low.max_bytes -= 1;
    CHECK_THROWS(picture(Loaded("sdxl-base", low)), ErrorCode::out_of_memory);
}

TEST(refiner_and_previews_in_memory_plans) {
    const Case made;
    LoadRequest low = made.load;
    low.memory = "low";
    const Loaded both("sdxl-base", low), base("sdxl-base");
    const auto beside_decoder = [](const Loaded & pipe) {
        EstimateRequest request;
        const auto held = [&] { return pipe->estimate(request)["stages"]["decode"]["pictures"].get<uint64_t>(); };
        const uint64_t without = held();
        request.preview_method = "vae";
        return held() - without;
    };
    // Both models' runs are set up at the start, and the decoder that shows previews works beside the two.
    CHECK(beside_decoder(base) > 0);
    CHECK(beside_decoder(both) == 2 * beside_decoder(base));
}

TEST(refiner_reads_its_own_vectors_of_an_embedding) {
    const Case made;
    const Loaded both("sdxl-base", made.load), base("sdxl-base"), refiner("sdxl-refiner");
    const Latents start = base.latents("x_T", 0);
    const auto vectors = [](float of_first, float of_last) {
        return TokenChunk::Vectors{3, 1, {std::vector<float>(32, of_first), std::vector<float>(40, of_last)}};
    };
    const auto picture_with = [&](const TokenChunk::Vectors & run) {
        GenerateRequest request = Case::request(base, start, 0);
        request.inputs.prompt->chunks[0].vectors = {run};
        return both->generate(request, {}).tensor.data;
    };
    const std::vector<float> plain = picture_with(vectors(0.1f, 0.2f));
    CHECK(plain == picture_with(vectors(0.5f, 0.2f)));  // those of CLIP-L are the base model's
    CHECK(plain != picture_with(vectors(0.1f, 0.5f)));
    GenerateRequest alone = Case::request(base, start, 0);
    alone.inputs.prompt->chunks[0].vectors = {{3, 1, {std::vector<float>(40, 0.2f)}}};
    const auto by_hand = loop_of(*refiner, alone, start);
    while (!by_hand->done()) by_hand->step({});
    CHECK(difference(base->decode(by_hand->latents(), true, {}).data, plain) < 1e-6);
}

TEST(refiner_is_left_alone_by_adapters) {
    const Case made;
    const golden::Case adapter = golden::load("addon-lora-sdxl");
    const golden::TempFolder folder;
    const Loaded both("sdxl-base", made.load);
    const std::string path = golden::write_layout(adapter, "kohya", folder.path());
    const Latents start = both.latents("x_T", 0);
    const auto picture_with = [&](double switch_at, bool adapted) {
        GenerateRequest request = Case::request(both, start, switch_at);
        if (adapted) request.adapters = formats::AdapterUses{{path, 1.0, 1.0, ""}};
        return both->generate(request, {}).tensor.data;
    };
    CHECK(picture_with(0, true) == picture_with(0, false));
    CHECK(picture_with(0.8, true) != picture_with(0.8, false));
}

TEST(refiner_sizes_and_scores) {
    const Case made;
    const Loaded both("sdxl-base", made.load), base("sdxl-base");
    const Latents start = base.latents("x_T", 0);
    const auto picture_with = [&](const std::function<void(SizeInputs &)> & change) {
        GenerateRequest request = Case::request(base, start, 0.4);
        change(request.inputs.sizes.emplace());
        return both->generate(request, {}).tensor.data;
    };
    const std::vector<float> plain = picture_with([](SizeInputs &) {});
    CHECK(plain == picture_with([](SizeInputs & sizes) { sizes.score = 6, sizes.negative_score = 2.5; }));
    CHECK(plain != picture_with([](SizeInputs & sizes) { sizes.score = 3; }));
    CHECK(plain != picture_with([](SizeInputs & sizes) { sizes.target = std::array<double, 2>{512, 512}; }));
    // Where no original size is given, that of both models is the target.
    const auto of_target = [](SizeInputs & sizes) { sizes.target = std::array<double, 2>{512, 512}; };
    CHECK(picture_with(of_target) == picture_with([&](SizeInputs & sizes) { of_target(sizes), sizes.original = sizes.target; }));
}

TEST(refiner_that_does_not_fit_is_refused) {
    const golden::Case plain = golden::load("sd1");
    const golden::TempFolder folder;
    LoadRequest load = exact_request();
    load.refiner = golden::write_layout(plain, "compvis", folder.path());
    load.refiner_config = plain.config();
    CHECK_THROWS(Loaded("sdxl-base", load), ErrorCode::unsupported_model);
    // Latents of one scale factor that differ in the statistics of their channels.
    Case other;
    other.load.spec = Json{{"latentsMean", {0.1, 0, 0, 0}}, {"latentsStd", {1, 1, 1, 1}}};
    try {
        const Loaded model("sdxl-base", other.load);
        CHECK(false);
    } catch (const Error & error) {
        CHECK(error.code() == ErrorCode::unsupported_model &&
              std::string(error.what()).find("latents that differ") != std::string::npos);
    }
}

TEST(refiner_handover_at_a_share_of_training_time) {
    const Json golden = fixture::json("procedures/refiner_handover.json");
    int rows = 0;
    for (const Json & row : golden["rows"]) {
        const std::string schedule = row["schedule"];
        samplers::SolverOptions options;
        options.dialect = "diffusers", options.schedule = "leading";
        if (schedule == "euler_leading" || schedule == "euler_trailing") {
            options.sampler = "euler", options.schedule = schedule.substr(6);
        } else if (schedule == "ddim" || schedule == "heun") {
            options.sampler = schedule;
        } else {
            continue;  // the same rule over other lists
        }
        options.steps = row["steps"];
        const auto solver = samplers::make_solver(options);
        const double handover = handover_timestep(row["split"], 1000);
        CHECK(handover == row["cutoff"].get<double>());
        std::vector<double> base, refiner;
        for (const samplers::Evaluation & at : solver->evaluations()) {
            const bool begins = &at == &solver->evaluations().front() || (&at)[-1].ends_step;
            if (begins) (at.timestep < handover ? refiner : base).push_back(at.timestep);
        }
        // diffusers' lists of second-order solvers hold inner times as well, and its refiner repeats the last of the base's.
        const auto steps_of = [&](const char * name) {
            std::vector<double> times = row[name];
            times.erase(std::unique(times.begin(), times.end()), times.end());
            return times;
        };
        std::vector<double> expected = steps_of("refiner");
        if (schedule == "heun" && !expected.empty() && expected.front() >= handover) expected.erase(expected.begin());
        CHECK(base == steps_of("base"));
        CHECK(refiner == expected);
        ++rows;
    }
    CHECK(rows == 24);
}
