#include "pipeline/image/framing.h"
#include "pipeline/system_checks.h"

// Every system end to end against the reference numbers, conditioning included.

using namespace loaded;

TEST(unconditional_models) {
    for (const char * name : {"ldm-uncond", "ldm-churches"}) {
        const Loaded model(name);
        CHECK(model->spec().kind == "unconditional");
        check_system(model, {name}, [](int64_t) { return Inputs{}; });
    }
}

TEST(class_conditional_models) {
    const Loaded guided("ldm-cin256-v2");
    const System system{"ldm-cin256-v2", "eps", "ddim4", 3.0};
    const golden::Values classes = guided.input("classes"), context = guided.expected("context");
    for (int64_t row = 0; row < 2; ++row) {
        const Inputs request = prompt_request(class_tokens(static_cast<int32_t>(classes.data[static_cast<size_t>(row)])));
        const Conditioning conditioning = guided->encode_inputs(request, {});
        CHECK(conditioning.tokens == 1 && conditioning.dim == 64 && !conditioning.concat && conditioning.class_label == -1);
        within("ldm-cin256-v2 context", difference(conditioning.data, Loaded::row_of(context, row)), context.atol);
        const Conditioning null_class = guided->encode_prompt(class_tokens(1000), {});
        // generate() knows the null class itself
        check_image(guided, system, row, check_row(guided, system, row, request, {}, conditioning, &null_class));
    }
    const Loaded plain("ldm-cin256");
    const golden::Values ids = plain.input("classes");
    check_system(plain, {"ldm-cin256"}, [&](int64_t row) {
        return prompt_request(class_tokens(static_cast<int32_t>(ids.data[static_cast<size_t>(row)])));
    });
}

TEST(bert_text_models) {
    const Loaded large("ldm-txt2img");
    check_system(
        large, {"ldm-txt2img", "eps", "ddim5", 5.0}, [&](int64_t) { return prompt_request(large.tokens("ids", 0)); },
        large.tokens("ids", 1));
    const Loaded small("ldm-text2img256");
    check_system(small, {"ldm-text2img256"}, [&](int64_t) { return prompt_request(small.tokens("ids", 0)); });
}

TEST(open_clip_text_models) {
    for (const char * name : {"sd2-eps", "sd2-v"}) {
        const Loaded model(name);
        check_system(
            model, {name, "model_out", "ddim5", 9.0}, [&](int64_t) { return prompt_request(model.tokens("ids", 0)); },
            model.tokens("ids", 1));
    }
}

TEST(depth_model) {
    const Loaded model("sd2-depth");
    CHECK(model->spec().kind == "depth");
    const golden::Values depth = model.input("depth"), concat = model.expected("concat");
    const auto condition = [&](int64_t row) {
        Inputs request = prompt_request(model.tokens("ids", 0));
        request.depth = ImageTensor{{1, 1, depth.shape[2], depth.shape[3]}, Loaded::row_of(depth, row)};
        request.width = 128, request.height = 64;
        return request;
    };
    const Conditioning conditioning = model->encode_inputs(condition(0), {});
    CHECK((conditioning.concat->shape == std::array<int64_t, 4>{1, 1, 8, 16}));
    within("sd2-depth concat", difference(conditioning.concat->data, concat.data), concat.atol);
    check_system(model, {"sd2-depth", "eps", "ddim4", 9.0}, condition, model.tokens("ids", 1));

    // Its range says nothing, and one depth everywhere has none: no rounding is stretched to -1..1.
    Inputs scaled = condition(0), flat = condition(0);
    for (float & value : scaled.depth->data) value = 900 * value + 2500;
    within("sd2-depth concat", difference(model->encode_inputs(scaled, {}).concat->data, concat.data), concat.atol);
    flat.depth = ImageTensor{{1, 1, 7, 5}, std::vector<float>(35, 0.3f)};
    flat.width = 72, flat.height = 56;  // ninths are not exact
    const Conditioning even = model->encode_inputs(flat, {});
    for (const float value : even.concat->data) CHECK(value == -1.0f);
    // The map of an image that is padded covers the image, and keeps its scale.
    Inputs part = condition(0);
    part.width = 120, part.height = 64;
    part.depth = ImageTensor{{1, 1, 61, 115}, {}};
    for (int i = 0; i < 61 * 115; ++i)
        part.depth->data.push_back(std::sin(static_cast<float>(i % 115) / 9) + std::cos(static_cast<float>(i / 115) / 7));
    part.depth_area = {115, 61};
    Inputs whole = part;
    whole.depth_area.reset();
    const Conditioning stretched = model->encode_inputs(whole, {});
    whole.depth = pad_edges(*part.depth, 64, 120);
    const Conditioning padded = model->encode_inputs(part, {}), reference = model->encode_inputs(whole, {});
    within("sd2-depth padded", difference(padded.concat->data, reference.concat->data), 1e-6);
    CHECK(difference(stretched.concat->data, reference.concat->data) > 0.02);
    // A map for each picture of a batch.
    Inputs two = condition(0);
    two.depth->shape[0] = 2;
    two.depth->data.resize(2 * two.depth->data.size(), 0.3f);
    const Conditioning both = model->encode_inputs(two, {});
    CHECK((both.concat->shape == std::array<int64_t, 4>{2, 1, 8, 16}));
    CHECK(both.concat->data.front() == conditioning.concat->data.front() && both.concat->data.back() == -1.0f);
}

TEST(layout_model) {
    const Loaded model("ldm-layout2img");
    const golden::Values layout = model.expected("layout_tokens"), context = model.expected("context");
    PromptTokens tokens;
    tokens.chunks.push_back({{layout.data.begin(), layout.data.end()}, {}});
    const Conditioning conditioning = model->encode_inputs(prompt_request(tokens), {});
    within("ldm-layout2img context", difference(conditioning.data, context.data), context.atol);
    check_system(model, {"ldm-layout2img"}, [&](int64_t) { return prompt_request(tokens); });
}

TEST(semantic_model) {
    const Loaded model("ldm-semantic");
    const golden::Values labels = model.input("labels"), concat = model.expected("concat");
    const auto condition = [&](int64_t row) {
        const std::vector<float> map = Loaded::row_of(labels, row);
        Inputs request;
        request.labels = LabelMap{labels.shape[1], labels.shape[2], {map.begin(), map.end()}};
        return request;
    };
    for (int64_t row = 0; row < 2; ++row) {
        const Conditioning conditioning = model->encode_inputs(condition(row), {});
        CHECK(conditioning.tokens == 0 && conditioning.concat);
        within("ldm-semantic concat", difference(conditioning.concat->data, Loaded::row_of(concat, row)), concat.atol);
    }
    check_system(model, {"ldm-semantic"}, condition);
}

TEST(super_resolution_model) {
    const Loaded model("ldm-sr");
    check_system(model, {"ldm-sr"}, [&](int64_t row) {
        Inputs request;
        request.image = model.image("lr_image", row);
        return request;
    });
}

TEST(super_resolution_in_tiles_matches_the_reference) {
    LoadRequest load = exact_request();
    load.tile_size = 32;
    const Loaded model("ldm-sr-tiled", load);
    Inputs request;
    request.image = model.image("lr_image", 0);
    const Conditioning conditioning = model->encode_inputs(request, {});
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
    // The reference's noise is given: the conditioning is put together here as encode_inputs() does with the seed's.
    Conditioning conditioning = model->encode_prompt(model.tokens("ids", 0), {});
    const Conditioning unconditional = model->encode_prompt(model.tokens("ids", 1), {});
    within("sd-x4-upscaler context", difference(conditioning.data, Loaded::row_of(context, 0)), context.atol);
    conditioning.concat = Latents{{1, 3, low.shape[2], low.shape[3]}, concat.data};
    conditioning.class_label = static_cast<int32_t>(model.input("noise_level").data[0]);

    Inputs request = prompt_request(model.tokens("ids", 0));
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
    Inputs request;
    request.embeddings = EmbeddingRows{embeddings.shape[1], embeddings.shape[2], embeddings.data};
    const Conditioning conditioning = model->encode_inputs(request, {});
    within("ldm-rdm context", difference(conditioning.data, context.data), context.atol);
    Inputs nothing;
    nothing.embeddings = EmbeddingRows{6, 64, std::vector<float>(6 * 64)};
    const Conditioning zeros = model->encode_inputs(nothing, {});
    CHECK(zeros.data == std::vector<float>(6 * 64));
    const System system{"ldm-rdm", "eps", "ddim4", 5.0};
    check_image(model, system, 0, check_row(model, system, 0, request, {}, conditioning, &zeros));
}

// The public RDM files carry no CLIP; its text tower is a part of its own. The tower of the case has a projection of 40, the
// U-Net takes 64: the rest is zeros.
TEST(retrieval_augmented_model_with_a_prompt) {
    const golden::Case rdm = golden::load("ldm-rdm"), clip = golden::load("clip-openai");
    const golden::TempFolder folder;
    std::vector<golden::FileTensor> tensors;
    for (const TensorInfo & info : golden::keys(clip, "hf")) {
        if (info.name.rfind("text_", 0) != 0 || info.dtype != DType::f32) continue;
        golden::Values values = golden::weight(clip, "hf", info.name);
        if (info.name == "text_projection.weight") {
            values.shape[0] = 64;
            values.data.resize(64 * 32);
        }
        const auto * bytes = reinterpret_cast<const uint8_t *>(values.data.data());
        tensors.push_back({info.name, DType::f32, values.shape, {bytes, bytes + values.data.size() * sizeof(float)}});
    }
    golden::write_safetensors(folder / "clip.safetensors", tensors);

    LoadRequest request = exact_request();
    request.model = golden::write_layout(rdm, "compvis", folder.path());
    request.text_encoder = folder / "clip.safetensors";
    request.config = rdm.config();
    request.config["text_encoder"] = golden::load("sd1").config().at("text_encoder");
    const auto pipe = Pipeline::load(request, {});
    CHECK(pipe->info()["condition"] == Json({{"guidance", true}, {"dim", 64}, {"tokens", 77}, {"vocabulary", 49408}}));

    const golden::Values embeds = golden::expected(clip, "text_embeds"), ids = golden::input(clip, "ids");
    Inputs condition;
    condition.prompt.emplace();
    condition.prompt->chunks.push_back({{ids.data.begin(), ids.data.begin() + 77}, {}});
    const golden::Values neighbours = golden::input(rdm, "embeddings");
    condition.embeddings = EmbeddingRows{6, 64, neighbours.data};
    const Conditioning conditioning = pipe->encode_inputs(condition, {});
    CHECK(conditioning.tokens == 7 && conditioning.dim == 64);
    std::vector<float> expected(embeds.data.begin(), embeds.data.begin() + 40);
    double squares = 0;
    for (const float v : expected) squares += v * v;
    for (float & v : expected) v = static_cast<float>(v / std::sqrt(squares));
    expected.resize(64);
    const std::vector<float> all = golden::expected(rdm, "context").data;
    expected.insert(expected.end(), all.begin(), all.end());
    within("ldm-rdm context with a prompt", difference(conditioning.data, expected), embeds.atol);

    GenerateRequest generate;
    generate.sampling.sampler = "ddim", generate.sampling.steps = 2;
    generate.inputs = condition;
    generate.width = generate.height = 32;
    CHECK(pipe->generate(generate, {}).images.size() == 1);
    condition.prompt->chunks.push_back(condition.prompt->chunks[0]);
    CHECK_THROWS(pipe->encode_inputs(condition, {}), ErrorCode::invalid_argument);
}

TEST(image_encoder_alone) {
    const golden::Case clip = golden::load("clip-vision");
    const golden::TempFolder folder;
    golden::write_layout(clip, "diffusers", folder.path());
    LoadRequest request = exact_request();
    request.image_encoder = folder / "image_encoder";
    const auto pipe = Pipeline::load(request, {});
    CHECK(pipe->info()["condition"]["imageEncoder"] == Json({{"size", 28}, {"dim", 40}}));
    const golden::Values pixels = golden::input(clip, "pixels"), embeds = golden::expected(clip, "image_embeds");
    const EmbeddingRows rows = pipe->embed_images({{2, 3, 28, 28}, pixels.data}, {});
    CHECK(rows.count == 2 && rows.dim == 40);
    within("clip-vision embed_images", difference(rows.data, embeds.data), embeds.atol);
    CHECK_THROWS(pipe->embed_images({{1, 3, 14, 14}, std::vector<float>(588)}, {}), ErrorCode::invalid_argument);
    const Loaded none("ldm-uncond");
    CHECK_THROWS(none->embed_images({{1, 3, 28, 28}, std::vector<float>(2352)}, {}), ErrorCode::unsupported_model);
}
