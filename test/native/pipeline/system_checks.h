#pragma once

#include <functional>
#include <optional>

#include "pipeline/loaded.h"

// One system held against its reference numbers: one evaluation, the DDIM trace step by step through start_sampling(), the
// picture through generate(). Exact mode, each case's own tolerance.
namespace loaded {

struct System {
    const char * name;
    const char * output = "eps";   // expected output of one evaluation
    const char * trace = "ddim4";  // expected latents after each step
    double guidance = 1.0;
};

inline SamplingRequest sampling_of(const System & system, int64_t steps) {
    SamplingRequest sampling;
    sampling.sampler = "ddim";
    sampling.steps = static_cast<int>(steps);
    sampling.eta = 0;
    sampling.guidance_scale = system.guidance;
    return sampling;
}

/// Row `row` of a trace [steps, n, c, h, w] after step `step`.
inline std::vector<float> trace_row(const golden::Values & trace, int64_t step, int64_t row) {
    const size_t size = trace.data.size() / static_cast<size_t>(trace.shape[0] * trace.shape[1]);
    const auto begin = trace.data.begin() + static_cast<std::ptrdiff_t>(size) * (step * trace.shape[1] + row);
    return {begin, begin + static_cast<std::ptrdiff_t>(size)};
}

/// One picture of a case. The picture that generate() gives is returned.
inline ImageTensor check_row(const Loaded & model, const System & system, int64_t row, const Inputs & condition,
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
    request.inputs = condition;
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

inline void check_image(const Loaded & model, const System & system, int64_t row, const ImageTensor & picture) {
    const golden::Values image = model.expected("image_out");
    within(std::string(system.name) + " row " + std::to_string(row) + " image_out",
           difference(strided(picture, image.stride), Loaded::row_of(image, row)), image.atol);
}

/// A case whose conditioning is `condition` for every row, made by encode_inputs().
inline void check_system(const Loaded & model, const System & system, const std::function<Inputs(int64_t)> & condition,
                         const std::optional<PromptTokens> & negative = std::nullopt) {
    const int64_t rows = model.input("x_T").shape[0];
    for (int64_t row = 0; row < rows; ++row) {
        const Inputs request = condition(row);
        const Conditioning conditioning = model->encode_inputs(request, {});
        std::optional<Conditioning> unconditional;
        if (negative) unconditional = model->encode_prompt(*negative, {});
        const ImageTensor picture =
            check_row(model, system, row, request, negative, conditioning, unconditional ? &*unconditional : nullptr);
        check_image(model, system, row, picture);
    }
}

inline Inputs prompt_request(const PromptTokens & tokens) {
    Inputs request;
    request.prompt = tokens;
    return request;
}

inline PromptTokens class_tokens(int32_t id) {
    PromptTokens tokens;
    tokens.chunks.push_back({{id}, {}});
    return tokens;
}

}  // namespace loaded
