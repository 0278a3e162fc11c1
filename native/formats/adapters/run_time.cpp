#include "formats/adapters/run_time.h"

#include <algorithm>
#include <cmath>

#include "formats/adapters/forms.h"

namespace latent::formats {
namespace {

/// Appends a product to the sums. They precede the gain, which is undone for products of later adapters; blocks cannot be.
bool append(LowRank low, int64_t rows, ParameterChange & c) {
    if (!c.after.empty()) return false;
    for (size_t row = 0; row < c.gain.size(); ++row) {
        constexpr float kLeast = 1e-4f;
        if (!(std::fabs(c.gain[row]) > kLeast)) return false;
        for (int64_t r = 0; r < low.rank; ++r)
            low.up[row * static_cast<size_t>(low.rank) + static_cast<size_t>(r)] /= c.gain[row];
    }
    const int64_t rank = c.rank + low.rank;
    std::vector<float> up(static_cast<size_t>(rows * rank));
    for (int64_t row = 0; row < rows; ++row) {
        std::copy_n(c.up.begin() + row * c.rank, c.rank, up.begin() + row * rank);
        std::copy_n(low.up.begin() + row * low.rank, low.rank, up.begin() + row * rank + c.rank);
    }
    c.up = std::move(up), c.rank = rank;
    c.down.insert(c.down.end(), low.down.begin(), low.down.end());
    return true;
}

void multiply(std::vector<float> & gains, const std::vector<float> & more) {
    if (gains.empty()) gains.assign(more.size(), 1.0f);
    for (size_t i = 0; i < gains.size(); ++i) gains[i] *= more[i];
}

/// I + m becomes diag(gains) (I + m).
bool scale_rows(BlockMatrix & m, const std::vector<float> & gains) {
    const int64_t size = m.order.size, blocks = static_cast<int64_t>(gains.size()) / size;
    if (m.stored() != blocks) return false;  // one block for all
    for (int64_t b = 0; b < blocks; ++b) {
        for (int64_t i = 0; i < size; ++i) {
            const float gain = gains[static_cast<size_t>(m.order.position(b, i))];
            float * row = m.numbers.data() + (b * size + i) * size;
            for (int64_t j = 0; j < size; ++j) row[j] *= gain;
            row[i] += gain - 1;
        }
    }
    return true;
}

bool scale_outputs(const std::vector<float> & gains, ParameterChange & c) {
    if (!c.after.empty()) return scale_rows(c.after.back(), gains);
    multiply(c.gain, gains);
    return true;
}

/// Products read x itself, which changes of the input would have to reach.
bool scale_inputs(const Parameter & weight, const std::vector<float> & gains, ParameterChange & c) {
    if (!c.products.empty()) return false;
    scale_columns(gains, c.rank, weight.inner(), c.down);
    multiply(c.input_gain, gains);
    return true;
}

bool scale(const Parameter & weight, const Gains & gains, ParameterChange & c) {
    return gains.by_row ? scale_outputs(gains.numbers, c) : scale_inputs(weight, gains.numbers, c);
}

/// The weight with an adapter's own sum is scaled to the stored norms.
bool decompose(const AdaptedLayer & a, LowRank low, const BaseNumbers & base, ParameterChange & c) {
    if (!c.gain.empty() || !c.input_gain.empty() || !c.before.empty() || !c.after.empty() || !c.products.empty()) return false;
    const int64_t rows = a.weight->rows();
    for (float & number : low.up) number *= dora_part(a);
    append(std::move(low), rows, c);
    std::vector<float> w = multiplied({rows, c.rank, c.up}, {c.rank, a.weight->inner(), c.down}).numbers;
    const std::vector<float> & own = base();
    for (size_t i = 0; i < w.size(); ++i) w[i] += own[i];
    return scale(*a.weight, dora_gains(a, w), c);
}

/// Whether blocks with so many numbers, one number per channel and column of a block, are less work than half of the layer.
bool is_little(int64_t numbers, const Parameter & weight) {
    return numbers <= weight.elements() / 2;
}

/// Whether the numbers can be kept in f16: a rescaled rotation may have any.
bool in_range(const std::vector<BlockMatrix> & matrices) {
    constexpr float kMost = 32768;
    return std::all_of(matrices.begin(), matrices.end(), [](const BlockMatrix & matrix) {
        return std::all_of(matrix.numbers.begin(), matrix.numbers.end(), [](float number) { return std::fabs(number) <= kMost; });
    });
}

bool rotate_outputs(const AdaptedLayer & a, const std::function<void()> & check, ParameterChange & c) {
    if (!is_little(need(a, "oft_blocks", "rescale").elements(), *a.weight)) return false;
    std::vector<BlockMatrix> stages = rotations(a, check);
    if (is_little(2 * stages.back().order.distance * a.weight->rows(), *a.weight))
        stages = combined(std::move(stages), a.weight->rows(), check);
    for (BlockMatrix & stage : stages) c.after.push_back(std::move(stage));
    const std::vector<float> gains = rescaled(a);
    return gains.empty() || scale_outputs(gains, c);
}

bool rotate_inputs_of(const AdaptedLayer & a, const std::function<void()> & check, ParameterChange & c) {
    if (!c.products.empty() || !is_little(input_block_size(a) * a.weight->inner(), *a.weight)) return false;
    BlockMatrix matrix = input_rotation(a, check);
    multiply_columns(matrix, c.rank, a.weight->inner(), check, c.down);
    if (!c.input_gain.empty() && !scale_rows(matrix, c.input_gain)) return false;
    c.input_gain.clear();
    c.before.insert(c.before.begin(), std::move(matrix));
    return true;
}

/// What an adapter adds to the weight: a Kronecker product, else a low-rank one, with DoRA scaled afterwards.
bool add_product(const AdaptedLayer & a, bool transforms, const BaseNumbers & base, ParameterChange & c) {
    const AdapterLayer & layer = *a.layer;
    if (transforms && is_kronecker(layer) && !is_decomposed(layer) && c.gain.empty() && c.after.empty()) {
        if (std::optional<KroneckerProduct> product = kronecker_product(a)) {
            c.products.push_back(std::move(*product));
            return true;
        }
    }
    std::optional<LowRank> low = added_low_rank(a, base);
    if (!low) return false;
    if (is_decomposed(layer)) return decompose(a, std::move(*low), base, c);
    for (float & number : low->up) number *= static_cast<float>(a.strength);
    return append(std::move(*low), a.weight->rows(), c);
}

}  // namespace

bool add_at_run_time(const AdaptedLayer & a, bool transforms, const BaseNumbers & base, const std::function<void()> & check,
                     ParameterChange & c) {
    const AdapterLayer & layer = *a.layer;
    const bool ruled_out = layer.has("diff") || layer.has("w_norm") || layer.has("set") || !a.weight->is_matrix();
    const bool transformed = is_decomposed(layer) || layer.has("on_input") || is_rotation(layer) || is_input_rotation(layer);
    if (ruled_out || (transformed && !transforms)) return false;
    if (adds_matrix(layer) && !add_product(a, transforms, base, c)) return false;
    if (layer.has("on_input") && !scale(*a.weight, ia3_gains(a), c)) return false;
    if (is_rotation(layer) && !rotate_outputs(a, check, c)) return false;
    if (is_input_rotation(layer) && !rotate_inputs_of(a, check, c)) return false;
    return in_range(c.before) && in_range(c.after);
}

}  // namespace latent::formats
