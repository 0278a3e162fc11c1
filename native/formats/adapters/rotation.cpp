#include <algorithm>
#include <cmath>

#include "formats/adapters/forms.h"

// OFT and BOFT: rows of a weight, or columns in PEFT's form, are rotated in blocks, each by the Cayley transform of a
// skew-symmetric matrix.

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

/// R transposed for one block of PEFT's OFT, as that program computes it: exactly, or as the first terms of the series of
/// (I + Q)(I - Q)^-1. The exact form is that of -Q.
std::vector<double> peft_block(const PeftRotation & form, const std::vector<double> & q, int64_t n,
                               const std::function<void()> & check) {
    if (!form.series) return cayley(q, n, check);
    std::vector<double> out(q.size()), power = q, next(q.size());
    const auto add = [&](double factor) {  // transposed
        for (int64_t i = 0; i < n; ++i) {
            for (int64_t j = 0; j < n; ++j) out[static_cast<size_t>(j * n + i)] += factor * power[static_cast<size_t>(i * n + j)];
        }
    };
    const auto raise = [&] {
        std::fill(next.begin(), next.end(), 0.0);
        for (int64_t i = 0; i < n; ++i) {
            if (i % 64 == 0) check();
            for (int64_t k = 0; k < n; ++k) {
                const double number = power[static_cast<size_t>(i * n + k)];
                for (int64_t j = 0; j < n; ++j)
                    next[static_cast<size_t>(i * n + j)] += number * q[static_cast<size_t>(k * n + j)];
            }
        }
        power.swap(next);
    };
    for (int64_t i = 0; i < n; ++i) out[static_cast<size_t>(i * n + i)] = 1;
    if (form.terms > 1) add(2);
    if (form.terms > 2) raise(), add(2);
    for (int term = 3; term < form.terms - 1; ++term) raise(), add(2);
    if (form.terms > 2) raise(), add(1);  // the last power counts once
    return out;
}

void transpose(std::vector<double> & m, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < i; ++j) std::swap(m[static_cast<size_t>(i * n + j)], m[static_cast<size_t>(j * n + i)]);
    }
}

/// Appends strength * (R - I), with rows and columns in another order: `at(i)` is the index in R of index i.
template <typename Order>
void append_block(const std::vector<double> & r, int64_t n, double strength, Order at, BlockMatrix & out) {
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < n; ++j) {
            const double entry = r[static_cast<size_t>(at(i) * n + at(j))] - (i == j ? 1.0 : 0.0);
            out.numbers.push_back(static_cast<float>(strength * entry));
        }
    }
}

}  // namespace

bool is_rotation(const AdapterLayer & layer) {
    return layer.has("oft_blocks");
}

bool is_input_rotation(const AdapterLayer & layer) {
    return layer.has("oft_r");
}

int64_t input_block_size(const AdaptedLayer & a) {
    const TensorInfo & stored = *a.layer->find("oft_r");
    const PeftRotation form = a.layer->rotation.value_or(PeftRotation());
    const int64_t inner = a.weight->inner();
    const int64_t given = stored.shape.size() == 2 ? stored.shape[0] : 0, numbers = given > 0 ? stored.shape[1] : 0;
    int64_t n = 1;  // n (n - 1) / 2 numbers above the diagonal
    while (n <= kLargestBlock && n * (n - 1) / 2 < numbers) ++n;
    const int64_t blocks = inner / n;
    if (numbers < 1 || n * (n - 1) / 2 != numbers || blocks * n != inner || (given != blocks && given != 1))
        misfit(a, "has " + text_of(stored) + " for " + std::to_string(inner) + " inputs");
    if (n > kLargestBlock || form.terms < 1 || form.terms > 64 || !(form.epsilon > 0))
        misfit(a, "has a rotation that is out of range: " + text_of(stored));
    return n;
}

BlockMatrix input_rotation(const AdaptedLayer & a, const std::function<void()> & check) {
    const TensorInfo & stored = *a.layer->find("oft_r");
    const PeftRotation form = a.layer->rotation.value_or(PeftRotation());
    const int64_t n = input_block_size(a), given = stored.shape[0], numbers = stored.shape[1];
    const std::vector<float> upper = a.file->read(stored);
    BlockMatrix out;
    out.order.size = n;
    for (int64_t block = 0; block < given; ++block) {
        check();
        std::vector<double> q(static_cast<size_t>(n * n));
        double squares = 0;
        const float * from = upper.data() + block * numbers;
        for (int64_t i = 0; i < n; ++i) {
            for (int64_t j = i + 1; j < n; ++j) {
                const double number = *from++;
                q[static_cast<size_t>(i * n + j)] = number, q[static_cast<size_t>(j * n + i)] = -number;
                squares += 2 * number * number;
            }
        }
        const double limit = form.epsilon / std::sqrt(static_cast<double>(given)), norm = std::sqrt(squares);
        if (form.constrained && norm > limit) {
            for (double & each : q) each *= limit / norm;
        }
        append_block(
            peft_block(form, q, n, check), n, a.strength, [](int64_t i) { return i; }, out);
    }
    return out;
}

void multiply_columns(const BlockMatrix & m, int64_t rows, int64_t inner, const std::function<void()> & check,
                      std::vector<float> & w) {
    const int64_t n = m.order.size;
    std::vector<double> sums(static_cast<size_t>(n));
    for (int64_t block = 0; block < inner / n; ++block) {
        const float * numbers = m.numbers.data() + (m.stored() > 1 ? block : 0) * n * n;
        for (int64_t row = 0; row < rows; ++row) {
            if (row % 64 == 0) check();
            float * own = w.data() + row * inner;
            for (int64_t i = 0; i < n; ++i) sums[static_cast<size_t>(i)] = own[m.order.position(block, i)];
            for (int64_t i = 0; i < n; ++i) {
                const double number = own[m.order.position(block, i)];
                for (int64_t j = 0; j < n; ++j) sums[static_cast<size_t>(j)] += number * static_cast<double>(numbers[i * n + j]);
            }
            for (int64_t i = 0; i < n; ++i) own[m.order.position(block, i)] = static_cast<float>(sums[static_cast<size_t>(i)]);
        }
    }
}

void rotate_inputs(const AdaptedLayer & a, const std::function<void()> & check, std::vector<float> & w) {
    multiply_columns(input_rotation(a, check), a.weight->rows(), a.weight->inner(), check, w);
}

std::vector<BlockMatrix> rotations(const AdaptedLayer & a, const std::function<void()> & check) {
    const TensorInfo & stored = *a.layer->find("oft_blocks");
    const std::vector<int64_t> & shape = stored.shape;
    const int64_t rows = a.weight->rows();
    const bool butterfly = shape.size() == 4;
    const int64_t n = shape.empty() ? 0 : shape.back();
    if ((shape.size() != 3 && !butterfly) || n < 1 || shape[shape.size() - 2] != n || shape[shape.size() - 3] * n != rows)
        misfit(a, "has " + text_of(stored) + " for " + std::to_string(rows) + " rows");
    if (n > kLargestBlock)
        misfit(a, "rotates blocks of more than " + std::to_string(kLargestBlock) + " rows: " + text_of(stored));
    const int64_t count = butterfly ? shape[0] : 1, blocks = rows / n;
    if (butterfly && (n % 2 != 0 || count < 1 || count > 32)) misfit(a, "has invalid butterfly stages: " + text_of(stored));
    const std::vector<double> q = skew_blocks(a, stored, n);
    std::vector<BlockMatrix> stages;
    for (int64_t stage = 0; stage < count; ++stage) {
        BlockMatrix matrix;
        matrix.order.size = n;
        if (butterfly) matrix.order.distance = (int64_t{1} << stage) * n / 2;
        if (butterfly && rows % (2 * matrix.order.distance) != 0) misfit(a, "has too many stages: " + text_of(stored));
        for (int64_t block = 0; block < blocks; ++block) {
            check();
            const auto first = q.begin() + (stage * blocks + block) * n * n;
            std::vector<double> r = cayley({first, first + n * n}, n, check);
            // OFT sums over the first index of R, BOFT over the second. Rows of BOFT's blocks alternate between the two pieces.
            if (!butterfly) transpose(r, n);
            const auto row = [&](int64_t i) { return butterfly ? i % (n / 2) * 2 + i / (n / 2) : i; };
            append_block(r, n, a.strength, row, matrix);
        }
        stages.push_back(std::move(matrix));
    }
    return stages;
}

std::vector<float> rescaled(const AdaptedLayer & a) {
    const TensorInfo * stored = a.layer->find("rescale");
    if (!stored) return {};
    const int64_t rows = a.weight->rows();
    if (stored->elements() != rows) misfit(a, "has " + text_of(*stored) + " for " + std::to_string(rows) + " rows");
    return a.file->read(*stored);
}

/// (I + m) w for rows [first, first + rows), which are `w`, of the matrix's.
void multiply_rows(const BlockMatrix & m, int64_t first, int64_t rows, int64_t inner, const std::function<void()> & check,
                   std::vector<float> & w) {
    std::vector<float> turned = w;
    const int64_t size = m.order.size;
    for (int64_t block = first / size; block < (first + rows) / size; ++block) {
        check();
        const float * numbers = m.numbers.data() + block * size * size;
        for (int64_t i = 0; i < size; ++i) {
            float * to = turned.data() + (m.order.position(block, i) - first) * inner;
            for (int64_t j = 0; j < size; ++j) {
                const float number = numbers[i * size + j], *from = w.data() + (m.order.position(block, j) - first) * inner;
                for (int64_t c = 0; c < inner; ++c) to[c] += number * from[c];
            }
        }
    }
    w.swap(turned);
}

std::vector<BlockMatrix> combined(std::vector<BlockMatrix> stages, int64_t rows, const std::function<void()> & check) {
    const int64_t count = static_cast<int64_t>(stages.size());
    if (count < 2 || count > 3) return stages;  // more stages have more numbers in one matrix than apart
    BlockMatrix all;
    const int64_t size = all.order.size = stages.back().order.distance * 2;
    for (int64_t first = 0; first < rows; first += size) {
        std::vector<float> block(static_cast<size_t>(size * size));
        for (int64_t i = 0; i < size; ++i) block[static_cast<size_t>(i * size + i)] = 1;
        for (const BlockMatrix & stage : stages) multiply_rows(stage, first, size, size, check, block);
        for (int64_t i = 0; i < size; ++i) block[static_cast<size_t>(i * size + i)] -= 1;
        all.numbers.insert(all.numbers.end(), block.begin(), block.end());
    }
    return {std::move(all)};
}

void rotate(const AdaptedLayer & a, const std::function<void()> & check, std::vector<float> & w) {
    const int64_t rows = a.weight->rows(), inner = a.weight->inner();
    for (const BlockMatrix & m : rotations(a, check)) multiply_rows(m, 0, rows, inner, check, w);
    const std::vector<float> gains = rescaled(a);
    if (!gains.empty()) scale(a, {true, gains}, w);
}

}  // namespace latent::formats
