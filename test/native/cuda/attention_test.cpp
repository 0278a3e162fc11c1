#include "cuda/attention.h"

#include "check.h"
#include "device_values.h"

using namespace cuda_test;
using namespace latent::cuda;

namespace {

struct HeadCase {
    int batch, heads, dim, queries, keys;
    bool causal;
    float spread;  // of the scores
};

template <typename T>
void check_attention(const HeadCase & c, unsigned seed) {
    test_seed(seed);
    Numbers numbers(seed);
    const int width = c.heads * c.dim, k_stride = width + 8;  // rows of keys lie apart
    const float scale = 1.0f / std::sqrt(static_cast<float>(c.dim));
    const auto q = as<T>(numbers.list(static_cast<size_t>(c.batch) * c.queries * width, c.spread));
    const auto k = as<T>(numbers.list(static_cast<size_t>(c.batch) * c.keys * width)), v = as<T>(numbers.list(k.size()));
    const Bytes dq = to_device<T>(q), dk = to_device<T>(padded_rows(k, width, k_stride)), dv = to_device<T>(v),
                y = room<T>(q.size());
    attention<T>({dq.data(), dk.data(), dv.data(), y.data(), width, k_stride, width, width, c.batch, c.heads, c.dim, c.queries,
                  c.keys, scale, c.causal},
                 nullptr);
    std::vector<double> expected(q.size()), s(static_cast<size_t>(c.keys));
    for (int n = 0; n < c.batch; ++n) {
        for (int h = 0; h < c.heads; ++h) {
            for (int i = 0; i < c.queries; ++i) {
                const float * query = &q[(static_cast<size_t>(n) * c.queries + i) * width + h * c.dim];
                const int seen = c.causal ? std::min(i + 1, c.keys) : c.keys;
                double top = -1e300, sum = 0;
                for (int j = 0; j < seen; ++j) {
                    const float * key = &k[(static_cast<size_t>(n) * c.keys + j) * width + h * c.dim];
                    s[j] = 0;
                    for (int d = 0; d < c.dim; ++d) s[j] += static_cast<double>(query[d]) * key[d] * scale;
                    top = std::fmax(top, s[j]);
                }
                for (int j = 0; j < seen; ++j) sum += s[j] = std::exp(s[j] - top);
                for (int d = 0; d < c.dim; ++d) {
                    double mixed = 0;
                    for (int j = 0; j < seen; ++j)
                        mixed += s[j] / sum * v[(static_cast<size_t>(n) * c.keys + j) * width + h * c.dim + d];
                    expected[(static_cast<size_t>(n) * c.queries + i) * width + h * c.dim + d] = mixed;
                }
            }
        }
    }
    const auto got = from_device<T>(y);
    const double error = error_of(got, expected), worst = worst_of(got, expected), unit = std::is_same_v<T, bf16> ? 4e-3 : 6e-4;
    if (!(error < unit && worst < 12 * unit))
        check::fail(__FILE__, __LINE__,
                    "heads of " + std::to_string(c.dim) + ", " + std::to_string(c.queries) + " on " + std::to_string(c.keys) +
                        ": " + std::to_string(error) + ", worst " + std::to_string(worst));
}

const HeadCase kHeadCases[] = {
    {2, 2, 40, 150, 150, false, 1}, {1, 2, 40, 20, 77, false, 8},   {1, 2, 64, 77, 77, true, 2},   {1, 1, 64, 130, 200, false, 1},
    {1, 2, 80, 70, 77, false, 2},   {1, 1, 160, 64, 100, false, 1}, {1, 1, 512, 33, 70, false, 1}, {1, 1, 512, 40, 40, true, 1},
    {1, 3, 8, 5, 1, false, 1},      {1, 1, 96, 17, 65, false, 1},   {1, 1, 128, 66, 33, true, 1},  {1, 1, 256, 9, 40, false, 1},
    {1, 1, 200, 9, 40, false, 4},   {2, 1, 24, 128, 64, false, 30}, {1, 2, 32, 40, 70, false, 1},  {1, 2, 48, 130, 90, false, 2},
};

}  // namespace

TEST(attention) {
    unsigned seed = 1;
    for (const HeadCase & c : kHeadCases) check_attention<bf16>(c, seed++);
    check_attention<f16>(kHeadCases[1], 30);
    check_attention<f16>(kHeadCases[6], 31);
}
