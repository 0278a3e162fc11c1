#include "formats/adapters/deltas.h"

#include "formats/adapters/forms.h"

namespace latent::formats {
namespace {

/// Tucker decomposition of a convolution: the taps are in the middle factor, [rank, rank, kh, kw].
std::vector<float> with_middle(const AdaptedLayer & a, const TensorInfo & mid, const std::vector<float> & down, int64_t rank,
                               int64_t inner) {
    const int64_t taps = product_of(mid.shape, 2), channels = a.weight->shape.size() > 1 ? a.weight->shape[1] : inner;
    if (mid.shape.size() != 4 || mid.shape[0] != rank || mid.shape[1] != rank || taps * channels != inner ||
        static_cast<int64_t>(down.size()) != rank * channels) {
        misfit(a, "has a middle factor that does not fit: " + text_of(mid) + " for a weight " + shape_text(a.weight->shape));
    }
    const std::vector<float> m = a.file->read(mid);
    std::vector<float> out(static_cast<size_t>(rank * inner));
    for (int64_t i = 0; i < rank; ++i) {
        for (int64_t j = 0; j < rank; ++j) {
            const float * from = m.data() + (i * rank + j) * taps;
            for (int64_t c = 0; c < channels; ++c) {
                const float number = down[static_cast<size_t>(j * channels + c)];
                float * to = out.data() + i * inner + c * taps;
                for (int64_t t = 0; t < taps; ++t) to[t] += from[t] * number;
            }
        }
    }
    return out;
}

/// The rows of a tensor that are for this weight.
std::vector<float> own_rows(const AdaptedLayer & a, const TensorInfo & tensor) {
    std::vector<float> numbers = a.file->read(tensor);
    if (a.parts == 1) return numbers;
    const size_t count = numbers.size() / static_cast<size_t>(a.parts), first = count * static_cast<size_t>(a.part);
    return {numbers.begin() + static_cast<std::ptrdiff_t>(first), numbers.begin() + static_cast<std::ptrdiff_t>(first + count)};
}

void add_difference(const AdaptedLayer & a, const TensorInfo & difference, double strength, std::vector<float> & w) {
    const int64_t count = static_cast<int64_t>(w.size()) * a.parts;
    if (difference.elements() != count)
        misfit(a, "has " + text_of(difference) + " for " + std::to_string(count) + " values of the model");
    const std::vector<float> numbers = own_rows(a, difference);
    for (size_t i = 0; i < w.size(); ++i) w[i] += static_cast<float>(strength * static_cast<double>(numbers[i]));
}

/// up * down of a LoRA, without strength.
LowRank lora(const AdaptedLayer & a) {
    const TensorInfo &down = need(a, "down", "up"), &up = need(a, "up", "down");
    const int64_t rows = a.weight->rows(), inner = a.weight->inner();
    LowRank out;
    out.rank = down.shape.empty() ? 0 : down.shape[0];
    const int64_t above = up.shape.size() < 2 ? 0 : product_of(up.shape, 1);
    if (out.rank < 1 || above < 1) misfit(a, "has no rank: " + text_of(down) + ", " + text_of(up));
    if (out.rank != above) {
        misfit(a, "has two different ranks: " + std::to_string(out.rank) + " of " + text_of(down) + " and " +
                      std::to_string(above) + " of " + text_of(up));
    }
    const TensorInfo * mid = a.layer->find("mid");
    if (up.shape[0] != rows * a.parts || (!mid && product_of(down.shape, 1) != inner)) {
        misfit(a, "has a different size than the model's: " + text_of(down) + " and " + text_of(up) + " for a weight " +
                      shape_text(a.weight->shape));
    }
    out.down = a.file->read(down);
    if (mid) out.down = with_middle(a, *mid, out.down, out.rank, inner);
    out.up = own_rows(a, up);
    const float factor = static_cast<float>(factor_of(a, out.rank));
    for (float & number : out.up) number *= factor;
    return out;
}

bool is_lora(const AdapterLayer & layer) {
    return layer.has("down") || layer.has("up");
}

/// The change in the weight's shape, without strength; empty if nothing is added.
std::vector<float> added(const AdaptedLayer & a, const BaseNumbers & base) {
    if (const std::optional<LowRank> low = added_low_rank(a, base)) {
        return multiplied({a.weight->rows(), low->rank, low->up}, {low->rank, a.weight->inner(), low->down}).numbers;
    }
    if (is_hadamard(*a.layer)) return hadamard(a);
    if (is_kronecker(*a.layer)) return kronecker(a);
    return {};
}

/// reshape_weight: the shape to which the weight is padded with zeros before it is changed. Only that of the model's own weight
/// can be met; another one would make another network.
std::string reshaped(const AdapterFile & file, const TensorInfo & stored, const Parameter & weight) {
    constexpr int64_t most = 8;
    std::vector<int64_t> shape;
    if (stored.elements() >= 1 && stored.elements() <= most) {
        for (const float size : file.read(stored)) shape.push_back(size >= 1 && size < 1e6f ? static_cast<int64_t>(size) : 0);
    }
    if (shape == weight.shape) return "";
    return "reshape_weight to " + (shape.empty() ? "an unknown shape" : shape_text(shape)) + "; the model's weight is " +
           shape_text(weight.shape);
}

/// PEFT's OFT needs its configuration: the two forms of the same numbers rotate in opposite directions.
std::string peft_rotation(const AdapterLayer & layer, const Parameter & weight) {
    if (!layer.rotation) return "PEFT's OFT without its adapter_config.json (use_cayley_neumann), which tells how it rotates";
    const bool linear = weight.is_matrix() && (weight.shape.size() == 2 || product_of(weight.shape, 2) == 1);
    return linear ? "" : "PEFT's OFT of a convolution larger than 1x1, whose merged form differs from the trained one";
}

}  // namespace

const TensorInfo & need(const AdaptedLayer & a, const char * role, const char * beside) {
    const TensorInfo * tensor = a.layer->find(role);
    if (!tensor) misfit(a, std::string("has \"") + beside + "\" and no \"" + role + "\"");
    return *tensor;
}

double factor_of(const AdaptedLayer & a, int64_t rank) {
    const TensorInfo * alpha = a.layer->find("alpha");
    if (!alpha) return a.layer->factor > 0 ? a.layer->factor : 1.0;
    const std::vector<float> value = alpha->elements() == 1 ? a.file->read(*alpha) : std::vector<float>{};
    if (value.empty()) misfit(a, "has an alpha that is not a single number: " + text_of(*alpha));
    return static_cast<double>(value[0]) / static_cast<double>(rank);
}

bool is_decomposed(const AdapterLayer & layer) {
    return layer.has("dora_scale") || layer.has("magnitude");
}

bool adds_matrix(const AdapterLayer & layer) {
    return is_lora(layer) || is_hadamard(layer) || is_kronecker(layer) || is_glora(layer);
}

std::optional<LowRank> added_low_rank(const AdaptedLayer & a, const BaseNumbers & base) {
    if (!a.weight->is_matrix())
        misfit(a, "changes a matrix, but the model's parameter is not one: " + shape_text(a.weight->shape));
    if (is_lora(*a.layer)) return lora(a);
    if (is_hadamard(*a.layer)) return hadamard_low_rank(a);
    if (is_kronecker(*a.layer)) return kronecker_low_rank(a);
    if (is_glora(*a.layer)) return glora(a, base());
    return std::nullopt;
}

bool changes_weight(const AdapterLayer & layer) {
    return adds_matrix(layer) || is_rotation(layer) || layer.has("on_input") || layer.has("diff") || layer.has("w_norm") ||
           layer.has("set") || is_input_rotation(layer);
}

bool changes_bias(const AdapterLayer & layer) {
    return layer.has("diff_b") || layer.has("b_norm") || layer.has("up_bias");
}

std::string not_applied(const AdapterFile & file, const AdapterLayer & layer, const Parameter & weight, int parts) {
    std::string why;
    if (const TensorInfo * shape = layer.find("reshape")) why = reshaped(file, *shape, weight);
    if (why.empty() && is_input_rotation(layer)) why = peft_rotation(layer, weight);
    const bool whole = is_hadamard(layer) || is_kronecker(layer) || is_glora(layer) || is_decomposed(layer) ||
                       is_rotation(layer) || layer.has("on_input") || layer.has("w_norm");
    if (why.empty() && parts > 1 && whole) why = "a method that changes fused weights as a whole";
    if (!why.empty()) return why;
    return changes_weight(layer) || changes_bias(layer) ? "" : "an unknown method";
}

void change_weight(const AdaptedLayer & a, const BaseNumbers & base, const std::function<void()> & check,
                   std::vector<float> & w) {
    if (const TensorInfo * set = a.layer->find("set")) {
        if (set->elements() != static_cast<int64_t>(w.size()) * a.parts)
            misfit(a, "has " + text_of(*set) + " for a weight " + shape_text(a.weight->shape));
        w = own_rows(a, *set);
    }
    for (const char * role : {"diff", "w_norm"}) {
        if (const TensorInfo * difference = a.layer->find(role)) add_difference(a, *difference, a.strength, w);
    }
    if (adds_matrix(*a.layer)) {
        const std::vector<float> difference = added(a, base);
        if (is_decomposed(*a.layer)) {
            decompose(a, difference, w);
        } else {
            for (size_t i = 0; i < w.size(); ++i) w[i] += static_cast<float>(a.strength) * difference[i];
        }
    }
    if (a.layer->has("on_input")) scale(a, ia3_gains(a), w);
    if (is_rotation(*a.layer)) rotate(a, check, w);
    if (is_input_rotation(*a.layer)) rotate_inputs(a, check, w);
}

void change_bias(const AdaptedLayer & a, std::vector<float> & bias) {
    for (const char * role : {"diff_b", "b_norm"}) {
        if (const TensorInfo * difference = a.layer->find(role)) add_difference(a, *difference, a.strength, bias);
    }
    if (const TensorInfo * own = a.layer->find("up_bias")) {
        const TensorInfo & down = need(a, "down", "lora_B.bias");
        if (!down.shape.empty() && down.shape[0] > 0) add_difference(a, *own, a.strength * factor_of(a, down.shape[0]), bias);
    }
}

}  // namespace latent::formats
