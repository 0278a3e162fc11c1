#include "formats/adapters/forms.h"

#include <algorithm>
#include <cmath>

namespace latent::formats {
namespace {

/// Tucker decomposition of a factor: core [r, r, kh, kw], b [r, in] on its second axis, a [r, out] on its first.
Matrix with_core(const AdaptedLayer & a, const TensorInfo & core, const Matrix & first, const Matrix & second) {
    const int64_t taps = std::max<int64_t>(product_of(core.shape, 2), 1);
    if (core.shape.size() != 4 || core.shape[0] != first.rows || core.shape[1] != second.rows ||
        first.columns > a.weight->rows() || taps > a.weight->inner() || second.columns > a.weight->inner() / taps)
        misfit(a, "has a core that does not fit: " + text_of(core));
    const std::vector<float> t = a.file->read(core);
    // [first rank, in, taps], then its first axis by `first`.
    Matrix inner{first.rows, second.columns * taps, {}}, turned{first.columns, first.rows, {}};
    inner.numbers.resize(static_cast<size_t>(inner.rows * inner.columns));
    for (int64_t i = 0; i < first.rows; ++i) {
        for (int64_t j = 0; j < second.rows; ++j) {
            const float * from = t.data() + (i * second.rows + j) * taps;
            for (int64_t c = 0; c < second.columns; ++c) {
                const float number = second.numbers[static_cast<size_t>(j * second.columns + c)];
                float * to = inner.numbers.data() + i * inner.columns + c * taps;
                for (int64_t k = 0; k < taps; ++k) to[k] += from[k] * number;
            }
        }
    }
    turned.numbers.resize(first.numbers.size());
    for (int64_t i = 0; i < first.rows; ++i) {
        for (int64_t j = 0; j < first.columns; ++j)
            turned.numbers[static_cast<size_t>(j * first.rows + i)] = first.numbers[static_cast<size_t>(i * first.columns + j)];
    }
    return multiplied(turned, inner);
}

int64_t input_channels(const Parameter & weight) {
    return weight.shape.size() > 1 ? weight.shape[1] : weight.inner();
}

/// Whether two products of this rank are less work than changing the whole weight.
bool is_low(const Parameter & weight, int64_t rank) {
    return rank * (weight.rows() + weight.inner()) <= weight.rows() * weight.inner() / 2;
}

struct Hadamard {
    Matrix a1, b1, a2, b2;
    bool cores = false;
    float factor = 1;
};

Hadamard read_hadamard(const AdaptedLayer & a) {
    Hadamard h;
    h.a1 = read_matrix(a, need(a, "hada_w1_a", "hada_w1_b")), h.b1 = read_matrix(a, need(a, "hada_w1_b", "hada_w1_a"));
    h.a2 = read_matrix(a, need(a, "hada_w2_a", "hada_w1_a")), h.b2 = read_matrix(a, need(a, "hada_w2_b", "hada_w1_a"));
    h.cores = a.layer->has("hada_t1") || a.layer->has("hada_t2");
    h.factor = static_cast<float>(factor_of(a, h.b1.rows));
    if (h.cores) return h;
    const bool fit = h.a1.columns == h.b1.rows && h.a2.columns == h.b2.rows && h.a1.rows == a.weight->rows() &&
                     h.a2.rows == a.weight->rows() && h.b1.columns == a.weight->inner() && h.b2.columns == a.weight->inner();
    if (!fit) misfit(a, "has factors that do not fit a weight " + shape_text(a.weight->shape));
    return h;
}

/// One factor of a Kronecker product: a matrix, or the product of two.
struct Factor {
    bool low = false;
    Matrix whole, a, b;
    int64_t rows() const { return low ? a.rows : whole.rows; }
    int64_t columns() const { return low ? b.columns : whole.columns; }
    /// The smallest number of columns of a left factor, with the factors left and right of it.
    int64_t rank() const { return low ? a.columns : std::min(whole.rows, whole.columns); }
    Matrix left() const { return low ? a : whole.columns <= whole.rows ? whole : identity(whole.rows); }
    Matrix right() const { return low ? b : whole.columns <= whole.rows ? identity(whole.columns) : whole; }
    Matrix product() const { return low ? multiplied(a, b) : whole; }

    static Matrix identity(int64_t size) {
        Matrix out{size, size, std::vector<float>(static_cast<size_t>(size * size))};
        for (int64_t i = 0; i < size; ++i) out.numbers[static_cast<size_t>(i * size + i)] = 1;
        return out;
    }
};

struct Kronecker {
    Factor first, second;
    float factor = 1;
};

Kronecker read_kronecker(const AdaptedLayer & a) {
    Kronecker k;
    int64_t rank = 0;
    const auto read = [&](Factor & out, const char * whole, const char * left, const char * right) {
        if (const TensorInfo * tensor = a.layer->find(whole)) {
            out.whole = read_matrix(a, *tensor);
            return;
        }
        const TensorInfo &l = need(a, left, "a Kronecker factor"), &r = need(a, right, left);
        const Matrix first = read_matrix(a, l), second = read_matrix(a, r);
        rank = second.rows;
        if (const TensorInfo * core = std::string(left) == "lokr_w2_a" ? a.layer->find("lokr_t2") : nullptr) {
            out.whole = with_core(a, *core, first, second);
            return;
        }
        if (first.columns != second.rows) misfit(a, "has two different ranks: " + text_of(l) + ", " + text_of(r));
        out.low = true, out.a = first, out.b = second;
    };
    read(k.first, "lokr_w1", "lokr_w1_a", "lokr_w1_b");
    read(k.second, "lokr_w2", "lokr_w2_a", "lokr_w2_b");
    if (k.first.rows() * k.second.rows() != a.weight->rows() || k.first.columns() * k.second.columns() != a.weight->inner())
        misfit(a, "has Kronecker factors that do not fit a weight " + shape_text(a.weight->shape));
    if (rank > 0) k.factor = static_cast<float>(factor_of(a, rank));
    return k;
}

Matrix kronecker_of(const Matrix & a, const Matrix & b) {
    Matrix out{a.rows * b.rows, a.columns * b.columns, {}};
    out.numbers.resize(static_cast<size_t>(out.rows * out.columns));
    for (int64_t i = 0; i < a.rows; ++i) {
        for (int64_t r = 0; r < b.rows; ++r) {
            float * row = out.numbers.data() + (i * b.rows + r) * out.columns;
            for (int64_t j = 0; j < a.columns; ++j) {
                const float number = a.numbers[static_cast<size_t>(i * a.columns + j)];
                for (int64_t c = 0; c < b.columns; ++c)
                    row[j * b.columns + c] = number * b.numbers[static_cast<size_t>(r * b.columns + c)];
            }
        }
    }
    return out;
}

LowRank as_low_rank(Matrix up, Matrix down, float factor) {
    LowRank out;
    out.rank = down.rows;
    out.down = std::move(down.numbers);
    out.up = std::move(up.numbers);
    for (float & number : out.up) number *= factor;
    return out;
}

}  // namespace

Matrix read_matrix(const AdaptedLayer & a, const TensorInfo & tensor) {
    if (tensor.shape.size() < 2 || tensor.elements() < 1) misfit(a, "has " + text_of(tensor) + " where a matrix is expected");
    return {tensor.shape[0], product_of(tensor.shape, 1), a.file->read(tensor)};
}

Matrix multiplied(const Matrix & a, const Matrix & b) {
    Matrix out{a.rows, b.columns, std::vector<float>(static_cast<size_t>(a.rows * b.columns))};
    for (int64_t i = 0; i < a.rows; ++i) {
        float * to = out.numbers.data() + i * b.columns;
        for (int64_t k = 0; k < a.columns; ++k) {
            const float number = a.numbers[static_cast<size_t>(i * a.columns + k)];
            const float * from = b.numbers.data() + k * b.columns;
            for (int64_t j = 0; j < b.columns; ++j) to[j] += number * from[j];
        }
    }
    return out;
}

// ---- LoHa and LoKr ---------------------------------------------------------------------------------------------------

bool is_hadamard(const AdapterLayer & layer) {
    return layer.has("hada_w1_a") || layer.has("hada_w1_b") || layer.has("hada_w2_a") || layer.has("hada_w2_b");
}

/// (a1 b1) * (a2 b2) elementwise has the product of both ranks: every column (row) of one times every one of the other.
std::optional<LowRank> hadamard_low_rank(const AdaptedLayer & a) {
    const Hadamard h = read_hadamard(a);
    const int64_t r1 = h.a1.columns, r2 = h.a2.columns, rank = r1 * r2, rows = a.weight->rows(), inner = a.weight->inner();
    if (h.cores || !is_low(*a.weight, rank)) return std::nullopt;
    Matrix up{rows, rank, std::vector<float>(static_cast<size_t>(rows * rank))};
    Matrix down{rank, inner, std::vector<float>(static_cast<size_t>(rank * inner))};
    for (int64_t i = 0; i < r1; ++i) {
        for (int64_t j = 0; j < r2; ++j) {
            const int64_t at = i * r2 + j;
            for (int64_t row = 0; row < rows; ++row)
                up.numbers[static_cast<size_t>(row * rank + at)] =
                    h.a1.numbers[static_cast<size_t>(row * r1 + i)] * h.a2.numbers[static_cast<size_t>(row * r2 + j)];
            for (int64_t c = 0; c < inner; ++c)
                down.numbers[static_cast<size_t>(at * inner + c)] =
                    h.b1.numbers[static_cast<size_t>(i * inner + c)] * h.b2.numbers[static_cast<size_t>(j * inner + c)];
        }
    }
    return as_low_rank(std::move(up), std::move(down), h.factor);
}

std::vector<float> hadamard(const AdaptedLayer & a) {
    const Hadamard h = read_hadamard(a);
    const auto factor = [&](const char * core, const Matrix & first, const Matrix & second) {
        return h.cores ? with_core(a, need(a, core, "a core"), first, second) : multiplied(first, second);
    };
    Matrix out = factor("hada_t1", h.a1, h.b1);
    const Matrix other = factor("hada_t2", h.a2, h.b2);
    if (out.rows != a.weight->rows() || out.columns != a.weight->inner() || other.numbers.size() != out.numbers.size())
        misfit(a, "has factors that do not fit a weight " + shape_text(a.weight->shape));
    for (size_t i = 0; i < out.numbers.size(); ++i) out.numbers[i] *= other.numbers[i] * h.factor;
    return std::move(out.numbers);
}

bool is_kronecker(const AdapterLayer & layer) {
    return std::any_of(layer.tensors.begin(), layer.tensors.end(),
                       [](const auto & each) { return each.first.rfind("lokr_", 0) == 0; });
}

/// kron(L1 R1, L2 R2) = kron(L1, L2) kron(R1, R2).
std::optional<LowRank> kronecker_low_rank(const AdaptedLayer & a) {
    const Kronecker k = read_kronecker(a);
    if (!is_low(*a.weight, k.first.rank() * k.second.rank())) return std::nullopt;
    return as_low_rank(kronecker_of(k.first.left(), k.second.left()), kronecker_of(k.first.right(), k.second.right()), k.factor);
}

std::optional<KroneckerProduct> kronecker_product(const AdaptedLayer & a) {
    if (input_channels(*a.weight) != a.weight->inner()) return std::nullopt;
    Kronecker k = read_kronecker(a);
    const int64_t columns = k.first.columns();
    KroneckerProduct out;
    out.rows = k.first.rows(), out.columns = columns, out.first = k.first.product().numbers;
    double factor = static_cast<double>(k.factor) * a.strength;
    int64_t work = out.rows * columns * k.second.rows();
    const auto add = [&](Matrix & matrix) {  // within the range of f16
        float largest = 0;
        for (const float number : matrix.numbers) largest = std::max(largest, std::fabs(number));
        for (float & number : matrix.numbers) number /= largest > 0 ? largest : 1;
        factor *= static_cast<double>(largest), work += columns * matrix.rows * matrix.columns;
        out.second.push_back({matrix.rows, matrix.columns, std::move(matrix.numbers)});
    };
    if (k.second.low) {
        add(k.second.b), add(k.second.a);
    } else {
        add(k.second.whole);
    }
    for (float & number : out.first) number = static_cast<float>(factor * static_cast<double>(number));
    return work <= a.weight->elements() / 2 ? std::optional<KroneckerProduct>(std::move(out)) : std::nullopt;
}

std::vector<float> kronecker(const AdaptedLayer & a) {
    const Kronecker k = read_kronecker(a);
    Matrix out = kronecker_of(k.first.product(), k.second.product());
    for (float & number : out.numbers) number *= k.factor;
    return std::move(out.numbers);
}

// ---- GLoRA -----------------------------------------------------------------------------------------------------------

bool is_glora(const AdapterLayer & layer) {
    return layer.has("a1") || layer.has("a2") || layer.has("b1") || layer.has("b2");
}

LowRank glora(const AdaptedLayer & a, const std::vector<float> & base) {
    Matrix a1 = read_matrix(a, need(a, "a1", "a2")), a2 = read_matrix(a, need(a, "a2", "a1"));
    Matrix b1 = read_matrix(a, need(a, "b1", "a1")), b2 = read_matrix(a, need(a, "b2", "a1"));
    const int64_t rows = a.weight->rows(), inner = a.weight->inner();
    const int64_t channels = a.weight->shape.size() > 1 ? a.weight->shape[1] : inner, taps = inner / channels;
    const bool is_new = a1.rows == channels && a2.columns == channels && b1.rows == rows && b2.columns == inner;
    if (!is_new) std::swap(a1, a2), std::swap(b1, b2);
    const int64_t rank = a2.rows;
    if (a1.rows != channels || a1.columns != rank || a2.columns != channels || b1.rows != rows || b1.columns != b2.rows ||
        b2.columns != inner) {
        misfit(a, "has factors that do not fit a weight " + shape_text(a.weight->shape));
    }
    // W a1 sums over the channels of each tap, so its product with a2 has one rank per tap.
    LowRank out;
    out.rank = rank * taps + b2.rows;
    const float factor = static_cast<float>(factor_of(a, rank));
    out.up.resize(static_cast<size_t>(rows * out.rank));
    out.down.resize(static_cast<size_t>(out.rank * inner));
    for (int64_t row = 0; row < rows; ++row) {
        float * up = out.up.data() + row * out.rank;
        for (int64_t t = 0; t < taps; ++t) {
            for (int64_t c = 0; c < channels; ++c) {
                const float number = base[static_cast<size_t>(row * inner + c * taps + t)] * factor;
                for (int64_t r = 0; r < rank; ++r) up[t * rank + r] += number * a1.numbers[static_cast<size_t>(c * rank + r)];
            }
        }
        for (int64_t r = 0; r < b2.rows; ++r) up[rank * taps + r] = b1.numbers[static_cast<size_t>(row * b2.rows + r)] * factor;
    }
    for (int64_t t = 0; t < taps; ++t) {
        for (int64_t r = 0; r < rank; ++r) {
            for (int64_t c = 0; c < channels; ++c)
                out.down[static_cast<size_t>((t * rank + r) * inner + c * taps + t)] =
                    a2.numbers[static_cast<size_t>(r * channels + c)];
        }
    }
    std::copy(b2.numbers.begin(), b2.numbers.end(), out.down.begin() + rank * taps * inner);
    return out;
}

// ---- (IA)^3 and DoRA -------------------------------------------------------------------------------------------------

void scale_columns(const std::vector<float> & gains, int64_t rows, int64_t inner, std::vector<float> & w) {
    const int64_t taps = inner / static_cast<int64_t>(gains.size());
    for (int64_t row = 0; row < rows; ++row) {
        for (int64_t i = 0; i < inner; ++i) w[static_cast<size_t>(row * inner + i)] *= gains[static_cast<size_t>(i / taps)];
    }
}

void scale(const AdaptedLayer & a, const Gains & gains, std::vector<float> & w) {
    const int64_t rows = a.weight->rows(), inner = a.weight->inner();
    if (!gains.by_row) return scale_columns(gains.numbers, rows, inner, w);
    for (int64_t row = 0; row < rows; ++row) {
        for (int64_t i = 0; i < inner; ++i) w[static_cast<size_t>(row * inner + i)] *= gains.numbers[static_cast<size_t>(row)];
    }
}

Gains ia3_gains(const AdaptedLayer & a) {
    const TensorInfo &vector = need(a, "weight", "on_input"), &flag = need(a, "on_input", "weight");
    const std::vector<float> on_input = flag.elements() == 1 ? a.file->read(flag) : std::vector<float>{};
    if (on_input.empty()) misfit(a, "has an on_input that is not a single number: " + text_of(flag));
    Gains gains;
    gains.by_row = on_input[0] == 0;
    if (vector.elements() != (gains.by_row ? a.weight->rows() : input_channels(*a.weight)))
        misfit(a, "has " + text_of(vector) + " for a weight " + shape_text(a.weight->shape));
    gains.numbers = a.file->read(vector);
    for (float & number : gains.numbers) number = static_cast<float>(1 + a.strength * static_cast<double>(number));
    return gains;
}

float dora_part(const AdaptedLayer & a) {
    return a.layer->has("magnitude") ? static_cast<float>(a.strength) : 1.0f;
}

Gains dora_gains(const AdaptedLayer & a, const std::vector<float> & w) {
    const bool peft = a.layer->has("magnitude");
    const TensorInfo & stored = *a.layer->find(peft ? "magnitude" : "dora_scale");
    const int64_t rows = a.weight->rows(), inner = a.weight->inner(), channels = input_channels(*a.weight);
    Gains gains;
    gains.by_row = peft || (!stored.shape.empty() && stored.shape[0] == rows);
    if (stored.elements() != (gains.by_row ? rows : channels))
        misfit(a, "has " + text_of(stored) + " for a weight " + shape_text(a.weight->shape));
    gains.numbers = a.file->read(stored);
    std::vector<double> squares(gains.numbers.size());
    for (int64_t row = 0; row < rows; ++row) {
        for (int64_t i = 0; i < inner; ++i) {
            const double number = w[static_cast<size_t>(row * inner + i)];
            squares[static_cast<size_t>(gains.by_row ? row : i / (inner / channels))] += number * number;
        }
    }
    for (size_t i = 0; i < squares.size(); ++i) {
        const double norm = std::sqrt(squares[i]) + (peft ? 0.0 : std::ldexp(1.0, -23));
        const double gain = norm > 0 ? static_cast<double>(gains.numbers[i]) / norm : 1.0;
        gains.numbers[i] = static_cast<float>(peft ? gain : a.strength * (gain - 1) + 1);
    }
    return gains;
}

void decompose(const AdaptedLayer & a, const std::vector<float> & difference, std::vector<float> & w) {
    const float part = dora_part(a);
    for (size_t i = 0; i < w.size(); ++i) w[i] += part * difference[i];
    scale(a, dora_gains(a, w), w);
}

}  // namespace latent::formats
