#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/text.h"
#include "formats/adapters/deltas.h"

// Adapter methods besides LoRA, computed as LyCORIS, kohya and PEFT do.

namespace latent::formats {

[[noreturn]] inline void misfit(const AdaptedLayer & a, const std::string & why) {
    throw Error(ErrorCode::model_format, a.file->name() + ": layer \"" + a.layer->name.substr(0, 200) + "\" " + why,
                Json{{"layer", a.layer->name.substr(0, 200)}}.dump(-1, ' ', false, Json::error_handler_t::replace));
}

/// "name" [4, 320]
inline std::string text_of(const TensorInfo & tensor) {
    return "\"" + tensor.name.substr(0, 200) + "\" " + shape_text(tensor.shape);
}

inline int64_t product_of(const std::vector<int64_t> & shape, size_t from = 0) {
    int64_t product = 1;
    for (size_t i = from; i < shape.size(); ++i) product *= shape[i];
    return product;
}

/// A tensor of the layer; throws if it is missing.
const TensorInfo & need(const AdaptedLayer & a, const char * role, const char * beside);
/// alpha / rank, or the configuration's value; 1 if neither is given.
double factor_of(const AdaptedLayer & a, int64_t rank);

/// Rows of numbers.
struct Matrix {
    int64_t rows = 0, columns = 0;
    std::vector<float> numbers;
};
/// A matrix: [first size, product of the others].
Matrix read_matrix(const AdaptedLayer & a, const TensorInfo & tensor);
Matrix multiplied(const Matrix & a, const Matrix & b);

bool is_hadamard(const AdapterLayer & layer);
bool is_kronecker(const AdapterLayer & layer);
bool is_glora(const AdapterLayer & layer);
bool is_rotation(const AdapterLayer & layer);
bool is_input_rotation(const AdapterLayer & layer);

// The change of a weight of `a`, without strength; as a low-rank product if that is less than half the work.
std::optional<LowRank> hadamard_low_rank(const AdaptedLayer & a);
std::vector<float> hadamard(const AdaptedLayer & a);
std::optional<LowRank> kronecker_low_rank(const AdaptedLayer & a);
std::vector<float> kronecker(const AdaptedLayer & a);
/// W a1 a2 + b1 b2, a low-rank change computed from the weight itself.
LowRank glora(const AdaptedLayer & a, const std::vector<float> & base);

/// OFT and BOFT: rotates the rows of `w`.
void rotate(const AdaptedLayer & a, const std::function<void()> & check, std::vector<float> & w);
/// PEFT's OFT: rotates the columns of `w`, which are the layer's inputs.
void rotate_inputs(const AdaptedLayer & a, const std::function<void()> & check, std::vector<float> & w);
/// (IA)^3: scales rows or columns of `w`.
void scale_axis(const AdaptedLayer & a, std::vector<float> & w);
/// DoRA: `w` becomes w + difference, rescaled to the stored norms. `difference` is without strength.
void decompose(const AdaptedLayer & a, const std::vector<float> & difference, std::vector<float> & w);

}  // namespace latent::formats
