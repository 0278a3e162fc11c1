#include <algorithm>

#include "pipeline/inpainting.h"
#include "pipeline/loaded.h"

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

TEST(a_cell_with_any_masked_pixel_is_part_of_the_hole) {
    ImageTensor mask{{2, 1, 4, 8}, std::vector<float>(64, 0.0f)};
    mask.data[3 * 8 + 5] = 1.0f;       // first picture: row 3, column 5
    mask.data[32 + 0 * 8 + 7] = 1.0f;  // second: row 0, column 7
    const Latents hole = latent_hole(mask, 2, 4);
    CHECK((hole.shape == std::array<int64_t, 4>{2, 1, 2, 4}));
    CHECK((hole.data == std::vector<float>{0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0}));
}

TEST(masked_image_to_image_repaints_the_hole_alone) {
    const Loaded model("ldm-uncond");
    const int side = static_cast<int>(model->spec().downsampling() * model.input("x_T").shape[3]);
    GenerateRequest request;
    request.width = request.height = side;
    request.condition.image = from_bytes(
        side, side, [&](int64_t c, int64_t y, int64_t x) { return static_cast<uint8_t>((c * 90 + y * 3 + x * 5) % 256); });
    ImageTensor mask{{1, 1, side, side}, std::vector<float>(static_cast<size_t>(side * side), 0.0f)};
    const auto in_hole = [&](size_t i) { return i % static_cast<size_t>(side) >= static_cast<size_t>(side) / 2; };
    for (size_t i = 0; i < mask.data.size(); ++i) mask.data[i] = in_hole(i) ? 1.0f : 0.0f;
    request.condition.mask = mask;
    request.output_float = true;
    request.sampling.steps = 4;
    request.sampling.strength = 0.9;
    request.sampling.guidance_scale = 1;
    const std::vector<float> original = request.condition.image->data;
    for (const char * sampler : {"ddim", "euler_a", "heun", "dpmpp_2m", "unipc"}) {
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
    request.sampling.sampler = "ddim";
    std::fill(request.condition.mask->data.begin(), request.condition.mask->data.end(), 1.0f);
    const std::vector<float> everywhere = model->generate(request, {}).tensor.data;
    request.condition.mask.reset();
    CHECK(difference(everywhere, model->generate(request, {}).tensor.data) < 1e-3);
}

TEST(masks_without_a_picture_or_of_another_size_are_refused) {
    const Loaded model("ldm-uncond");
    GenerateRequest request;
    request.width = request.height = static_cast<int>(model->spec().downsampling() * model.input("x_T").shape[3]);
    request.condition.mask = ImageTensor{{1, 1, request.height, request.width}, {}};
    request.condition.mask->data.resize(static_cast<size_t>(request.height * request.width));
    CHECK_THROWS(model->generate(request, {}), ErrorCode::invalid_argument);
    request.condition.image = from_bytes(request.height, request.width, [](int64_t, int64_t, int64_t) { return uint8_t{9}; });
    request.condition.mask = ImageTensor{{1, 1, 2, 2}, std::vector<float>(4)};
    CHECK_THROWS(model->generate(request, {}), ErrorCode::invalid_argument);
}
