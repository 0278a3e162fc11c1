#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/parameter_change.h"
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

bool adds_matrix(const AdapterLayer & layer);
bool is_decomposed(const AdapterLayer & layer);
bool is_hadamard(const AdapterLayer & layer);
bool is_kronecker(const AdapterLayer & layer);
bool is_glora(const AdapterLayer & layer);
bool is_rotation(const AdapterLayer & layer);
bool is_input_rotation(const AdapterLayer & layer);

/// The low-rank change without strength; nullopt for methods that add none, or if its rank is so high that changing the whole
/// weight is less work.
std::optional<LowRank> added_low_rank(const AdaptedLayer & a, const BaseNumbers & base);
// The change of a weight of `a`, without strength; as a low-rank product if that is less than half the work.
std::optional<LowRank> hadamard_low_rank(const AdaptedLayer & a);
std::vector<float> hadamard(const AdaptedLayer & a);
std::optional<LowRank> kronecker_low_rank(const AdaptedLayer & a);
std::vector<float> kronecker(const AdaptedLayer & a);
/// Its factors, with strength; nullopt for convolutions larger than 1x1, or if they are more work than half of the layer.
std::optional<KroneckerProduct> kronecker_product(const AdaptedLayer & a);
/// W a1 a2 + b1 b2, a low-rank change computed from the weight itself.
LowRank glora(const AdaptedLayer & a, const std::vector<float> & base);

/// Factors of the rows or of the input channels of a weight.
struct Gains {
    bool by_row = true;
    std::vector<float> numbers;
};
void scale(const AdaptedLayer & a, const Gains & gains, std::vector<float> & w);
/// Each of `rows` rows of `w` times gains, [input channels].
void scale_columns(const std::vector<float> & gains, int64_t rows, int64_t inner, std::vector<float> & w);
/// (IA)^3, with strength.
Gains ia3_gains(const AdaptedLayer & a);
/// DoRA: the factor of the difference, and the gains that bring a weight with it to the stored norms, with strength. LyCORIS
/// applies the strength only to the gain, PEFT only to the difference.
float dora_part(const AdaptedLayer & a);
Gains dora_gains(const AdaptedLayer & a, const std::vector<float> & w);
/// `w` becomes w + difference, scaled by dora_gains(). `difference` is without strength.
void decompose(const AdaptedLayer & a, const std::vector<float> & difference, std::vector<float> & w);

/// OFT and BOFT, with strength: matrices of the rows of a weight, in the order of use.
std::vector<BlockMatrix> rotations(const AdaptedLayer & a, const std::function<void()> & check);
/// Two or three stages as one matrix, which has at most a third more numbers and takes one pass.
std::vector<BlockMatrix> combined(std::vector<BlockMatrix> stages, int64_t rows, const std::function<void()> & check);
/// Factors of the rows after the rotations; empty: none.
std::vector<float> rescaled(const AdaptedLayer & a);
void rotate(const AdaptedLayer & a, const std::function<void()> & check, std::vector<float> & w);
/// PEFT's OFT: the size of its blocks.
int64_t input_block_size(const AdaptedLayer & a);
/// With strength: a matrix of the columns, which are the layer's inputs.
BlockMatrix input_rotation(const AdaptedLayer & a, const std::function<void()> & check);
void rotate_inputs(const AdaptedLayer & a, const std::function<void()> & check, std::vector<float> & w);
/// w (I + m) for `rows` rows of `w`.
void multiply_columns(const BlockMatrix & m, int64_t rows, int64_t inner, const std::function<void()> & check,
                      std::vector<float> & w);

}  // namespace latent::formats
