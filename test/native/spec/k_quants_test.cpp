#include <cmath>
#include <limits>
#include <random>

#include "check.h"
#include "core/error.h"
#include "core/k_quants.h"
#include "formats/convert/quantise.h"
#include "ggml.h"

using namespace latent;

namespace {

struct Type {
    DType type;
    ggml_type ggml;
    double expected;  // relative error of Gaussian values
};
constexpr Type types[] = {
    {DType::q4_k, GGML_TYPE_Q4_K, 0.072}, {DType::q5_k, GGML_TYPE_Q5_K, 0.037}, {DType::q6_k, GGML_TYPE_Q6_K, 0.018}};

std::vector<uint8_t> ours(DType type, const std::vector<float> & values) {
    std::vector<uint8_t> out(values.size() / 256 * static_cast<size_t>(dtype_block_bytes(type)));
    quantise_k(type, values.data(), static_cast<int64_t>(values.size()), out.data());
    return out;
}

std::vector<uint8_t> of_ggml(const Type & type, const std::vector<float> & values) {
    std::vector<uint8_t> out(values.size() / 256 * static_cast<size_t>(dtype_block_bytes(type.type)));
    ggml_quantize_init(type.ggml);
    ggml_quantize_chunk(type.ggml, values.data(), out.data(), 0, static_cast<int64_t>(values.size() / 256), 256, nullptr);
    return out;
}

/// Relative to the values, root mean square.
double error(DType type, const std::vector<uint8_t> & blocks, const std::vector<float> & values) {
    std::vector<float> read(values.size());
    formats::dequantise(type, blocks.data(), read.data(), static_cast<int64_t>(values.size()));
    double sum = 0, power = 0;
    for (size_t i = 0; i < values.size(); ++i) {
        sum += std::pow(double{read[i]} - double{values[i]}, 2);
        power += double{values[i]} * double{values[i]};
    }
    return std::sqrt(sum / power);
}

}  // namespace

TEST(k_quants_are_as_good_as_those_of_ggml) {
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    std::vector<float> gauss(256 * 200), tails(gauss.size()), shifted(gauss.size()), positive(gauss.size());
    for (size_t i = 0; i < gauss.size(); ++i) {
        gauss[i] = 0.02f * normal(generator);
        tails[i] = std::pow(normal(generator), 3.0f);
        shifted[i] = -3.0f + normal(generator);
        positive[i] = std::fabs(normal(generator)) * 1e4f;
    }
    for (const Type & type : types) {
        for (const auto * values : {&gauss, &tails, &shifted, &positive}) {
            const double mine = error(type.type, ours(type.type, *values), *values),
                         theirs = error(type.type, of_ggml(type, *values), *values);
            if (values == &gauss) std::printf("     %s: %.4f, ggml %.4f\n", dtype_name(type.type), mine, theirs);
            CHECK(mine <= 1.001 * theirs);
            if (values == &gauss) CHECK(mine < type.expected);
        }
    }
}

TEST(k_quants_of_blocks_that_are_special) {
    const float infinite = std::numeric_limits<float>::infinity();
    for (const Type & type : types) {
        const std::vector<float> zeros(256, 0.0f);
        std::vector<float> read(256);
        formats::dequantise(type.type, ours(type.type, zeros).data(), read.data(), 256);
        CHECK(read == zeros);
        for (const float value : {1.0f, -2.5f, 0.25f}) {  // a constant, which every format holds nearly
            const std::vector<float> same(256, value);
            CHECK(error(type.type, ours(type.type, same), same) < 0.02);
        }
        std::vector<float> lone(256, 0.0f);
        lone[77] = -12.0f;
        CHECK(error(type.type, ours(type.type, lone), lone) < 0.02);
        // Anything may come out of these, but nothing else may happen.
        for (const float value : {std::nanf(""), infinite, -infinite, 3e38f, 1e-42f}) {
            std::vector<float> odd(256, 0.5f);
            odd[3] = value, odd[200] = -value;
            CHECK(ours(type.type, odd).size() == static_cast<size_t>(dtype_block_bytes(type.type)));
        }
    }
    CHECK_THROWS(ours(DType::q8_0, std::vector<float>(256)), ErrorCode::internal);
    std::vector<uint8_t> out(1000);
    CHECK_THROWS(quantise_k(DType::q4_k, std::vector<float>(300).data(), 300, out.data()), ErrorCode::internal);
}

TEST(block_types_are_ggmls) {
    int found = 0;
    for (int number = 0; number < GGML_TYPE_COUNT; ++number) {
        DType type;
        if (!latent::dtype_from_ggml_number(number, type)) continue;
        ++found;
        const ggml_type theirs = static_cast<ggml_type>(number);
        CHECK(latent::dtype_ggml_number(type) == number);
        CHECK(latent::dtype_block(type) == ggml_blck_size(theirs));
        CHECK(latent::dtype_block_bytes(type) == static_cast<int64_t>(ggml_type_size(theirs)));
        CHECK(latent::dtype_is_quantised(type) == ggml_is_quantized(theirs));
        if (ggml_is_quantized(theirs)) CHECK(ggml_get_type_traits(theirs)->to_float != nullptr);
    }
    CHECK(found == 32);
    DType type;
    CHECK(!latent::dtype_from_ggml_number(-1, type) && !latent::dtype_from_ggml_number(999, type));
}
