#include "cuda/adapter_rows.h"

#include <array>

#include "check.h"
#include "cuda/cuda_api.h"
#include "device_values.h"

// What adapters do to rows of channels, against float64.

using namespace cuda_test;
using namespace latent::cuda;

namespace {

template <typename T>
constexpr double kRounding = std::is_same_v<T, float>  ? 3e-6
                             : std::is_same_v<T, bf16> ? 3e-3
                                                       : 4e-4;

template <typename T>
void expect_rows(const std::string & what, const Bytes & y, const std::vector<double> & expected) {
    const double error = error_of(from_device<T>(y), expected);
    if (!(error < kRounding<T>)) check::fail(__FILE__, __LINE__, what + ": " + std::to_string(error));
}

const float * floats(const Bytes & bytes) {
    return static_cast<const float *>(bytes.data());
}

template <typename T>
void check_scales() {
    Numbers numbers(11);
    for (const int channels : {24, 21, 3}) {
        const int rows = 13, stride = padded8(channels);
        const auto x = as<T>(numbers.list(static_cast<size_t>(rows) * channels)),
                   gain = numbers.list(static_cast<size_t>(channels), 2), shift = numbers.list(static_cast<size_t>(channels));
        const Bytes dx = to_device<T>(padded_rows(x, channels, stride)),
                    dgain = to_device<float>(padded_rows(gain, channels, stride)),
                    dshift = to_device<float>(padded_rows(shift, channels, stride));
        for (const bool gains : {true, false}) {
            for (const bool shifts : {true, false}) {
                const Bytes y = room<T>(static_cast<size_t>(rows) * stride);
                scale_channels<T>({dx.data(), gains ? floats(dgain) : nullptr, shifts ? floats(dshift) : nullptr, y.data(),
                                   static_cast<size_t>(rows), stride},
                                  nullptr);
                std::vector<double> expected(static_cast<size_t>(rows) * stride, 0.0);
                for (int i = 0; i < rows * channels; ++i) {
                    const int c = i % channels;
                    expected[i / channels * stride + c] =
                        static_cast<double>(x[i]) * (gains ? gain[c] : 1) + (shifts ? shift[c] : 0);
                }
                expect_rows<T>("scale " + std::to_string(channels), y, expected);
            }
        }
    }
}

template <typename T>
void check_gates() {
    Numbers numbers(12);
    for (const int channels : {24, 5}) {
        const int rows = 9, stride = padded8(channels), x_stride = padded8(2 * channels);
        const auto x = as<T>(numbers.list(static_cast<size_t>(rows) * 2 * channels, 3));
        const Bytes dx = to_device<T>(padded_rows(x, 2 * channels, x_stride)), y = room<T>(static_cast<size_t>(rows) * stride);
        gate_channels<T>({dx.data(), y.data(), static_cast<size_t>(rows), channels, x_stride, stride}, nullptr);
        std::vector<double> expected(static_cast<size_t>(rows) * stride, 0.0);
        for (int i = 0; i < rows * channels; ++i) {
            const int row = i / channels, c = i % channels;
            expected[row * stride + c] = x[row * 2 * channels + c] * gate(x[row * 2 * channels + channels + c], 2);
        }
        expect_rows<T>("gate " + std::to_string(channels), y, expected);
    }
}

template <typename T>
void check_folds() {
    Numbers numbers(13);
    for (const auto & [channels, folded] : {std::pair<int, int>{20, 5}, {5, 20}, {24, 8}, {6, 9}}) {
        const int rows = 12, parts = rows * channels / folded;
        const auto x = as<T>(numbers.list(static_cast<size_t>(rows) * channels));
        const Bytes dx = to_device<T>(padded_rows(x, channels, padded8(channels))),
                    y = room<T>(static_cast<size_t>(parts) * padded8(folded));
        fold_rows<T>({dx.data(), y.data(), static_cast<size_t>(parts), channels, padded8(channels), folded, padded8(folded)},
                     nullptr);
        const auto rows_of_y = padded_rows(x, folded, padded8(folded));
        CHECK(error_of(from_device<T>(y), {rows_of_y.begin(), rows_of_y.end()}) == 0);
    }
}

enum class MixMistake { none, transposed, no_residual, other_group };

template <typename T>
double error_of_mix(int out, int in, int width, int type, bool with_residual, MixMistake mistake) {
    Numbers numbers(static_cast<uint32_t>(14 + out * in + width));
    const int rows = 11, from = in * width, to = out * width, stride = padded8(to);
    auto x = as<T>(numbers.list(static_cast<size_t>(rows) * from)),
         residual = as<T>(numbers.list(static_cast<size_t>(rows) * to));
    auto w = numbers.list(static_cast<size_t>(out) * in, 2);
    if (type == LATENT_CUDA_F16) w = as<f16>(w);
    if (type == LATENT_CUDA_BF16) w = as<bf16>(w);
    std::vector<double> expected(static_cast<size_t>(rows) * stride, 0.0);
    for (int row = 0; row < rows; ++row) {
        for (int c = 0; c < to; ++c) {
            double sum = with_residual && mistake != MixMistake::no_residual ? residual[row * to + c] : 0;
            for (int j = 0; j < in; ++j) {
                const int group = mistake == MixMistake::other_group ? (j + 1) % in : j;
                const int at = mistake == MixMistake::transposed ? j * out + c / width : c / width * in + j;
                sum += static_cast<double>(w[at]) * x[row * from + group * width + c % width];
            }
            expected[row * stride + c] = sum;
        }
    }
    const Bytes dx = to_device<T>(padded_rows(x, from, padded8(from))),
                dresidual = to_device<T>(padded_rows(residual, to, stride)), y = room<T>(static_cast<size_t>(rows) * stride),
                dw = type == LATENT_CUDA_F16    ? to_device<f16>(w)
                     : type == LATENT_CUDA_BF16 ? to_device<bf16>(w)
                                                : to_device<float>(w);
    mix_groups<T>({dx.data(), dw.data(), with_residual ? dresidual.data() : nullptr, y.data(), static_cast<size_t>(rows), type,
                   out, in, width, padded8(from), stride},
                  nullptr);
    return error_of(from_device<T>(y), expected);
}

template <typename T>
void check_mixes() {
    for (const auto & [out, in, width] : {std::array<int, 3>{8, 4, 16}, {2, 3, 5}, {5, 7, 8}, {1, 6, 3}, {3, 1, 9}}) {
        for (const int type : {LATENT_CUDA_F32, LATENT_CUDA_F16, LATENT_CUDA_BF16}) {
            for (const bool residual : {false, true}) {
                const double error = error_of_mix<T>(out, in, width, type, residual, MixMistake::none);
                if (!(error < kRounding<T>)) check::fail(__FILE__, __LINE__, "mix of " + std::to_string(error));
            }
        }
    }
    for (const int width : {5, 16}) {
        for (const MixMistake mistake : {MixMistake::transposed, MixMistake::no_residual, MixMistake::other_group})
            CHECK(error_of_mix<T>(2, 3, width, LATENT_CUDA_F32, true, mistake) > kRounding<T>);
    }
}

template <typename T>
void check_all_adapter_rows() {
    check_scales<T>();
    check_gates<T>();
    check_folds<T>();
    check_mixes<T>();
}

}  // namespace

TEST(adapter_rows) {
    check_all_adapter_rows<bf16>();
    check_all_adapter_rows<f16>();
    check_all_adapter_rows<float>();
}
