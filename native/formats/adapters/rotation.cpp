#include <algorithm>
#include <cmath>

#include "formats/adapters/forms.h"

// OFT and BOFT: rows of a weight are rotated in blocks, each by the Cayley transform of a skew-symmetric matrix.

namespace latent::formats {
namespace {

constexpr int64_t kLargestBlock = 4096;  // rows; the cost of solving grows with the third power

/// (I + Q)(I - Q)^-1 by elimination with pivoting; I - Q is never singular if Q is skew-symmetric.
std::vector<double> cayley(const std::vector<double> & q, int64_t n, const std::function<void()> & check) {
    std::vector<double> left(q.size()), right(q.size());
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < n; ++j) {
            const size_t at = static_cast<size_t>(i * n + j);
            left[at] = (i == j ? 1.0 : 0.0) - q[at];
            right[at] = (i == j ? 1.0 : 0.0) + q[at];
        }
    }
    const auto row = [n](std::vector<double> & m, int64_t i) { return m.data() + i * n; };
    for (int64_t column = 0; column < n; ++column) {
        if (column % 16 == 0) check();
        int64_t pivot = column;
        for (int64_t i = column + 1; i < n; ++i) {
            if (std::fabs(row(left, i)[column]) > std::fabs(row(left, pivot)[column])) pivot = i;
        }
        std::swap_ranges(row(left, column), row(left, column) + n, row(left, pivot));
        std::swap_ranges(row(right, column), row(right, column) + n, row(right, pivot));
        const double inverse = 1.0 / row(left, column)[column];
        for (int64_t i = 0; i < n; ++i) {
            const double factor = row(left, i)[column] * inverse;
            if (i == column || factor == 0) continue;
            for (int64_t j = column; j < n; ++j) row(left, i)[j] -= factor * row(left, column)[j];
            for (int64_t j = 0; j < n; ++j) row(right, i)[j] -= factor * row(right, column)[j];
        }
    }
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < n; ++j) row(right, i)[j] /= row(left, i)[i];
    }
    return right;
}

/// Q of every block, within the layer's limit.
std::vector<double> skew_blocks(const AdaptedLayer & a, const TensorInfo & stored, int64_t n) {
    const std::vector<float> blocks = a.file->read(stored);
    std::vector<double> q(blocks.size());
    double squares = 0;
    for (size_t first = 0; first < q.size(); first += static_cast<size_t>(n * n)) {
        for (int64_t i = 0; i < n; ++i) {
            for (int64_t j = 0; j < n; ++j) {
                const size_t at = first + static_cast<size_t>(i * n + j);
                q[at] = static_cast<double>(blocks[at]) - static_cast<double>(blocks[first + static_cast<size_t>(j * n + i)]);
                squares += q[at] * q[at];
            }
        }
    }
    const TensorInfo * alpha = a.layer->find("alpha");
    const double number = alpha && alpha->elements() == 1 ? static_cast<double>(a.file->read(*alpha)[0]) : 0.0;
    const double limit = number * static_cast<double>(a.weight->rows()), norm = std::sqrt(squares);
    const bool kohya = a.layer->name.rfind("oft_", 0) == 0;  // a limit of 0 means no rotation to kohya, no limit to LyCORIS
    if ((limit > 0 || (kohya && alpha)) && norm > limit) {
        for (double & each : q) each *= std::max(limit, 0.0) / norm;
    }
    return q;
}

void rescale(const AdaptedLayer & a, std::vector<float> & w) {
    const TensorInfo * stored = a.layer->find("rescale");
    if (!stored) return;
    const int64_t rows = a.weight->rows(), inner = a.weight->inner();
    if (stored->elements() != rows) misfit(a, "has " + text_of(*stored) + " for " + std::to_string(rows) + " rows");
    const std::vector<float> numbers = a.file->read(*stored);
    for (int64_t row = 0; row < rows; ++row) {
        for (int64_t i = 0; i < inner; ++i) w[static_cast<size_t>(row * inner + i)] *= numbers[static_cast<size_t>(row)];
    }
}

}  // namespace

bool is_rotation(const AdapterLayer & layer) {
    return layer.has("oft_blocks");
}

void rotate(const AdaptedLayer & a, const std::function<void()> & check, std::vector<float> & w) {
    const TensorInfo & stored = *a.layer->find("oft_blocks");
    const std::vector<int64_t> & shape = stored.shape;
    const int64_t rows = a.weight->rows(), inner = a.weight->inner();
    const bool butterfly = shape.size() == 4;
    const int64_t n = shape.empty() ? 0 : shape.back();
    if ((shape.size() != 3 && !butterfly) || n < 1 || shape[shape.size() - 2] != n || shape[shape.size() - 3] * n != rows)
        misfit(a, "has " + text_of(stored) + " for " + std::to_string(rows) + " rows");
    if (n > kLargestBlock)
        misfit(a, "rotates blocks of more than " + std::to_string(kLargestBlock) + " rows: " + text_of(stored));
    const int64_t stages = butterfly ? shape[0] : 1, blocks = rows / n;
    if (butterfly && (n % 2 != 0 || stages > 32)) misfit(a, "has invalid butterfly stages: " + text_of(stored));
    const std::vector<double> q = skew_blocks(a, stored, n);
    std::vector<int64_t> order(static_cast<size_t>(rows));
    std::vector<float> turned(w.size());
    for (int64_t stage = 0; stage < stages; ++stage) {
        const int64_t half = butterfly ? (int64_t{1} << stage) * n / 2 : 0;
        if (butterfly && (half < 1 || rows % (2 * half) != 0)) misfit(a, "has too many stages: " + text_of(stored));
        for (int64_t i = 0; i < rows; ++i) {  // the position in the weight of row i of the blocks
            order[static_cast<size_t>(i)] = !butterfly ? i : i / (2 * half) * (2 * half) + i % 2 * half + i % (2 * half) / 2;
        }
        for (int64_t block = 0; block < blocks; ++block) {
            check();
            const auto first = q.begin() + (stage * blocks + block) * n * n;
            const std::vector<double> r = cayley({first, first + n * n}, n, check);
            for (int64_t i = 0; i < n; ++i) {
                float * to = turned.data() + order[static_cast<size_t>(block * n + i)] * inner;
                std::fill(to, to + inner, 0.0f);
                for (int64_t j = 0; j < n; ++j) {
                    // OFT sums over the first index of R, BOFT over the second.
                    const double own = i == j ? 1.0 : 0.0, entry = r[static_cast<size_t>(butterfly ? i * n + j : j * n + i)];
                    const float number = static_cast<float>(a.strength * (entry - own) + own);
                    const float * from = w.data() + order[static_cast<size_t>(block * n + j)] * inner;
                    for (int64_t c = 0; c < inner; ++c) to[c] += number * from[c];
                }
            }
        }
        w.swap(turned);
    }
    rescale(a, w);
}

}  // namespace latent::formats
