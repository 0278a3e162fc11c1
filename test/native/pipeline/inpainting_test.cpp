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
