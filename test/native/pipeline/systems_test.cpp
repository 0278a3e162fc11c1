#include "pipeline/loaded.h"

// Every system end to end against the reference numbers: conditioning, one evaluation, the DDIM trace step by step through
// start_sampling(), and the picture through generate(). Exact mode, each case's own tolerance.

using namespace loaded;

namespace {

struct System {
    const char * name;
    const char * output = "eps";   // expected output of one evaluation
    const char * trace = "ddim4";  // expected latents after each step
    double guidance = 1.0;
};

SamplingRequest sampling_of(const System & system, int64_t steps) {
    SamplingRequest sampling;
    sampling.sampler = "ddim";
    sampling.steps = static_cast<int>(steps);
    sampling.eta = 0;
    sampling.guidance_scale = system.guidance;
    return sampling;
}

/// Row `row` of a trace [steps, n, c, h, w] after step `step`.
std::vector<float> trace_row(const golden::Values & trace, int64_t step, int64_t row) {
    const size_t size = trace.data.size() / static_cast<size_t>(trace.shape[0] * trace.shape[1]);
    const auto begin = trace.data.begin() + static_cast<std::ptrdiff_t>(size) * (step * trace.shape[1] + row);
    return {begin, begin + static_cast<std::ptrdiff_t>(size)};
}

/// One picture of a case. The picture that generate() gives is returned.
ImageTensor check_row(const Loaded & model, const System & system, int64_t row, const ConditionRequest & condition,
                      const std::optional<PromptTokens> & negative, const Conditioning & conditioning,
                      const Conditioning * unconditional) {
    const std::string label = std::string(system.name) + " row " + std::to_string(row) + " ";
    const golden::Values output = model.expected(system.output), trace = model.expected(system.trace);
    const double t = model.input("t").data[static_cast<size_t>(row)];
    const Latents predicted = model->predict(model.latents("x", row), {t}, &conditioning, nullptr, 1.0, nullptr, {});
    within(label + system.output, difference(predicted.data, Loaded::row_of(output, row)), output.atol);

    const Latents start = model.latents("x_T", row);
    const SamplingRequest sampling = sampling_of(system, trace.shape[0]);
    const auto run = model->start_sampling(sampling, start, nullptr, &conditioning, unconditional);
    double worst = 0;
    for (int64_t step = 0; step < trace.shape[0]; ++step) {
        run->step({});
        worst = std::fmax(worst, difference(run->latents().data, trace_row(trace, step, row)));
    }
    CHECK(run->done());
    within(label + system.trace, worst, trace.atol);

    GenerateRequest request;
    request.sampling = sampling;
    request.condition = condition;
    request.negative = negative;
    request.latents = start;
    request.output_float = true;
    const int factor = model->spec().downsampling();
    if (!condition.image && !condition.labels) {
        request.width = static_cast<int>(start.shape[3]) * factor;
        request.height = static_cast<int>(start.shape[2]) * factor;
    }
    return model->generate(request, {}).tensor;
}

void check_image(const Loaded & model, const System & system, int64_t row, const ImageTensor & picture) {
    const golden::Values image = model.expected("image_out");
    within(std::string(system.name) + " row " + std::to_string(row) + " image_out",
           difference(strided(picture, image.stride), Loaded::row_of(image, row)), image.atol);
}

/// A case whose conditioning is `condition` for every row, made by encode_condition().
void check_system(const Loaded & model, const System & system, const std::function<ConditionRequest(int64_t)> & condition,
                  const std::optional<PromptTokens> & negative = std::nullopt) {
    const int64_t rows = model.input("x_T").shape[0];
    for (int64_t row = 0; row < rows; ++row) {
        const ConditionRequest request = condition(row);
        const Conditioning conditioning = model->encode_condition(request, {});
        std::optional<Conditioning> unconditional;
        if (negative) unconditional = model->encode_prompt(*negative, {});
        const ImageTensor picture =
            check_row(model, system, row, request, negative, conditioning, unconditional ? &*unconditional : nullptr);
        check_image(model, system, row, picture);
    }
}

ConditionRequest prompt_request(const PromptTokens & tokens) {
    ConditionRequest request;
    request.prompt = tokens;
    return request;
}

}  // namespace

TEST(unconditional_models) {
    for (const char * name : {"ldm-uncond", "ldm-churches"}) {
        const Loaded model(name);
        CHECK(model->spec().kind == "unconditional");
        check_system(model, {name}, [](int64_t) { return ConditionRequest{}; });
    }
}

TEST(bert_text_models) {
    const Loaded large("ldm-txt2img");
    check_system(
        large, {"ldm-txt2img", "eps", "ddim5", 5.0}, [&](int64_t) { return prompt_request(large.tokens("ids", 0)); },
        large.tokens("ids", 1));
    const Loaded small("ldm-text2img256");
    check_system(small, {"ldm-text2img256"}, [&](int64_t) { return prompt_request(small.tokens("ids", 0)); });
}

TEST(open_clip_text_model) {
    const Loaded model("sd2-v");
    check_system(
        model, {"sd2-v", "model_out", "ddim5", 9.0}, [&](int64_t) { return prompt_request(model.tokens("ids", 0)); },
        model.tokens("ids", 1));
}

TEST(layout_model) {
    const Loaded model("ldm-layout2img");
    const golden::Values layout = model.expected("layout_tokens"), context = model.expected("context");
    PromptTokens tokens;
    tokens.chunks.push_back({{layout.data.begin(), layout.data.end()}, {}});
    const Conditioning conditioning = model->encode_condition(prompt_request(tokens), {});
    within("ldm-layout2img context", difference(conditioning.data, context.data), context.atol);
    check_system(model, {"ldm-layout2img"}, [&](int64_t) { return prompt_request(tokens); });
}

TEST(super_resolution_model) {
    const Loaded model("ldm-sr");
    check_system(model, {"ldm-sr"}, [&](int64_t row) {
        ConditionRequest request;
        request.image = model.image("lr_image", row);
        return request;
    });
}

TEST(super_resolution_in_tiles_matches_the_reference) {
    LoadRequest load = exact_request();
    load.tile_size = 32;
    const Loaded model("ldm-sr-tiled", load);
    ConditionRequest request;
    request.image = model.image("lr_image", 0);
    const Conditioning conditioning = model->encode_condition(request, {});
    const golden::Values eps = model.expected("eps"), decoded = model.expected("decoded");
    const Latents out =
        model->predict(model.latents("x", 0), {model.input("t").data[0]}, &conditioning, nullptr, 1.0, nullptr, {});
    within("ldm-sr-tiled eps", difference(out.data, eps.data), eps.atol);
    const ImageTensor picture = model->decode(model.latents("z", 0), true, {});
    within("ldm-sr-tiled decoded", difference(strided(picture, decoded.stride), decoded.data), decoded.atol);
}

TEST(x4_upscaler) {
    const Loaded model("sd-x4-upscaler");
    const golden::Values context = model.expected("text_context"), concat = model.expected("concat"),
                         low = model.input("lr_image");
    // The reference's noise is given: the conditioning is put together here as encode_condition() does with the seed's.
    Conditioning conditioning = model->encode_prompt(model.tokens("ids", 0), {});
    const Conditioning unconditional = model->encode_prompt(model.tokens("ids", 1), {});
    within("sd-x4-upscaler context", difference(conditioning.data, Loaded::row_of(context, 0)), context.atol);
    conditioning.concat = Latents{{1, 3, low.shape[2], low.shape[3]}, concat.data};
    conditioning.class_label = static_cast<int32_t>(model.input("noise_level").data[0]);

    ConditionRequest request = prompt_request(model.tokens("ids", 0));
    request.image = model.image("lr_image", 0);
    request.noise_level = conditioning.class_label;
    const ImageTensor picture = check_row(model, {"sd-x4-upscaler", "model_out", "ddim4", 9.0}, 0, request,
                                          model.tokens("ids", 1), conditioning, &unconditional);
    CHECK(picture.shape[2] == 4 * low.shape[2] && picture.shape[3] == 4 * low.shape[3]);
    const golden::Values trace = model.expected("ddim4");
    const Latents last{{1, 4, low.shape[2], low.shape[3]}, trace_row(trace, trace.shape[0] - 1, 0)};
    check_image(model, {"sd-x4-upscaler"}, 0, model->decode(last, true, {}));
}

TEST(retrieval_augmented_model) {
    const Loaded model("ldm-rdm");
    const golden::Values embeddings = model.input("embeddings"), context = model.expected("context");
    ConditionRequest request;
    request.embeddings = EmbeddingRows{embeddings.shape[1], embeddings.shape[2], embeddings.data};
    const Conditioning conditioning = model->encode_condition(request, {});
    within("ldm-rdm context", difference(conditioning.data, context.data), context.atol);
    ConditionRequest nothing;
    nothing.embeddings = EmbeddingRows{6, 64, std::vector<float>(6 * 64)};
    const Conditioning zeros = model->encode_condition(nothing, {});
    CHECK(zeros.data == std::vector<float>(6 * 64));
    const System system{"ldm-rdm", "eps", "ddim4", 5.0};
    check_image(model, system, 0, check_row(model, system, 0, request, {}, conditioning, &zeros));
}
