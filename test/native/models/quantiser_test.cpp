#include <chrono>
#include <limits>

#include "checks.h"
#include "models/autoencoder.h"

// The VQ first stages: vectors before quantisation, codes, and pictures with and without quantisation.

using namespace latent;
using golden::ModelCase;
using graph::Precision;
using graph::WeightPolicy;
using models::Autoencoder;
using models::Codebook;

namespace {

size_t count_different(const std::vector<int32_t> & a, const std::vector<int32_t> & b) {
    if (a.size() != b.size()) return std::max(a.size(), b.size());
    size_t count = 0;
    for (size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
    return count;
}

void check_stage(const std::string & name, const WeightPolicy & policy, const std::string & how, double bound) {
    const ModelCase c(name);
    Autoencoder stage(golden::autoencoder_config(c.params()), cpu(), "");
    const auto image = c.shape("image"), z = c.shape("z");
    const int64_t f = stage.config().downsampling(), height = z[2] * f, width = z[3] * f;
    stage.weights().plan(c.weights(""), policy);
    stage.weights().load({});
    const auto tolerance = [&](const golden::Tensor & t) { return bound > 0 ? bound * t.max_abs : t.atol; };
    const JobContext job;

    const golden::Tensor & prequant = c.expected("prequant");
    std::vector<float> vectors(prequant.data.size()), quantised(vectors.size());
    stage.encode(c.input("image"), image[0], image[2], image[3], vectors, job);
    within(name + " prequant" + how, golden::max_difference(vectors, prequant), tolerance(prequant));
    const std::vector<float> pixels = c.input("image");
    std::vector<float> banded(vectors.size());
    const size_t pictures = static_cast<size_t>(image[0]), in = pixels.size() / pictures, out = banded.size() / pictures;
    graph::Runner::Limits limits = stage.runner().limits();
    limits.band = 20000;
    stage.runner().set_limits(limits);
    for (size_t i = 0; i < pictures; ++i)
        stage.encode_banded({pixels.data() + i * in, in}, image[2], image[3], {banded.data() + i * out, out}, job);
    within(name + " prequant in bands" + how, golden::max_difference(banded, prequant), tolerance(prequant));
    std::vector<int32_t> codes(static_cast<size_t>(image[0] * image[2] / f * image[3] / f));
    const int64_t h = image[2] / f, w = image[3] / f;
    stage.quantise(bound > 0 ? prequant.data : vectors, image[0], h, w, codes, quantised, job);
    CHECK(count_different(codes, c.expected("indices").integers()) == 0);
    within(name + " quantised" + how, golden::max_difference(quantised, c.expected("quantised")), c.expected("quantised").atol);
    std::vector<float> looked_up(quantised.size());
    stage.lookup(codes, image[0], h, w, looked_up);
    CHECK(looked_up == quantised);

    const std::vector<float> latents = c.input("z");
    std::vector<int32_t> z_codes(static_cast<size_t>(z[0] * z[2] * z[3]));
    stage.quantise(latents, z[0], z[2], z[3], z_codes, {}, job);
    CHECK(count_different(z_codes, c.expected("z_indices").integers()) == 0);
    std::vector<float> picture(static_cast<size_t>(z[0] * 3 * height * width));
    stage.decode(latents, z[0], z[2], z[3], picture, job);
    within(name + " decoded" + how, golden::max_difference(picture, c.expected("decoded"), height, width),
           tolerance(c.expected("decoded")));
    stage.decode(latents, z[0], z[2], z[3], picture, job, false);
    within(name + " decoded as it is" + how, golden::max_difference(picture, c.expected("decoded_noquant"), height, width),
           tolerance(c.expected("decoded_noquant")));
    if (bound > 0) return;  // a code that flips changes a whole patch
    std::vector<float> again(static_cast<size_t>(image[0] * 3 * image[2] * image[3]));
    stage.decode(vectors, image[0], h, w, again, job);
    within(name + " recon" + how, golden::max_difference(again, c.expected("recon"), image[2], image[3]),
           c.expected("recon").atol);
}

}  // namespace

TEST(vq_first_stages) {
    for (const char * name : {"stage-vq-f4", "stage-vq-f4-noattn", "stage-vq-f8", "stage-vq-f16"}) {
        check_stage(name, exact, "", 0);
        check_stage(name, {Precision::fast, DType::f16}, ", fast f16", fast_bound());
        check_stage(name, {Precision::fast, DType::q8_0}, ", fast q8_0", 6e-2);
    }
}

TEST(nearest_codes_of_ties) {
    const ModelCase c("stage-vq-ties");
    const auto points = c.shape("points"), book = c.shape("codebook");
    const std::vector<float> rows = c.input("points");
    std::vector<float> z(rows.size());  // [dim, positions]
    for (size_t i = 0; i < rows.size(); ++i) z[i % 3 * static_cast<size_t>(points[0]) + i / 3] = rows[i];
    const Codebook codebook(c.input("codebook"), book[0], book[1]);
    std::vector<int32_t> codes(static_cast<size_t>(points[0]));
    codebook.nearest(z, 1, points[0], codes, nullptr, CancelToken{});
    CHECK(count_different(codes, c.expected("indices").integers()) == 0);
}

// Against the plain double loop, over sizes that do not fill a group of codes, equal codes far apart, and any number of threads.
TEST(nearest_codes_are_those_of_the_plain_search) {
    kernels::Pool pool(3);
    for (const auto & [count, dim] : {std::pair<int64_t, int64_t>{1, 1}, {7, 3}, {256, 4}, {257, 3}, {1000, 8}, {4096, 4}}) {
        std::vector<float> book = fixture::formula("codebook", static_cast<size_t>(count * dim));
        for (int64_t d = 0; d < dim; ++d) book[static_cast<size_t>((count - 1) * dim + d)] = book[static_cast<size_t>(d)];
        const int64_t batch = 2, plane = 101;
        std::vector<float> z = fixture::formula("latents", static_cast<size_t>(batch * dim * plane));
        for (int64_t d = 0; d < dim; ++d) z[static_cast<size_t>(d * plane)] = book[static_cast<size_t>(d)];  // exactly code 0
        const Codebook codebook(book, count, dim);
        std::vector<int32_t> codes(static_cast<size_t>(batch * plane)), alone(codes.size());
        codebook.nearest(z, batch, plane, codes, &pool, CancelToken{});
        codebook.nearest(z, batch, plane, alone, nullptr, CancelToken{});
        CHECK(codes == alone && codes[0] == 0);
        for (int64_t i = 0; i < batch * plane; ++i) {
            const float * vector = z.data() + i / plane * dim * plane + i % plane;
            float best = std::numeric_limits<float>::infinity();
            int32_t found = 0;
            for (int64_t code = 0; code < count; ++code) {
                float zz = 0, ee = 0, ze = 0;
                for (int64_t d = 0; d < dim; ++d) {
                    const float a = vector[d * plane], b = book[static_cast<size_t>(code * dim + d)];
                    zz += a * a, ee += b * b, ze += a * b;
                }
                const float distance = (zz + ee) - 2.0f * ze;
                if (distance < best) best = distance, found = static_cast<int32_t>(code);
            }
            if (codes[static_cast<size_t>(i)] != found) check::fail(__FILE__, __LINE__, "another code at " + std::to_string(i));
        }
    }
}

TEST(nearest_codes_of_no_numbers) {
    const float infinite = std::numeric_limits<float>::infinity(), none = std::numeric_limits<float>::quiet_NaN();
    const Codebook codebook(std::vector<float>{1, 2, 3, 4}, 2, 2);
    std::vector<int32_t> codes(3, -1);
    codebook.nearest(std::vector<float>{none, infinite, 3, none, 1, -infinite}, 1, 3, codes, nullptr, CancelToken{});
    for (const int32_t code : codes) CHECK(code == 0);  // all distances alike: the first
    std::vector<float> z(2);
    for (const int32_t code : {-1, 2, 1 << 30})
        CHECK_THROWS(codebook.lookup(std::vector<int32_t>{code}, 1, 1, z), ErrorCode::invalid_argument);
}

TEST(quantising_the_largest_codebook) {  // VQ-f8 at 1024 pixels: 16384 positions, 16384 codes
    const Codebook codebook(fixture::formula("book", 16384 * 4), 16384, 4);
    const std::vector<float> z = fixture::formula("z", 16384 * 4);
    std::vector<int32_t> codes(16384);
    kernels::Pool pool(1);
    const auto begin = std::chrono::steady_clock::now();
    codebook.nearest(z, 1, 16384, codes, &pool, CancelToken{});
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::printf("     16384 positions, 16384 codes of 4: %.2f s on one thread\n", seconds);
    CancelToken cancelled;
    cancelled.cancel();
    CHECK_THROWS(codebook.nearest(z, 1, 16384, codes, &pool, cancelled), ErrorCode::aborted);
}

TEST(codes_belong_to_vq_stages) {
    const ModelCase kl("stage-kl-f4"), vq("stage-vq-f4");
    Autoencoder stage(golden::autoencoder_config(kl.params()), cpu(), "");
    stage.weights().plan(kl.weights(""), exact);
    stage.weights().load({});
    std::vector<int32_t> codes(1);
    std::vector<float> z(3);
    CHECK_THROWS(stage.quantise(z, 1, 1, 1, codes, {}, JobContext{}), ErrorCode::invalid_argument);
    CHECK_THROWS(stage.lookup(codes, 1, 1, 1, z), ErrorCode::invalid_argument);
    AutoencoderConfig broken = golden::autoencoder_config(vq.params());
    broken.codebook_size = 0;
    CHECK_THROWS(Autoencoder(broken, cpu()), ErrorCode::model_format);
    broken.codebook_size = 256;
    broken.double_z = true;
    CHECK_THROWS(Autoencoder(broken, cpu()), ErrorCode::model_format);
    // Other weights bring other codes.
    Autoencoder other(golden::autoencoder_config(vq.params()), cpu(), "");
    other.weights().plan(vq.weights(""), exact);
    CHECK_THROWS(other.quantise(z, 1, 1, 1, codes, {}, JobContext{}), ErrorCode::internal);
    other.weights().load({});
    other.quantise(z, 1, 1, 1, codes, {}, JobContext{});
    other.weights().unload();
    CHECK_THROWS(other.lookup(codes, 1, 1, 1, z), ErrorCode::internal);
}
