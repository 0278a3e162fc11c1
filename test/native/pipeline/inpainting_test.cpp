#include "pipeline/image/inpainting.h"

#include <algorithm>
#include <functional>

#include "pipeline/image/to_pictures.h"
#include "pipeline/sampling/sampling_run.h"
#include "pipeline/system_checks.h"

using namespace loaded;

namespace {

/// 8-bit pictures as JavaScript makes floats of them.
ImageTensor from_bytes(int64_t h, int64_t w, const std::function<uint8_t(int64_t channel, int64_t y, int64_t x)> & byte) {
    ImageTensor image{{1, 3, h, w}, {}};
    for (int64_t c = 0; c < 3; ++c) {
        for (int64_t y = 0; y < h; ++y) {
            for (int64_t x = 0; x < w; ++x) image.data.push_back(static_cast<float>(byte(c, y, x) / 255.0 * 2 - 1));
        }
    }
    return image;
}

ImageTensor rectangle(int64_t h, int64_t w, int64_t y0, int64_t y1, int64_t x0, int64_t x1) {
    ImageTensor mask{{1, 1, h, w}, {}};
    for (int64_t y = 0; y < h; ++y) {
        for (int64_t x = 0; x < w; ++x) mask.data.push_back(y >= y0 && y < y1 && x >= x0 && x < x1 ? 1.0f : 0.0f);
    }
    return mask;
}

}  // namespace

TEST(every_byte_survives_the_way_through_floats) {
    const ImageTensor image = from_bytes(16, 16, [](int64_t, int64_t y, int64_t x) { return static_cast<uint8_t>(16 * y + x); });
    const Picture picture = to_pictures(image)[0];
    for (size_t i = 0; i < 256; ++i) CHECK(picture.data[3 * i] == i && picture.data[3 * i + 2] == i);
}

TEST(masks_split_at_a_half) {
    ImageTensor mask{{1, 1, 1, 5}, {0.0f, 0.4999f, 0.5f, 1.0f, NAN}};
    binarise(mask);
    CHECK((mask.data == std::vector<float>{0, 0, 1, 1, 0}));
}

TEST(latent_diffusion_inpainting) {
    const Loaded model("ldm-inpaint-big");
    const golden::Values concat = model.expected("concat"), inpainted = model.expected("inpainted"),
                         trace = model.expected("ddim4");
    const System system{"ldm-inpaint-big"};
    for (int64_t row = 0; row < 2; ++row) {
        Inputs request;
        request.image = model.image("image", row);
        for (float & v : request.image->data) v = v * 2.0f - 1.0f;  // the script's pictures are 0..1 at that point
        request.mask = model.image("mask", row);
        const Conditioning conditioning = model->encode_inputs(request, {});
        CHECK(conditioning.concat && conditioning.tokens == 0);
        within("ldm-inpaint-big concat", difference(conditioning.concat->data, Loaded::row_of(concat, row)), concat.atol);

        ImageTensor picture = check_row(model, system, row, request, {}, conditioning, nullptr);
        for (float & v : picture.data) v = std::clamp(v * 0.5f + 0.5f, 0.0f, 1.0f);
        within("ldm-inpaint-big inpainted", difference(strided(picture, inpainted.stride), Loaded::row_of(inpainted, row)),
               inpainted.atol);
        Latents last = model.latents("x_T", row);
        last.data = trace_row(trace, trace.shape[0] - 1, row);
        check_image(model, system, row, model->decode(last, true, {}));
    }
}

TEST(stable_diffusion_inpainting) {
    const Loaded model("sd1-inpaint");
    Inputs request = prompt_request(model.tokens("ids", 0));
    request.image = model.image("image", 0);
    request.mask = model.image("mask", 0);
    const Conditioning conditioning = model->encode_inputs(request, {});
    const golden::Values concat = model.expected("concat"), context = model.expected("text_context"),
                         trace = model.expected("ddim4");
    within("sd1-inpaint context", difference(conditioning.data, Loaded::row_of(context, 0)), context.atol);
    within("sd1-inpaint concat", difference(conditioning.concat->data, concat.data), concat.atol);
    const Conditioning empty = model->encode_prompt(model.tokens("ids", 1), {});
    const System system{"sd1-inpaint", "eps", "ddim4", 7.5};
    const ImageTensor picture = check_row(model, system, 0, request, model.tokens("ids", 1), conditioning, &empty);
    Latents last = model.latents("x_T", 0);
    last.data = trace_row(trace, trace.shape[0] - 1, 0);
    ImageTensor decoded = model->decode(last, true, {});
    check_image(model, system, 0, decoded);
    keep_outside(decoded, *request.image, *request.mask);
    within("sd1-inpaint composite", difference(picture.data, decoded.data), model.expected("image_out").atol);
}

TEST(inpainting_keeps_every_byte_outside_the_mask) {
    const Loaded model("ldm-inpaint-big");
    const int64_t h = 45, w = 70;  // no multiple of anything
    const auto byte = [](int64_t c, int64_t y, int64_t x) { return static_cast<uint8_t>(37 * x + 11 * y + 83 * c); };
    GenerateRequest request;
    request.sampling.sampler = "ddim";
    request.sampling.steps = 2;
    request.sampling.guidance_scale = 1;
    request.count = 2;
    request.inputs.image = from_bytes(h, w, byte);
    request.inputs.mask = rectangle(h, w, 10, 31, 20, 50);
    const GenerateResult result = model->generate(request, {});
    CHECK(result.images.size() == 2 && result.images[0].data != result.images[1].data);
    for (const Picture & picture : result.images) {
        CHECK(picture.width == w && picture.height == h);
        int64_t changed = 0;
        for (int64_t y = 0; y < h; ++y) {
            for (int64_t x = 0; x < w; ++x) {
                const bool inside = y >= 10 && y < 31 && x >= 20 && x < 50;
                for (int64_t c = 0; c < 3; ++c) {
                    const bool same = picture.data[static_cast<size_t>((y * w + x) * 3 + c)] == byte(c, y, x);
                    if (!inside && !same) check::fail(__FILE__, __LINE__, "a pixel outside the mask changed");
                    changed += inside && !same;
                }
            }
        }
        CHECK(changed > 21 * 30);  // the hole was painted
    }
    CHECK(result.images[0].width == w && result.images[0].height == h);
}

TEST(a_cell_with_any_masked_pixel_is_part_of_the_hole) {
    ImageTensor mask{{2, 1, 4, 8}, std::vector<float>(64, 0.0f)};
    mask.data[3 * 8 + 5] = 1.0f;       // first picture: row 3, column 5
    mask.data[32 + 0 * 8 + 7] = 1.0f;  // second: row 0, column 7
    const Latents hole = latent_hole(mask, 2, 4);
    CHECK((hole.shape == std::array<int64_t, 4>{2, 1, 2, 4}));
    CHECK((hole.data == std::vector<float>{0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0}));
}

namespace {

void check_masked_image_to_image(const Loaded & model, const std::vector<const char *> & samplers) {
    const int side = static_cast<int>(model->spec().downsampling() * model.input("x_T").shape[3]);
    GenerateRequest request;
    request.width = request.height = side;
    request.inputs.image = from_bytes(
        side, side, [&](int64_t c, int64_t y, int64_t x) { return static_cast<uint8_t>((c * 90 + y * 3 + x * 5) % 256); });
    ImageTensor mask{{1, 1, side, side}, std::vector<float>(static_cast<size_t>(side * side), 0.0f)};
    const auto in_hole = [&](size_t i) { return i % static_cast<size_t>(side) >= static_cast<size_t>(side) / 2; };
    for (size_t i = 0; i < mask.data.size(); ++i) mask.data[i] = in_hole(i) ? 1.0f : 0.0f;
    request.inputs.mask = mask;
    request.output_float = true;
    request.sampling.steps = 4;
    request.sampling.strength = 0.9;
    request.sampling.guidance_scale = 1;
    const std::vector<float> original = request.inputs.image->data;
    if (model->spec().kind == "text") request.inputs.prompt = model.tokens("ids", 0);
    for (const char * sampler : samplers) {
        request.sampling.sampler = sampler;
        const std::vector<float> picture = model->generate(request, {}).tensor.data;
        CHECK(picture.size() == original.size());
        size_t same = 0, inside = 0;
        for (size_t i = 0; i < picture.size(); ++i) {
            const size_t pixel = i % static_cast<size_t>(side * side);
            CHECK(std::isfinite(picture[i]));
            if (in_hole(pixel)) {
                ++inside;
                same += picture[i] == original[i];
            } else {
                CHECK(picture[i] == original[i]);
            }
        }
        CHECK(same < inside / 10);
    }
    // A hole that is everything is image to image; only the rounding of its arithmetic differs.
    request.sampling.sampler = samplers.front();
    std::fill(request.inputs.mask->data.begin(), request.inputs.mask->data.end(), 1.0f);
    const std::vector<float> everywhere = model->generate(request, {}).tensor.data;
    request.inputs.mask.reset();
    CHECK(difference(everywhere, model->generate(request, {}).tensor.data) < 1e-3);
}

}  // namespace

TEST(masked_image_to_image_repaints_the_hole_alone) {
    check_masked_image_to_image(Loaded("ldm-uncond"), {"ddim", "euler_a", "heun", "dpmpp_2m", "unipc"});
}

TEST(masked_image_to_image_at_continuous_noise_levels) {
    LoadRequest request = exact_request();
    request.spec = Json{{"prediction", "edm"}};
    check_masked_image_to_image(Loaded("sd1", request), {"euler", "euler_a", "heun", "dpmpp_2m"});
}

TEST(masked_latents_end_as_those_of_the_image) {
    for (const char * prediction : {"eps", "edm"}) {
        for (const char * sampler : {"euler", "heun", "dpmpp_2m"}) {
            ModelSpec spec;
            spec.prediction = prediction_from_name(prediction);
            SamplingRequest request;
            request.sampler = sampler;
            request.steps = 5, request.strength = 0.7;
            const Latents image{{1, 1, 1, 4}, {1.5f, -2, 0.5f, 0}}, noise{{1, 1, 1, 4}, {0.3f, 1, -1, 0.2f}};
            const Latents hole{{1, 1, 1, 4}, {0, 0, 1, 1}};
            const auto predict = [](const Latents & x, const EvaluationPlace &, Latents & out, const JobContext &) {
                for (size_t i = 0; i < x.data.size(); ++i) out.data[i] = 0.3f * x.data[i] + 0.1f;
            };
            SamplingRun run(samplers::make_solver(solver_options(request, spec, true)), predict,
                            SeededNoise(parse_rng_kind("philox"), 1, 1), noise, &image, &hole);
            while (!run.done()) run.step({});
            const std::vector<float> & x = run.latents().data;
            CHECK(std::fabs(x[0] - 1.5f) < 1e-4f && std::fabs(x[1] + 2) < 1e-4f);
            CHECK(std::fabs(x[2] - 0.5f) > 1e-3f);
        }
    }
}

TEST(masks_without_a_picture_or_of_another_size_are_refused) {
    const Loaded model("ldm-uncond");
    GenerateRequest request;
    request.width = request.height = static_cast<int>(model->spec().downsampling() * model.input("x_T").shape[3]);
    request.inputs.mask = ImageTensor{{1, 1, request.height, request.width}, {}};
    request.inputs.mask->data.resize(static_cast<size_t>(request.height * request.width));
    CHECK_THROWS(model->generate(request, {}), ErrorCode::invalid_argument);
    request.inputs.image = from_bytes(request.height, request.width, [](int64_t, int64_t, int64_t) { return uint8_t{9}; });
    request.inputs.mask = ImageTensor{{1, 1, 2, 2}, std::vector<float>(4)};
    CHECK_THROWS(model->generate(request, {}), ErrorCode::invalid_argument);
}
