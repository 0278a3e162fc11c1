#include <cstring>

#include "fixture.h"
#include "pipeline/system_checks.h"

// SDXL: two text encoders or one, the vector of pooled text and sizes, zeros in place of an empty negative prompt.

using namespace loaded;

namespace {

SizeInputs golden_sizes(const Loaded & model) {
    const auto two = [&](const char * name) {
        const golden::Values values = model.input(name);
        return std::array<double, 2>{values.data[0], values.data[1]};
    };
    SizeInputs sizes;
    sizes.original = two("original_size"), sizes.crop = two("crop_top_left");
    return sizes;
}

/// Rows of both encoders side by side.
std::vector<float> side_by_side(const std::vector<float> & first, size_t width, const std::vector<float> & second, size_t other) {
    std::vector<float> out;
    for (size_t token = 0; token * width < first.size(); ++token) {
        const auto a = first.begin() + static_cast<std::ptrdiff_t>(token * width);
        const auto b = second.begin() + static_cast<std::ptrdiff_t>(token * other);
        out.insert(out.end(), a, a + static_cast<std::ptrdiff_t>(width));
        out.insert(out.end(), b, b + static_cast<std::ptrdiff_t>(other));
    }
    return out;
}

std::vector<float> head_of(const std::vector<float> & values, size_t count) {
    return {values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count)};
}
std::vector<float> tail_of(const std::vector<float> & values, size_t count) {
    return {values.end() - static_cast<std::ptrdiff_t>(count), values.end()};
}

/// Both Euler traces, and the picture of the longer one, of every row.
void check_pictures(const Loaded & model, const Inputs & inputs, const std::optional<PromptTokens> & negative) {
    const std::string name = model.golden().name;
    Inputs other = inputs;
    other.unconditional = true;
    if (negative) other.prompt = negative;
    const Conditioning conditioning = model->encode_inputs(inputs, {}), unconditional = model->encode_inputs(other, {});
    // sgm starts from sqrt(1 + sigma^2), k-diffusion's Euler from sigma.
    const double sigma = 14.614642, start_scale = std::sqrt(1 + sigma * sigma) / sigma;
    for (int64_t row = 0; row < model.input("x_T").shape[0]; ++row) {
        const auto check_trace = [&](const char * trace_name, const char * schedule, double scale) {
            const golden::Values trace = model.expected(trace_name);
            SamplingRequest sampling;
            sampling.sampler = "euler", sampling.schedule = schedule;
            sampling.steps = static_cast<int>(trace.shape[0]);
            sampling.guidance_scale = 5;
            Latents start = model.latents("x_T", row);
            for (float & value : start.data) value *= static_cast<float>(scale);
            const auto run = model->start_sampling(sampling, start, nullptr, &conditioning, &unconditional);
            double worst = 0;
            for (int64_t step = 0; step < trace.shape[0]; ++step) {
                run->step({});
                worst = std::fmax(worst, difference(run->latents().data, trace_row(trace, step, row)));
            }
            CHECK(run->done());
            within(name + " row " + std::to_string(row) + " " + trace_name, worst, trace.atol);
            GenerateRequest request;
            request.sampling = sampling;
            request.inputs = inputs, request.negative = negative;
            request.width = static_cast<int>(start.shape[3]) * 8, request.height = static_cast<int>(start.shape[2]) * 8;
            request.latents = start;
            request.output_float = true;
            return model->generate(request, {}).tensor;
        };
        check_trace("euler4_leading", "leading", 1);
        check_image(model, {name.c_str()}, row, check_trace("euler5", "legacy_ddpm", start_scale));
    }
}

void check_evaluations(const Loaded & model, const Conditioning & conditioning) {
    const golden::Values eps = model.expected("eps");
    for (int64_t row = 0; row < eps.shape[0]; ++row) {
        const double t = model.input("t").data[static_cast<size_t>(row)];
        const Latents predicted = model->predict(model.latents("x", row), {t}, &conditioning, nullptr, 1.0, nullptr, {});
        within(std::string(model.golden().name) + " eps", difference(predicted.data, Loaded::row_of(eps, row)), eps.atol);
    }
}

std::vector<float> array_of(const std::string & bytes, const std::string & name) {
    uint64_t header = 0;
    std::memcpy(&header, bytes.data(), 8);
    const Json entry = parse_json(bytes.substr(8, header), "header").at(name);
    const size_t begin = entry.at("data_offsets")[0], end = entry.at("data_offsets")[1];
    std::vector<float> out((end - begin) / sizeof(float));
    std::memcpy(out.data(), bytes.data() + 8 + header + begin, end - begin);
    return out;
}

}  // namespace

TEST(sdxl_base_model) {
    const Loaded model("sdxl-base");
    CHECK(model->spec().kind == "text" && model->spec().family == "sdxl");
    const Json condition = model->info()["condition"];
    CHECK(condition["zeroNegative"] == true && condition["sizes"] == "base" && condition["dim"] == 72);
    Inputs inputs = prompt_request(model.tokens("ids_l", 0));
    inputs.sizes = golden_sizes(model);
    const golden::Values target = model.input("target_size");
    inputs.sizes->target = std::array<double, 2>{target.data[0], target.data[1]};

    const golden::Values first = model.expected("context_l"), second = model.expected("context_g"),
                         pooled = model.expected("pooled"), vector = model.expected("vector");
    for (int64_t row = 0; row < 2; ++row) {
        inputs.prompt = model.tokens("ids_l", row);
        const Conditioning conditioning = model->encode_inputs(inputs, {});
        CHECK(conditioning.tokens == 77 && conditioning.dim == 72 && conditioning.vector.size() == 1576);
        within("sdxl-base context",
               difference(conditioning.data, side_by_side(Loaded::row_of(first, row), 32, Loaded::row_of(second, row), 40)),
               second.atol);
        within("sdxl-base pooled", difference(head_of(conditioning.vector, 40), Loaded::row_of(pooled, row)), pooled.atol);
        if (row == 0) within("sdxl-base vector", difference(conditioning.vector, vector.data), vector.atol);
    }
    inputs.prompt = model.tokens("ids_l", 0);
    Inputs none = inputs;
    none.unconditional = true;
    const Conditioning conditioning = model->encode_inputs(inputs, {}), zeros = model->encode_inputs(none, {});
    CHECK(zeros.tokens == 77 && zeros.data == std::vector<float>(zeros.data.size(), 0.0f));
    CHECK(head_of(zeros.vector, 40) == std::vector<float>(40, 0.0f));
    CHECK(tail_of(zeros.vector, 1536) == tail_of(conditioning.vector, 1536));
    check_evaluations(model, conditioning);
    check_pictures(model, inputs, std::nullopt);
}

TEST(sdxl_refiner_model) {
    const Loaded model("sdxl-refiner");
    const Json condition = model->info()["condition"];
    CHECK(!condition.contains("zeroNegative") && condition["sizes"] == "refiner" && condition["dim"] == 40);
    Inputs inputs = prompt_request(model.tokens("ids_g", 0));
    inputs.sizes = golden_sizes(model);
    const golden::Values context = model.expected("context_g"), pooled = model.expected("pooled"),
                         vector = model.expected("vector");
    const Conditioning conditioning = model->encode_inputs(inputs, {});
    within("sdxl-refiner context", difference(conditioning.data, Loaded::row_of(context, 0)), context.atol);
    within("sdxl-refiner vector", difference(conditioning.vector, vector.data), vector.atol);
    Inputs negative = inputs;
    negative.prompt = model.tokens("ids_g", 1), negative.unconditional = true;
    const Conditioning other = model->encode_inputs(negative, {});
    within("sdxl-refiner negative context", difference(other.data, Loaded::row_of(context, 1)), context.atol);
    within("sdxl-refiner negative pooled", difference(head_of(other.vector, 40), Loaded::row_of(pooled, 1)), pooled.atol);
    CHECK(tail_of(other.vector, 256) != tail_of(conditioning.vector, 256));  // the score
    check_evaluations(model, conditioning);
    check_pictures(model, inputs, negative.prompt);
}

TEST(sdxl_sizes_in_the_vector) {
    const Json golden = fixture::json("procedures/sdxl_vectors.json");
    const std::string arrays = fixture::text("procedures/sdxl_vectors.safetensors");
    const double tolerance = golden["tolerance"]["abs"];
    const Loaded base("sdxl-base"), refiner("sdxl-refiner");
    const auto vector_of = [](const Loaded & model, const SizeInputs & sizes, bool unconditional, size_t numbers) {
        Inputs inputs = prompt_request(PromptTokens{{{{49406, 320, 49407}, {}}}});
        inputs.sizes = sizes, inputs.unconditional = unconditional;
        return tail_of(model->encode_inputs(inputs, {}).vector, numbers);
    };
    for (const Json & each : golden["cases"]) {
        const std::string id = each["id"];
        const auto two = [&](const char * name) { return std::array<double, 2>{each[name][0], each[name][1]}; };
        SizeInputs sizes;
        sizes.original = two("original"), sizes.crop = two("crop");
        within(id + ".refiner_positive",
               difference(vector_of(refiner, sizes, false, 1280), array_of(arrays, id + ".refiner_positive")), tolerance);
        within(id + ".refiner_negative",
               difference(vector_of(refiner, sizes, true, 1280), array_of(arrays, id + ".refiner_negative")), tolerance);
        sizes.target = two("target");
        within(id + ".base", difference(vector_of(base, sizes, false, 1536), array_of(arrays, id + ".base")), tolerance);
        CHECK(vector_of(base, sizes, true, 1536) == vector_of(base, sizes, false, 1536));
    }
    // Without sizes: those of the picture, uncropped.
    SizeInputs own;
    const double side = base->spec().image_size;
    own.original = own.target = std::array<double, 2>{side, side};
    const Conditioning plain = base->encode_prompt(PromptTokens{{{{49406, 320, 49407}, {}}}}, {});
    CHECK(tail_of(plain.vector, 1536) == vector_of(base, own, false, 1536));
}

TEST(sdxl_windows_and_emphasis) {
    const Loaded model("sdxl-base");
    const PromptTokens one = model.tokens("ids_l", 0);
    PromptTokens two = one;
    two.chunks.push_back(model.tokens("ids_l", 1).chunks[0]);
    const Conditioning first = model->encode_prompt(one, {}), both = model->encode_prompt(two, {});
    CHECK(both.tokens == 154 && head_of(both.data, first.data.size()) == first.data);
    CHECK(both.vector == first.vector);  // the first window speaks for the prompt
    PromptTokens stressed = one;
    stressed.chunks[0].weights.assign(77, 1.0f);
    stressed.chunks[0].weights[3] = 1.5f;
    stressed.emphasis = "no_norm";
    const Conditioning loud = model->encode_prompt(stressed, {});
    CHECK(loud.vector == first.vector);
    for (size_t i = 0; i < first.data.size(); ++i) {
        const float wanted = i / 72 == 3 ? first.data[i] * 1.5f : first.data[i];
        if (loud.data[i] == wanted) continue;
        check::fail(__FILE__, __LINE__, "another weight than 1.5 for token 3");
        break;
    }
}

TEST(sdxl_inputs_that_are_refused) {
    const Loaded base("sdxl-base"), refiner("sdxl-refiner"), plain("sd1");
    const auto with = [](const Loaded & model, const SizeInputs & sizes) {
        Inputs inputs = prompt_request(PromptTokens{{{{49406, 320, 49407}, {}}}});
        inputs.sizes = sizes;
        return model->encode_inputs(inputs, {});
    };
    SizeInputs scored, aimed, negative;
    scored.score = 7, aimed.target = std::array<double, 2>{512, 512}, negative.original = std::array<double, 2>{-1, 4};
    CHECK_THROWS(with(base, scored), ErrorCode::invalid_argument);
    CHECK_THROWS(with(refiner, aimed), ErrorCode::invalid_argument);
    CHECK_THROWS(with(base, negative), ErrorCode::invalid_argument);
    CHECK_THROWS(with(plain, {}), ErrorCode::invalid_argument);
    // A network that reads a vector is not run without one, or with another's.
    Conditioning bare = base->encode_prompt(PromptTokens{{{{49406, 320, 49407}, {}}}}, {});
    bare.vector.pop_back();
    const Latents x{{1, 4, 8, 8}, std::vector<float>(256)};
    CHECK_THROWS(base->predict(x, {10.0}, &bare, nullptr, 1, nullptr, {}), ErrorCode::invalid_argument);
    bare.vector.clear();
    CHECK_THROWS(base->predict(x, {10.0}, &bare, nullptr, 1, nullptr, {}), ErrorCode::invalid_argument);
}
