#include "cuda/norm.h"

#include "check.h"
#include "device_values.h"

using namespace cuda_test;
using namespace latent::cuda;

namespace {

template <typename T>
constexpr double unit_of() {
    return std::is_same_v<T, float> ? 3e-6 : std::is_same_v<T, bf16> ? 3e-3 : 4e-4;
}

struct NormCase {
    const char * what;
    int batch, pixels, c1, c2, groups, activation;
    bool extras;
    float away;  // mean of the numbers, in deviations
};

template <typename T>
void check_group_norm(const NormCase & c, unsigned seed) {
    test_seed(seed);
    Numbers numbers(seed);
    const int channels = c.c1 + c.c2, stride = padded8(c.c1) + c.c2, each = channels / c.groups;
    std::vector<float> x(static_cast<size_t>(c.batch) * c.pixels * channels);
    for (float & v : x) v = numbers.next() + c.away;
    x = as<T>(x);
    const auto weight = numbers.list(static_cast<size_t>(channels)), bias = numbers.list(static_cast<size_t>(channels));
    const auto scale = numbers.list(static_cast<size_t>(c.batch) * channels), shift = numbers.list(scale.size());
    std::vector<float> x1, x2;
    for (size_t i = 0; i < x.size(); ++i) (static_cast<int>(i % channels) < c.c1 ? x1 : x2).push_back(x[i]);

    const Bytes dx1 = to_device<T>(padded_rows(x1, c.c1, padded8(c.c1))), dx2 = to_device<T>(x2);
    const Bytes dw = to_device<float>(padded_rows(weight, channels, stride)),
                db = to_device<float>(padded_rows(bias, channels, stride));
    const Bytes ds = to_device<float>(padded_rows(scale, channels, stride)),
                dt = to_device<float>(padded_rows(shift, channels, stride));
    const Bytes y = room<T>(static_cast<size_t>(c.batch) * c.pixels * stride);
    GroupNormArgs p;
    p.x1 = dx1.data(), p.x2 = dx2.data(), p.c1 = padded8(c.c1), p.c2 = c.c2, p.channels = channels;
    p.batch = c.batch, p.pixels = c.pixels, p.groups = c.groups, p.eps = 1e-5f, p.activation = c.activation;
    p.weight = static_cast<const float *>(dw.data()), p.bias = static_cast<const float *>(db.data()), p.y = y.data();
    if (c.extras) p.scale = static_cast<const float *>(ds.data()), p.shift = static_cast<const float *>(dt.data());
    p.extra_stride = stride;
    plan_group_norm(p, 4);
    const Bytes moments = room<float>(group_norm_workspace(p) / sizeof(float));
    p.moments = static_cast<float *>(moments.data());
    group_norm<T>(p, nullptr);

    std::vector<double> expected(static_cast<size_t>(c.batch) * c.pixels * stride, 0.0);
    for (int n = 0; n < c.batch; ++n) {
        for (int g = 0; g < c.groups; ++g) {
            double sum = 0, squares = 0;
            const double count = static_cast<double>(each) * c.pixels;
            const auto at = [&](int pixel, int i) {
                return (static_cast<size_t>(n) * c.pixels + pixel) * channels + g * each + i;
            };
            for (int q = 0; q < c.pixels; ++q) {
                for (int i = 0; i < each; ++i) sum += x[at(q, i)];
            }
            for (int q = 0; q < c.pixels; ++q) {
                for (int i = 0; i < each; ++i) squares += (x[at(q, i)] - sum / count) * (x[at(q, i)] - sum / count);
            }
            for (int q = 0; q < c.pixels; ++q) {
                for (int i = 0; i < each; ++i) {
                    const int channel = g * each + i;
                    double v = (x[at(q, i)] - sum / count) / std::sqrt(squares / count + 1e-5) * weight[channel] + bias[channel];
                    if (c.extras) v = v * (1.0 + scale[n * channels + channel]) + shift[n * channels + channel];
                    expected[(static_cast<size_t>(n) * c.pixels + q) * stride + channel] = gate(v, c.activation);
                }
            }
        }
    }
    const auto got = from_device<T>(y);
    const double error = error_of(got, expected), worst = worst_of(got, expected);
    if (!(error < unit_of<T>() && worst < 8 * unit_of<T>()))
        check::fail(__FILE__, __LINE__, std::string(c.what) + ": " + std::to_string(error) + ", worst " + std::to_string(worst));
}

const NormCase kNormCases[] = {
    {"32 groups of 10", 2, 35, 320, 0, 32, 1, false, 0},
    {"groups across two sources", 2, 21, 64, 32, 32, 1, false, 0},
    {"far from zero", 1, 50, 64, 0, 32, 0, false, 12},
    {"scale and shift", 2, 9, 96, 0, 32, 1, true, 0},
    {"one pixel", 2, 1, 64, 0, 32, 0, false, 0},
    {"odd channels", 1, 40, 20, 0, 5, 0, false, 0},
    {"more channels than threads hold", 1, 5, 1280, 1280, 32, 1, false, 0},
    {"many slices", 1, 1600, 64, 0, 8, 0, false, 3},
};

}  // namespace

TEST(group_norm) {
    unsigned seed = 1;
    for (const NormCase & c : kNormCases) check_group_norm<bf16>(c, seed++);
    check_group_norm<f16>(kNormCases[1], 20);
}

template <typename T>
static void check_layer_norm(int rows, int dim) {
    Numbers numbers(static_cast<uint32_t>(dim));
    const int stride = padded8(dim);
    std::vector<float> x(static_cast<size_t>(rows) * dim);
    for (float & v : x) v = numbers.next(2) + 3;
    x = as<T>(x);
    const auto weight = numbers.list(static_cast<size_t>(dim)), bias = numbers.list(static_cast<size_t>(dim));
    const Bytes dx = to_device<T>(padded_rows(x, dim, stride)), dw = to_device<float>(padded_rows(weight, dim, stride)),
                db = to_device<float>(padded_rows(bias, dim, stride)), y = room<T>(static_cast<size_t>(rows) * stride);
    layer_norm<T>({dx.data(), static_cast<const float *>(dw.data()), static_cast<const float *>(db.data()), y.data(), rows, dim,
                   stride, 1e-5f},
                  nullptr);
    std::vector<double> expected(static_cast<size_t>(rows) * stride, 0.0);
    for (int r = 0; r < rows; ++r) {
        double sum = 0, squares = 0;
        for (int i = 0; i < dim; ++i) sum += x[r * dim + i];
        for (int i = 0; i < dim; ++i) squares += (x[r * dim + i] - sum / dim) * (x[r * dim + i] - sum / dim);
        for (int i = 0; i < dim; ++i)
            expected[r * stride + i] = (x[r * dim + i] - sum / dim) / std::sqrt(squares / dim + 1e-5) * weight[i] + bias[i];
    }
    const double error = error_of(from_device<T>(y), expected);
    if (!(error < unit_of<T>()))
        check::fail(__FILE__, __LINE__, "layer norm of " + std::to_string(dim) + ": " + std::to_string(error));
}

TEST(layer_norm) {
    check_layer_norm<bf16>(13, 320);
    check_layer_norm<bf16>(3, 1285);
    check_layer_norm<f16>(9, 40);
    check_layer_norm<float>(2, 770);
}
