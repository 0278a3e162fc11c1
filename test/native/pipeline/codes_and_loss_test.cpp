#include <algorithm>

#include "core/rng.h"
#include "pipeline/system_checks.h"

using namespace loaded;

namespace {

double mean_squared(const std::vector<float> & a, const std::vector<float> & b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    return sum / static_cast<double>(a.size());
}

/// sqrt(abar) at a timestep of the schedule that is linear in the roots.
double signal_at(int timestep, double start, double end) {
    double abar = 1;
    for (int i = 0; i <= timestep; ++i) {
        const double root = std::sqrt(start) + (std::sqrt(end) - std::sqrt(start)) * i / 999.0;
        abar *= 1 - root * root;
    }
    return std::sqrt(abar);
}

}  // namespace

TEST(codes_of_a_picture_decode_to_what_its_latents_decode_to) {
    const Loaded model("ldm-uncond");
    ImageTensor image{{2, 3, 32, 48}, {}};
    for (int i = 0; i < 2 * 3 * 32 * 48; ++i) image.data.push_back(std::sin(static_cast<float>(i) * 0.37f));
    const Codes codes = model->encode_codes(image, {});
    CHECK((codes.shape == std::array<int64_t, 3>{2, 8, 12}));
    CHECK(std::all_of(codes.data.begin(), codes.data.end(), [](int32_t code) { return code >= 0 && code < 256; }));
    const Latents raw = model->encode_image(image, "prequant", 0, "philox", {});
    CHECK(model->encode_image(image, "sample", 5, "philox", {}).data == raw.data);  // scale factor 1, and VQ has no spread
    const ImageTensor quantised = model->decode(raw, true, {});
    CHECK(difference(model->decode_codes(codes, {}).data, quantised.data) == 0);
    CHECK(difference(model->decode(raw, false, {}).data, quantised.data) > 1e-3);
}

TEST(codes_are_checked) {
    const Loaded vq("ldm-uncond"), kl("ldm-churches");
    CHECK_THROWS(vq->decode_codes({{1, 1, 2}, {3, 256}}, {}), ErrorCode::invalid_argument);
    CHECK_THROWS(vq->decode_codes({{1, 1, 2}, {3, -1}}, {}), ErrorCode::invalid_argument);
    CHECK_THROWS(vq->decode_codes({{1, 2, 2}, {3}}, {}), ErrorCode::invalid_argument);
    CHECK_THROWS(kl->decode_codes({{1, 1, 1}, {0}}, {}), ErrorCode::unsupported_model);
    const ImageTensor image{{1, 3, 32, 32}, std::vector<float>(3 * 32 * 32)};
    CHECK_THROWS(kl->encode_codes(image, {}), ErrorCode::unsupported_model);
    CHECK_THROWS(kl->encode_image(image, "prequant", 0, "philox", {}), ErrorCode::unsupported_model);
    CHECK_THROWS(vq->encode_image(image, "moments", 0, "philox", {}), ErrorCode::invalid_argument);
    CHECK_THROWS(vq->encode_image(image, "codes", 0, "philox", {}), ErrorCode::invalid_argument);
}

// By hand: encode, noise, one evaluation, mean of the squared difference.
TEST(loss_is_the_mean_squared_error_of_the_prediction) {
    struct Case {
        const char * golden;
        double start, end;
    };
    for (const Case & c : {Case{"ldm-semantic", 0.0015, 0.0205}, Case{"sd2-v", 0.00085, 0.012}}) {
        const Loaded model(c.golden);
        const bool v = model->spec().prediction == Prediction::v;
        const int factor = model->spec().downsampling();
        const int64_t h = 8 * factor, w = 16 * factor;
        ImageTensor image{{1, 3, h, w}, {}};
        for (int64_t i = 0; i < 3 * h * w; ++i) image.data.push_back(std::sin(static_cast<float>(i) * 0.011f));
        LossRequest request;
        request.timesteps = {0, 500, 999, 500};
        request.seed = 11;
        if (v) {
            request.inputs.prompt = model.tokens("ids", 0);
        } else {
            request.inputs.labels = LabelMap{h, w, std::vector<int32_t>(static_cast<size_t>(h * w), 9)};
        }
        const std::vector<double> losses = model->loss(image, request, {});
        CHECK(losses.size() == 4 && losses[1] == losses[3] && losses[0] != losses[1]);

        const Conditioning conditioning = model->encode_inputs(request.inputs, {});
        SeededNoise source(RngKind::philox, 11, 1);
        Latents noise = model->create_latents(static_cast<int>(w), static_cast<int>(h), 1, 11, "philox");
        Latents clean = noise;
        source.normal(clean.data);
        CHECK(clean.data == noise.data);
        if (v) {  // a sample of the posterior with the seed's second draw
            const Latents moments = model->encode_image(image, "moments", 0, "philox", {});
            source.normal(clean.data);
            for (size_t i = 0; i < clean.data.size(); ++i) {
                const float deviation = std::exp(0.5f * moments.data[clean.data.size() + i]);
                clean.data[i] = (moments.data[i] + deviation * clean.data[i]) * static_cast<float>(model->spec().scale_factor);
            }
        } else {
            clean = model->encode_image(image, "mean", 0, "philox", {});
        }
        for (size_t i = 0; i < 3; ++i) {
            const double signal = signal_at(request.timesteps[i], c.start, c.end), spread = std::sqrt(1 - signal * signal);
            Latents x = clean;
            std::vector<float> target(x.data.size());
            for (size_t j = 0; j < x.data.size(); ++j) {
                x.data[j] = static_cast<float>(signal * clean.data[j] + spread * noise.data[j]);
                target[j] = v ? static_cast<float>(signal * noise.data[j] - spread * clean.data[j]) : noise.data[j];
            }
            const double t = request.timesteps[i];
            const double expected = mean_squared(model->predict(x, {t}, &conditioning, nullptr, 1, nullptr, {}).data, target);
            CHECK_NEAR(losses[i], expected, 1e-4 * expected);
        }
    }
}

TEST(loss_refuses_what_it_cannot_measure) {
    const Loaded model("ldm-uncond");
    const ImageTensor image{{1, 3, 32, 32}, std::vector<float>(3 * 32 * 32)};
    const auto with = [&](std::vector<int> timesteps) {
        LossRequest request;
        request.timesteps = std::move(timesteps);
        return model->loss(image, request, {});
    };
    CHECK_THROWS(with({}), ErrorCode::invalid_argument);
    CHECK_THROWS(with({1000}), ErrorCode::invalid_argument);
    CHECK_THROWS(with({-1}), ErrorCode::invalid_argument);
    CHECK(with({0, 999}).size() == 2);
    JobContext job;
    job.cancel->cancel();
    LossRequest request;
    request.timesteps = {1};
    CHECK_THROWS(model->loss(image, request, job), ErrorCode::aborted);
    const Loaded enlarge("ldm-sr");
    LossRequest upscaling;
    upscaling.timesteps = {5};
    upscaling.inputs.image = ImageTensor{{1, 3, 16, 16}, std::vector<float>(3 * 16 * 16)};
    const ImageTensor large{{1, 3, 64, 64}, std::vector<float>(3 * 64 * 64)};
    CHECK(enlarge->loss(large, upscaling, {}).size() == 1);
    CHECK_THROWS(enlarge->loss(image, upscaling, {}), ErrorCode::invalid_argument);
    upscaling.inputs.image = ImageTensor{{1, 3, 15, 16}, std::vector<float>(3 * 15 * 16)};
    const ImageTensor odd{{1, 3, 60, 64}, std::vector<float>(3 * 60 * 64)};
    CHECK_THROWS(enlarge->loss(odd, upscaling, {}), ErrorCode::invalid_argument);  // would be padded
}
