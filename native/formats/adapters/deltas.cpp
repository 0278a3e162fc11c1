#include "formats/adapters/deltas.h"

#include "core/text.h"

namespace latent::formats {
namespace {

int64_t product_of(const std::vector<int64_t> & shape, size_t from = 0) {
    int64_t product = 1;
    for (size_t i = from; i < shape.size(); ++i) product *= shape[i];
    return product;
}

[[noreturn]] void misfit(const AdaptedLayer & a, const std::string & why) {
    throw Error(ErrorCode::model_format, a.file->name() + ": layer \"" + a.layer->name.substr(0, 200) + "\" " + why,
                Json{{"layer", a.layer->name.substr(0, 200)}}.dump(-1, ' ', false, Json::error_handler_t::replace));
}

const TensorInfo & need(const AdaptedLayer & a, const char * role, const char * beside) {
    const TensorInfo * tensor = a.layer->find(role);
    if (!tensor) misfit(a, std::string("has \"") + beside + "\" and no \"" + role + "\"");
    return *tensor;
}

std::string text_of(const TensorInfo & tensor) {
    return "\"" + tensor.name.substr(0, 200) + "\" " + shape_text(tensor.shape);
}

/// alpha / rank, or what a configuration says; 1 where nobody says anything.
double factor_of(const AdaptedLayer & a, int64_t rank) {
    const TensorInfo * alpha = a.layer->find("alpha");
    if (!alpha) return a.layer->factor > 0 ? a.layer->factor : 1.0;
    const std::vector<float> value = alpha->elements() == 1 ? a.file->read(*alpha) : std::vector<float>{};
    if (value.empty()) misfit(a, "has an alpha that is not one number: " + text_of(*alpha));
    return static_cast<double>(value[0]) / static_cast<double>(rank);
}

/// Tucker's form of a convolution: the taps are in the middle, [rank, rank, kh, kw].
std::vector<float> with_middle(const AdaptedLayer & a, const TensorInfo & mid, const std::vector<float> & down, int64_t rank,
                               int64_t inner) {
    const int64_t taps = product_of(mid.shape, 2), channels = a.weight->shape.size() > 1 ? a.weight->shape[1] : inner;
    if (mid.shape.size() != 4 || mid.shape[0] != rank || mid.shape[1] != rank || taps * channels != inner ||
        static_cast<int64_t>(down.size()) != rank * channels) {
        misfit(a, "has a middle that does not fit: " + text_of(mid) + " for a weight " + shape_text(a.weight->shape));
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

void add_difference(const AdaptedLayer & a, const TensorInfo & difference, double strength, std::vector<float> & w) {
    if (difference.elements() != static_cast<int64_t>(w.size()))
        misfit(a, "has " + text_of(difference) + " for " + std::to_string(w.size()) + " numbers of the model");
    const std::vector<float> numbers = a.file->read(difference);
    for (size_t i = 0; i < w.size(); ++i) w[i] += static_cast<float>(strength * static_cast<double>(numbers[i]));
}

}  // namespace

bool is_low_rank(const AdapterLayer & layer) {
    return (layer.has("down") || layer.has("up")) && not_applied(layer).empty();
}

bool changes_weight(const AdapterLayer & layer) {
    for (const char * role : {"down", "up", "diff", "w_norm", "set"}) {
        if (layer.has(role)) return true;
    }
    return false;
}

bool changes_bias(const AdapterLayer & layer) {
    return layer.has("diff_b") || layer.has("b_norm") || layer.has("up_bias");
}

std::string not_applied(const AdapterLayer & layer) {
    if (layer.has("dora_scale") || layer.has("magnitude")) return "DoRA";
    if (layer.has("reshape")) return "reshape_weight";
    if (layer.has("oft_r")) return "PEFT's OFT, which turns the inputs";
    if (layer.has("oft_blocks")) return "OFT";
    if (layer.has("on_input")) return "(IA)^3";
    for (const auto & entry : layer.tensors) {
        const std::string & role = entry.first;
        if (role.rfind("hada_", 0) == 0) return "LoHa";
        if (role.rfind("lokr_", 0) == 0) return "LoKr";
        if (role == "a1" || role == "a2" || role == "b1" || role == "b2") return "GLoRA";
    }
    return changes_weight(layer) || changes_bias(layer) ? "" : "an unknown form";
}

LowRank low_rank_of(const AdaptedLayer & a) {
    const TensorInfo &down = need(a, "down", "up"), &up = need(a, "up", "down");
    const int64_t rows = a.weight->rows(), inner = a.weight->inner();
    if (!a.weight->is_matrix()) misfit(a, "has a low rank for a parameter that is no matrix");
    LowRank out;
    out.rank = down.shape.empty() ? 0 : down.shape[0];
    const int64_t above = up.shape.size() < 2 ? 0 : product_of(up.shape, 1);
    if (out.rank < 1 || above < 1) misfit(a, "has no rank: " + text_of(down) + ", " + text_of(up));
    if (out.rank != above)
        misfit(a, "has two ranks: " + std::to_string(out.rank) + " of " + text_of(down) + " and " + std::to_string(above) +
                      " of " + text_of(up));
    const TensorInfo * mid = a.layer->find("mid");
    if (up.shape[0] != rows || (!mid && product_of(down.shape, 1) != inner)) {
        misfit(a, "is of another size than the model's: " + text_of(down) + " and " + text_of(up) + " for a weight " +
                      shape_text(a.weight->shape));
    }
    out.down = a.file->read(down);
    if (mid) out.down = with_middle(a, *mid, out.down, out.rank, inner);
    out.up = a.file->read(up);
    const float factor = static_cast<float>(a.strength * factor_of(a, out.rank));
    for (float & number : out.up) number *= factor;
    return out;
}

void change_weight(const AdaptedLayer & a, const std::vector<float> &, std::vector<float> & w) {
    if (const TensorInfo * set = a.layer->find("set")) {
        if (set->elements() != static_cast<int64_t>(w.size()))
            misfit(a, "has " + text_of(*set) + " for a weight " + shape_text(a.weight->shape));
        w = a.file->read(*set);
    }
    for (const char * role : {"diff", "w_norm"}) {
        if (const TensorInfo * difference = a.layer->find(role)) add_difference(a, *difference, a.strength, w);
    }
    if (!is_low_rank(*a.layer)) return;
    const LowRank low = low_rank_of(a);
    const int64_t rows = a.weight->rows(), inner = a.weight->inner();
    for (int64_t row = 0; row < rows; ++row) {
        for (int64_t r = 0; r < low.rank; ++r) {
            const float number = low.up[static_cast<size_t>(row * low.rank + r)];
            const float * from = low.down.data() + r * inner;
            float * to = w.data() + row * inner;
            for (int64_t i = 0; i < inner; ++i) to[i] += number * from[i];
        }
    }
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
