#include <functional>

#include "pipeline/system_checks.h"

// What a model does not take, lacks, or gets in a wrong size is invalid_argument, with words that help.

using namespace loaded;

namespace {

/// The message of the invalid_argument that `call` throws, "" where it throws nothing of the kind.
std::string message_of(const std::function<void()> & call) {
    try {
        call();
    } catch (const Error & error) {
        return error.code() == ErrorCode::invalid_argument ? error.what() : std::string();
    }
    return {};
}

void refused(const std::string & words, const std::function<void()> & call) {
    const std::string message = message_of(call);
    if (message.find(words) != std::string::npos) return;
    check::fail("wrong_inputs", 0, "expected a refusal with \"" + words + "\", got \"" + message + "\"");
}

ImageTensor picture(int64_t n, int64_t c, int64_t h, int64_t w) {
    return {{n, c, h, w}, std::vector<float>(static_cast<size_t>(n * c * h * w))};
}

GenerateRequest small() {
    GenerateRequest request;
    request.sampling.sampler = "ddim";
    request.sampling.steps = 2;
    request.sampling.guidance_scale = 1;
    return request;
}

PromptTokens window(std::vector<int32_t> ids) {
    PromptTokens tokens;
    tokens.chunks.push_back({std::move(ids), {}});
    return tokens;
}

}  // namespace

TEST(an_unconditional_model_takes_nothing) {
    const Loaded model("ldm-uncond");
    const auto with = [&](const std::function<void(GenerateRequest &)> & change) {
        GenerateRequest request = small();
        change(request);
        model->generate(request, {});
    };
    refused("this model is unconditional", [&] { with([](auto & r) { r.inputs.prompt = window({1}); }); });
    refused("this model is unconditional", [&] {
        with([](auto & r) { r.inputs.embeddings = EmbeddingRows{1, 4, std::vector<float>(4)}; });
    });
    refused("labels is given", [&] { with([](auto & r) { r.inputs.labels = LabelMap{1, 1, {0}}; }); });
    refused("mask: there is no image", [&] { with([](auto & r) { r.inputs.mask = picture(1, 1, 8, 8); }); });
    refused("noise_level is given", [&] { with([](auto & r) { r.inputs.noise_level = 3; }); });
    refused("guidance_scale must be 1", [&] { with([](auto & r) { r.sampling.guidance_scale = 2; }); });
    refused("multiples of 4", [&] { with([](auto & r) { r.width = 30; }); });
    refused("the size must be width x height", [&] { with([](auto & r) { r.inputs.image = picture(1, 3, 16, 16); }); });
    refused("this model is unconditional", [&] { model->encode_prompt(window({1}), {}); });
    refused("image is given", [&] {
        Inputs request;
        request.image = picture(1, 3, 8, 8);
        model->encode_inputs(request, {});
    });
}

TEST(classes_and_layouts_are_one_window_of_known_numbers) {
    const Loaded classes("ldm-cin256-v2");
    const auto encode = [](const Loaded & model, PromptTokens tokens) {
        model->encode_inputs(prompt_request(std::move(tokens)), {});
    };
    refused("prompt is missing; this model takes a class", [&] { classes->generate(small(), {}); });
    refused("class 1001 is outside 0..1000", [&] { encode(classes, class_tokens(1001)); });
    refused("class -1 is outside", [&] { encode(classes, class_tokens(-1)); });
    refused("a single window of tokens", [&] {
        PromptTokens two = class_tokens(1);
        two.chunks.push_back({{2}, {}});
        encode(classes, two);
    });
    refused("a window must have 1 tokens", [&] { encode(classes, window({1, 2})); });
    refused("weights are for prompts", [&] {
        PromptTokens weighted = class_tokens(1);
        weighted.chunks[0].weights = {1.5f};
        encode(classes, weighted);
    });
    refused("clip_skip", [&] {
        PromptTokens skipped = class_tokens(1);
        skipped.clip_skip = 2;
        encode(classes, skipped);
    });
    const Loaded layout("ldm-layout2img");
    refused("a layout of boxes", [&] { layout->generate(small(), {}); });
    refused("a window must have 92 tokens", [&] { encode(layout, window(std::vector<int32_t>(77, 1))); });
    refused("token 8192 is outside 0..8191", [&] { encode(layout, window(std::vector<int32_t>(92, 8192))); });
    refused("guidance_scale", [&] {
        GenerateRequest request = small();
        request.inputs.prompt = window(std::vector<int32_t>(92, 8191));
        request.sampling.guidance_scale = 2;
        layout->generate(request, {});
    });
}

TEST(label_maps_have_the_size_of_the_picture) {
    const Loaded model("ldm-semantic");
    const auto with = [&](int64_t h, int64_t w, int32_t label, int width = 0) {
        GenerateRequest request = small();
        request.inputs.labels = LabelMap{h, w, std::vector<int32_t>(static_cast<size_t>(h * w), label)};
        request.width = width;
        model->generate(request, {});
    };
    refused("labels is missing; this model takes a label map", [&] { model->generate(small(), {}); });
    refused("182 is outside 0..181", [&] { with(32, 32, 182); });
    refused("-1 is outside", [&] { with(32, 32, -1); });
    refused("multiples of", [&] { with(30, 32, 1); });
    refused("the label map determines the image size, 32x32", [&] { with(32, 32, 1, 64); });
    refused("the number of labels does not match", [&] {
        GenerateRequest request = small();
        request.inputs.labels = LabelMap{32, 32, std::vector<int32_t>(7)};
        model->generate(request, {});
    });
}

TEST(pictures_to_enlarge_and_inpaint_are_checked) {
    const Loaded enlarge("ldm-sr");
    GenerateRequest request = small();
    refused("image is missing; this model takes an image to enlarge", [&] { enlarge->generate(request, {}); });
    request.inputs.image = picture(1, 1, 8, 8);
    refused("it needs 3 channels", [&] { enlarge->generate(request, {}); });
    request.inputs.image = picture(2, 3, 8, 8);
    refused("2 given for 1 images", [&] { enlarge->generate(request, {}); });
    request.inputs.image = picture(1, 3, 8, 8);
    request.width = 64;
    refused("the image determines the image size, 32x32", [&] { enlarge->generate(request, {}); });
    request.width = 0, request.sampling.strength = 0.5;
    refused("strength is for image to image", [&] { enlarge->generate(request, {}); });

    const Loaded inpaint("ldm-inpaint-big");
    GenerateRequest hole = small();
    hole.inputs.image = picture(1, 3, 32, 32);
    refused("mask is missing; this model takes an image and a mask", [&] { inpaint->generate(hole, {}); });
    hole.inputs.mask = picture(1, 1, 32, 16);
    refused("both must have the same size", [&] { inpaint->generate(hole, {}); });
    hole.inputs.mask = picture(1, 3, 32, 32);
    refused("it needs 1 channels", [&] { inpaint->generate(hole, {}); });

    const Loaded upscaler("sd-x4-upscaler");
    GenerateRequest noisy = small();
    noisy.inputs.prompt = upscaler.tokens("ids", 0);
    noisy.inputs.image = picture(1, 3, 8, 8);
    noisy.inputs.noise_level = 351;
    refused("noise_level 351 is outside 0..350", [&] { upscaler->generate(noisy, {}); });
    noisy.inputs.noise_level = 3, noisy.sampling.guidance_scale = 5;
    refused("needs negative", [&] { upscaler->generate(noisy, {}); });
}

TEST(depth_maps_are_one_channel_of_finite_numbers) {
    const Loaded model("sd2-depth");
    const auto with = [&](ImageTensor depth) {
        GenerateRequest request = small();
        request.inputs.prompt = model.tokens("ids", 0);
        request.inputs.depth = std::move(depth);
        model->generate(request, {});
    };
    refused("depth is missing; this model takes a prompt and a depth map", [&] {
        GenerateRequest request = small();
        request.inputs.prompt = model.tokens("ids", 0);
        model->generate(request, {});
    });
    refused("it needs 1 channels", [&] { with(picture(1, 3, 8, 8)); });
    refused("2 given for 1 images", [&] { with(picture(2, 1, 8, 8)); });
    for (const float value : {NAN, INFINITY}) {
        ImageTensor depth = picture(1, 1, 8, 8);
        depth.data[9] = value;
        refused("not finite", [&] { with(depth); });
    }
    const Loaded other("ldm-uncond");
    GenerateRequest request = small();
    request.inputs.depth = picture(1, 1, 8, 8);
    refused("depth is given; this model is unconditional", [&] { other->generate(request, {}); });
}

TEST(embeddings_are_finite_rows_of_the_context) {
    const Loaded model("ldm-rdm");
    const auto with = [&](int64_t count, int64_t dim, float value) {
        Inputs request;
        request.embeddings = EmbeddingRows{count, dim, std::vector<float>(static_cast<size_t>(count * dim), value)};
        model->encode_inputs(request, {});
    };
    refused("embeddings are missing", [&] { model->encode_inputs({}, {}); });
    refused("1 rows of 63", [&] { with(1, 63, 1); });
    refused("4097 rows", [&] { with(4097, 64, 1); });
    refused("some values are not finite", [&] { with(2, 64, NAN); });
    refused("prompt is given; this model takes embeddings", [&] { model->encode_inputs(prompt_request(window({1})), {}); });
}

TEST(conditioning_of_another_model_does_not_fit) {
    const Loaded model("ldm-semantic");
    const Latents x{{1, 3, 8, 8}, std::vector<float>(192)};
    const auto predict = [&](const Conditioning * conditioning, const Conditioning * unconditional = nullptr, double scale = 1) {
        model->predict(x, {1}, conditioning, unconditional, scale, nullptr, {});
    };
    Conditioning tokens{1, 64, false, std::vector<float>(64), Latents{{1, 3, 8, 8}, std::vector<float>(192)}, -1};
    Conditioning smaller{0, 0, false, {}, Latents{{1, 3, 4, 8}, std::vector<float>(96)}, -1};
    Conditioning fits{0, 0, false, {}, Latents{{1, 3, 8, 8}, std::vector<float>(192)}, -1};
    refused("have 3 channels, but this network takes 6", [&] { predict(nullptr); });
    refused("concat is 8x4", [&] { predict(&smaller); });
    refused("takes no conditioning tokens", [&] { predict(&tokens); });
    refused("no tokens, so guidance is not possible", [&] { predict(&fits, &fits, 2); });
    predict(&fits);
    const Loaded upscaler("sd-x4-upscaler");
    const Latents wide{{1, 4, 8, 8}, std::vector<float>(256)};
    Conditioning unlabelled{1, 32, false, std::vector<float>(32), Latents{{1, 3, 8, 8}, std::vector<float>(192)}, -1};
    refused("class label -1", [&] { upscaler->predict(wide, {1}, &unlabelled, nullptr, 1, nullptr, {}); });
    unlabelled.class_label = 1000;
    refused("class label 1000", [&] { upscaler->predict(wide, {1}, &unlabelled, nullptr, 1, nullptr, {}); });
    SamplingRequest sampling;
    sampling.sampler = "ddim", sampling.steps = 2;
    refused("have 3 channels", [&] { model->start_sampling(sampling, x, nullptr, nullptr, nullptr); });
}
