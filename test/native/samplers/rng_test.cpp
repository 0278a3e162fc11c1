#include "core/rng.h"

#include <cmath>

#include "core/error.h"
#include "fixtures.h"

using fixtures::Json;
using latent::PhiloxGenerator;
using latent::TorchGenerator;

namespace {

uint64_t seed_of(const Json & test) {
    const Json & seed = test.at("seed");
    return seed.is_string() ? std::stoull(seed.get<std::string>()) : seed.get<uint64_t>();
}

size_t count_of(const Json & test) {
    size_t count = 1;
    for (const Json & extent : test.at("shape")) count *= extent.get<size_t>();
    return count;
}

template <typename T>
void compare(const Json & expected, const T & actual, double tolerance) {
    CHECK(expected.size() == actual.size());
    for (size_t i = 0; i < std::min<size_t>(expected.size(), actual.size()); ++i)
        CHECK_NEAR(actual[i], expected[i].get<double>(), tolerance);
}

// Either all values, or the first and last 32 with three sums.
template <typename T>
void compare_summary(const Json & expected, const T & actual, double tolerance, double sum_tolerance) {
    if (expected.contains("values")) return compare(expected.at("values"), actual, tolerance);
    double sum = 0, squares = 0, weighted = 0;
    for (size_t i = 0; i < actual.size(); ++i) {
        const double x = actual[i];
        sum += x;
        squares += x * x;
        weighted += x * std::cos(0.7390851332151607 * static_cast<double>(i));
    }
    CHECK(expected.at("n").get<size_t>() == actual.size());
    for (size_t i = 0; i < 32; ++i) {
        CHECK_NEAR(actual[i], expected.at("first")[i].get<double>(), tolerance);
        CHECK_NEAR(actual[actual.size() - 32 + i], expected.at("last")[i].get<double>(), tolerance);
    }
    CHECK_NEAR(sum, expected.at("sum").get<double>(), sum_tolerance);
    CHECK_NEAR(squares, expected.at("sum_sq").get<double>(), sum_tolerance);
    CHECK_NEAR(weighted, expected.at("weighted_sum").get<double>(), sum_tolerance);
}

}  // namespace

TEST(rng_torch_words_and_uniforms) {
    const Json & file = fixtures::json("rng_torch_cpu");
    for (const Json & test : file.at("raw")) {
        TorchGenerator generator(seed_of(test));
        for (const Json & word : test.at("mt19937_u32")) CHECK(generator.next_u32() == word.get<uint32_t>());
    }
    for (const Json & test : file.at("rand")) {
        TorchGenerator generator(seed_of(test));
        const bool wide = test.at("dtype") == "float64";
        for (const Json & value : test.at("values")) {
            const double actual = wide ? generator.uniform_double() : generator.uniform_float();
            CHECK_NEAR(actual, value.get<double>(), wide ? 0 : 1e-9);
        }
    }
}

TEST(rng_torch_randn) {
    const Json & file = fixtures::json("rng_torch_cpu");
    for (const Json & test : file.at("randn")) {
        std::vector<float> out(count_of(test));
        TorchGenerator(seed_of(test)).randn(out);
        compare_summary(test, out, 1e-6, 0.01);
    }
    for (const Json & test : file.at("randn_sequences").at("cases")) {
        TorchGenerator generator(seed_of(test));
        for (size_t i = 0; i < test.at("sizes").size(); ++i) {
            std::vector<float> out(test.at("sizes")[i].get<size_t>());
            generator.randn(out);
            compare(test.at("values")[i], out, 1e-6);
        }
    }
}

TEST(rng_philox) {
    const Json & file = fixtures::json("rng_philox");
    for (const Json & test : file.at("philox_known_answers")) {
        const auto words = PhiloxGenerator::block(test.at("counter").get<std::array<uint32_t, 4>>(),
                                                  test.at("key").get<std::array<uint32_t, 2>>());
        CHECK((words == test.at("out").get<std::array<uint32_t, 4>>()));
    }
    for (const Json & test : file.at("randn")) {
        PhiloxGenerator generator(seed_of(test));
        uint32_t offset = 0;
        for (const Json & call : test.at("calls")) {
            std::vector<float> out(count_of(test)), skipped(out.size());
            generator.randn(out);
            compare_summary(call, out, 2e-6, 0.01);
            latent::fill_noise(latent::RngKind::philox, seed_of(test), offset++, skipped);
            CHECK(skipped == out);
        }
    }
}

TEST(rng_numpy) {
    const Json & file = fixtures::json("rng_numpy");
    for (const Json & test : file.at("randn")) {
        latent::NumpyGenerator generator(static_cast<uint32_t>(seed_of(test)));
        for (const Json & call : test.at("values"))
            for (const Json & value : call)
                CHECK_NEAR(generator.normal(), value.get<double>(), 1e-14 * std::max(1.0, std::fabs(value.get<double>())));
    }
    for (const Json & test : file.at("randn_large")) {
        latent::NumpyGenerator generator(static_cast<uint32_t>(seed_of(test)));
        std::vector<double> out(count_of(test));
        for (double & value : out) value = generator.normal();
        compare_summary(test, out, 1e-8, 1e-6);
    }
}

TEST(rng_rows_are_single_runs) {
    for (const auto kind : {latent::RngKind::philox, latent::RngKind::mt19937}) {
        std::vector<float> batch(3 * 64), single(64);
        latent::SeededNoise rows(kind, 0xffffffffffffffffull, 3);  // seeds wrap round
        for (int call = 0; call < 2; ++call) {
            rows.normal(batch);
            for (uint64_t row = 0; row < 3; ++row) {
                latent::fill_noise(kind, 0xffffffffffffffffull + row, static_cast<uint32_t>(call), single);
                CHECK(std::equal(single.begin(), single.end(), batch.begin() + static_cast<std::ptrdiff_t>(64 * row)));
            }
        }
    }
    CHECK(latent::parse_rng_kind("philox") == latent::RngKind::philox);
    CHECK_THROWS(latent::parse_rng_kind("mersenne"), latent::ErrorCode::invalid_argument);
}
