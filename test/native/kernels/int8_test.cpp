#include <cmath>
#include <vector>

#include "reference.h"

// Products in 8-bit integers: exact against what the quantised numbers mean, close to what they stand for.

using namespace kernel_tests;

namespace {

struct Packed {
    std::vector<float> full;  // what the packed bytes mean, [out][in * taps + tap]
    std::vector<uint8_t> bytes;
    Int8Matrix matrix;
};

void read_row(void * user, int64_t row, float * target) {
    const auto & [values, k] = *static_cast<std::pair<std::vector<float>, int64_t> *>(user);
    std::copy_n(values.begin() + row * k, k, target);
}

Packed pack(const Int8Set & set, const std::vector<float> & w, int64_t rows, int64_t channels, int taps) {
    Packed out;
    out.bytes.resize(static_cast<size_t>(Int8Matrix::bytes(rows, channels, taps)), 0x5a);
    out.matrix = {out.bytes.data(), rows, channels, taps};
    std::pair<std::vector<float>, int64_t> source{w, channels * taps};
    for (int64_t panel = 0; panel * kTileColumns < rows; ++panel)
        pack_int8_panel(set.order, out.matrix, panel, read_row, &source, out.bytes.data());
    const Int8Blocks blocks(channels);
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < channels; ++c)
            for (int tap = 0; tap < taps; ++tap) {
                const int8_t * panel = out.matrix.panel(r / kTileColumns);
                const int column = static_cast<int>(r % kTileColumns);
                const int8_t q =
                    panel[tap * blocks.row_bytes() * kTileColumns + int8_panel_offset(set.order, blocks, c / 4, column) + c % 4];
                out.full.push_back(static_cast<float>(q) * out.matrix.scales(r / kTileColumns)[r % kTileColumns]);
            }
    return out;
}

/// What quantised rows mean.
std::vector<float> meaning(const std::vector<uint8_t> & bytes, int64_t rows, int64_t channels) {
    RowFormat format;
    format.form = Form::int8, format.rows = rows, format.channels = channels;
    const Int8Blocks blocks(channels);
    const Int8Scale * scales = reinterpret_cast<const Int8Scale *>(bytes.data() + format.scales_at());
    std::vector<float> out;
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < channels; ++c) {
            const Int8Scale & s = scales[r * blocks.count + c / 4 / blocks.block_lanes];
            out.push_back(s.scale * static_cast<float>(bytes[static_cast<size_t>(r * format.row_bytes() + c)]) + s.offset);
        }
    return out;
}

RowKernels with(const Int8Set & set) {
    return {&tiles_portable(), &set, &vectors_portable()};
}

}  // namespace

TEST(int8_conv_matches_the_definition) {
    for_every_int8_set([](const Int8Set & set) {
        for (int round = 0; round < 40; ++round) {
            ConvShape s = round % 6 == 5 ? ConvShape::linear(pick(1, 90), pick(1, 800), pick(1, 140)) : random_conv(round, 40);
            if (round == 6) s.in = 1450, s.out = 70;  // so wide that the taps of a panel are computed in groups
            if (round >= 34) {  // the channels of networks, in whole steps of AMX; rows long enough to be read in place
                constexpr int64_t kChannels[] = {64, 320, 640, 384, 128, 1280};
                s.in = kChannels[round - 34], s.out = 70, s.n = 1;
                s.height = s.out_height = 3, s.width = s.out_width = round == 39 ? 100 : 40;
                s.kernel = round == 39 ? 1 : 3, s.pad_left = s.pad_top = s.kernel / 2, s.stride = 1;
                s.upsample = false, s.crop_width = s.crop_height = 0;
            }
            const auto x = random_values(s.n * s.height * s.width * s.in);
            auto w = random_values(s.out * s.in * s.taps());
            for (float & value : w) value /= std::sqrt(static_cast<float>(s.in * s.taps()));
            const Packed packed = pack(set, w, s.out, s.in, s.taps());
            const auto rows = in_form(with(set), x, s.in, Form::int8);
            const auto bias = random_values(s.out), add = random_values(s.n * s.out),
                       residual = random_values(s.pixels() * s.out);
            Epilogue epilogue;
            if (round % 2 == 0) epilogue = {bias.data(), add.data(), residual.data(), static_cast<Gate>(round / 2 % 4)};
            const auto gain = random_values(s.out);
            if (round % 3 == 0) epilogue.gain = gain.data();
            const int threads = static_cast<int>(pick(1, 5));
            std::vector<float> out(static_cast<size_t>(s.pixels() * s.out), NAN);
            for (int t = 0; t < threads; ++t)
                conv2d(set, tiles_portable(), vector_set(), s, rows.data(), packed.matrix, epilogue, {out.data()}, {t, threads});
            auto expected = reference_conv(s, meaning(rows, s.n * s.height * s.width, s.in), packed.full);
            apply_epilogue(s, epilogue, expected);
            const double exact = errors(out, expected).largest;
            if (!(exact <= 3e-5)) check::fail(set.name, round, "off from the quantised numbers by " + std::to_string(exact));
            expected = reference_conv(s, x, w);
            apply_epilogue(s, epilogue, expected);
            const double close = errors(out, expected).root_mean_square;
            if (!(close <= 0.02)) check::fail(set.name, round, "off from the numbers they stand for by " + std::to_string(close));
        }
    });
}

// Quantisation is the same to the bit on every instruction set, so that results differ by float additions alone.
TEST(int8_rows_are_the_same_everywhere) {
    for (int round = 0; round < 30; ++round) {
        const int64_t channels = pick(1, 900), count = pick(1, 5);
        auto x = random_values(count * channels);
        const float gain = std::pow(10.0f, static_cast<float>(pick(-20, 20)));
        for (float & value : x) value = (round % 3 == 1 ? std::fabs(value) : round % 3 == 2 ? -std::fabs(value) : value) * gain;
        const auto expected = in_form(with(int8_portable()), x, channels, Form::int8);
        for_every_int8_set([&](const Int8Set & set) { CHECK(in_form(with(set), x, channels, Form::int8) == expected); });
        // Half a step at most, and zero stays zero.
        const auto back = meaning(expected, count, channels);
        for (size_t i = 0; i < x.size(); ++i) CHECK(std::fabs(back[i] - x[i]) <= 10.0f * gain / 255.0f);
    }
    const std::vector<float> zeros(12, 0.0f);
    for_every_int8_set([&](const Int8Set & set) {
        CHECK(meaning(in_form(with(set), zeros, 12, Form::int8), 1, 12) == zeros);
        const std::vector<float> mixed = {0.0f, -1.0f, 3.0f, 0.0f, 2.5f};
        const auto back = meaning(in_form(with(set), mixed, 5, Form::int8), 1, 5);
        CHECK_NEAR(back[0], 0.0, 1e-6);
        CHECK_NEAR(back[3], 0.0, 1e-6);
    });
}

// A row that is not finite spoils what it touches, and nothing else.
TEST(int8_rows_that_are_not_finite) {
    for_every_int8_set([](const Int8Set & set) {
        for (const float odd : {NAN, INFINITY, -INFINITY, 3e38f}) {
            const ConvShape s = ConvShape::linear(5, 70, 66);
            auto x = random_values(5 * 70);
            x[2 * 70 + 41] = odd;
            if (odd == 3e38f) x[2 * 70 + 7] = -3e38f;  // a range beyond float
            const Packed packed = pack(set, random_values(66 * 70), 66, 70, 1);
            const auto rows = in_form(with(set), x, 70, Form::int8);
            std::vector<float> out(5 * 66);
            conv2d(set, tiles_portable(), vector_set(), s, rows.data(), packed.matrix, {}, {out.data()}, {0, 1});
            for (size_t i = 0; i < out.size(); ++i) CHECK(std::isnan(out[i]) == (i / 66 == 2));
        }
        // Weights likewise: their output channel.
        auto w = random_values(66 * 70);
        w[3 * 70 + 5] = NAN;
        w[65 * 70] = INFINITY;
        const Packed packed = pack(set, w, 66, 70, 1);
        const auto rows = in_form(with(set), random_values(5 * 70), 70, Form::int8);
        std::vector<float> out(5 * 66);
        conv2d(set, tiles_portable(), vector_set(), ConvShape::linear(5, 70, 66), rows.data(), packed.matrix, {}, {out.data()},
               {0, 1});
        for (size_t i = 0; i < out.size(); ++i) CHECK(std::isnan(out[i]) == (i % 66 == 3 || i % 66 == 65));
    });
}
