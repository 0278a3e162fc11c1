#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/tensor_source.h"

namespace latent {

/// The use of a parameter, which determines its possible element types.
enum class Role {
    conv,       // [out, in, kh, kw]; used as a matrix [out, in*kh*kw]
    linear,     // [out, in]; a 1x1 or Conv1d weight with the same elements is accepted
    norm,       // [channels], always f32
    bias,       // any small vector or table that is added, always f32
    embedding,  // [rows, dim], looked up by row
};

/// A parameter's storage on a device. Its home in graph knows what it is (a ggml tensor, a tensor of the CUDA engine).
class Resident {
public:
    virtual ~Resident() = default;
};

/// One tensor that a network needs.
struct Parameter {
    std::string name;            // full canonical key
    std::vector<int64_t> shape;  // outermost first, as in files
    Role role = Role::linear;
    bool optional = false;  // may be absent from the source
    /// Least bits if a type is requested for the whole model: 0, any type; 16, no block type; 32, only f32. 16 is for small
    /// matrices whose rounding affects the result most (first and last convolutions, time and class embeddings, token tables,
    /// projections of a few rows), 32 for small tables that are added, looked up or compared (a rounded codebook would select
    /// other codes).
    int least_bits = 0;

    // Set by graph::WeightStore::plan():
    size_t source_index = SIZE_MAX;      // in the source's list
    DType dtype = DType::f32;            // resident type
    std::unique_ptr<Resident> resident;  // null: absent

    int64_t elements() const;
    int64_t rows() const;   // shape[0] of a matrix, else 1
    int64_t inner() const;  // elements() / rows()
    bool is_matrix() const { return role != Role::norm && role != Role::bias; }
    bool present() const { return resident != nullptr; }
};

/// The parameters of one network, in order of declaration. Layers keep pointers to them, which stay valid when the list is moved.
class ParameterList {
public:
    /// Declaring a name again returns the same parameter; with another shape it throws internal. A size out of range throws
    /// model_format.
    Parameter * add(Parameter parameter);
    /// A tensor in published files that is never read.
    void add_unread(const std::string & name, std::vector<int64_t> shape);

    const std::vector<std::unique_ptr<Parameter>> & all() const { return all_; }
    const std::vector<Parameter> & unread() const { return unread_; }
    /// nullptr if there is none.
    const Parameter * find(const std::string & name) const;

private:
    std::vector<std::unique_ptr<Parameter>> all_;
    std::vector<Parameter> unread_;
    std::map<std::string, Parameter *> by_name_;
};

// Layers: pointers to parameters and the sizes that the operations need.

struct Conv {
    const Parameter * weight = nullptr;
    const Parameter * bias = nullptr;  // may be null
    int64_t in = 0, out = 0;
    int kernel = 1;
    const Parameter * gain = nullptr;  // [out], may be null: multiplies the product before the bias (adapters)
};

struct Linear {
    const Parameter * weight = nullptr;
    const Parameter * bias = nullptr;  // may be null
    int64_t in = 0, out = 0;
    const Parameter * gain = nullptr;  // as for a Conv
};

struct Norm {
    const Parameter * weight = nullptr;
    const Parameter * bias = nullptr;
    int64_t channels = 0;
};

struct Embedding {
    const Parameter * weight = nullptr;
    int64_t rows = 0, dim = 0;
};

/// The stored form of a linear layer over tokens: [out, in], or as the equivalent convolution over pixels, with this many
/// trailing dimensions of 1.
enum class LinearForm { matrix = 0, conv1d = 1, conv2d = 2 };

/// Declares parameters under a key prefix: Scope(list, "model.diffusion_model.") / "input_blocks.0" -> "...input_blocks.0.".
class Scope {
public:
    Scope(ParameterList & list, std::string prefix) : list_(&list), prefix_(std::move(prefix)) {}

    Scope operator/(const std::string & name) const { return {*list_, prefix_ + name + ".", least_bits_}; }
    Scope operator/(int index) const { return *this / std::to_string(index); }
    /// The same prefix; weights declared with it keep at least these bits (Parameter::least_bits).
    Scope keeping(int least_bits) const { return {*list_, prefix_, least_bits}; }

    Conv conv(const std::string & name, int64_t in, int64_t out, int kernel, bool bias = true) const;
    Linear linear(const std::string & name, int64_t in, int64_t out, bool bias = true,
                  LinearForm form = LinearForm::matrix) const;
    Norm norm(const std::string & name, int64_t channels) const;
    Embedding embedding(const std::string & name, int64_t rows, int64_t dim) const;
    /// A tensor that is added; no ".weight" is appended to its name.
    const Parameter * table(const std::string & name, std::vector<int64_t> shape) const;
    /// A linear layer without bias, which may be absent in files.
    const Parameter * optional_matrix(const std::string & name, int64_t in, int64_t out) const;
    void unread(const std::string & name, std::vector<int64_t> shape) const {
        list_->add_unread(prefix_ + name, std::move(shape));
    }

private:
    Scope(ParameterList & list, std::string prefix, int least_bits)
        : list_(&list), prefix_(std::move(prefix)), least_bits_(least_bits) {}
    const Parameter * weight(const std::string & name, std::vector<int64_t> shape, Role role) const;
    const Parameter * bias(const std::string & name, int64_t size) const;

    ParameterList * list_;
    std::string prefix_;
    int least_bits_ = 0;
};

}  // namespace latent
