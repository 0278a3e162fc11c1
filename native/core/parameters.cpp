#include "core/parameters.h"

#include <functional>
#include <numeric>

#include "core/error.h"

namespace latent {

namespace {

constexpr int64_t most_elements = int64_t{1} << 34;  // of one parameter

}  // namespace

int64_t Parameter::elements() const {
    return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<int64_t>());
}

int64_t Parameter::rows() const {
    return shape.size() > 1 ? shape[0] : 1;
}

int64_t Parameter::inner() const {
    return elements() / rows();
}

Parameter * ParameterList::add(Parameter parameter) {
    int64_t elements = 1;
    for (const int64_t n : parameter.shape) {
        if (n < 1 || n > most_elements / elements)
            throw Error(ErrorCode::model_format, "The size of \"" + parameter.name + "\" is out of range");
        elements *= n;
    }
    const auto known = by_name_.find(parameter.name);
    if (known != by_name_.end()) {
        if (known->second->shape != parameter.shape)
            throw Error(ErrorCode::internal, "\"" + parameter.name + "\" is declared with two shapes");
        return known->second;
    }
    all_.push_back(std::make_unique<Parameter>(std::move(parameter)));
    by_name_[all_.back()->name] = all_.back().get();
    return all_.back().get();
}

void ParameterList::add_unread(const std::string & name, std::vector<int64_t> shape) {
    Parameter parameter;
    parameter.name = name;
    parameter.shape = std::move(shape);
    unread_.push_back(std::move(parameter));
}

const Parameter * ParameterList::find(const std::string & name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : found->second;
}

const Parameter * Scope::weight(const std::string & name, std::vector<int64_t> shape, Role role) const {
    Parameter parameter;
    parameter.name = prefix_ + name;
    parameter.shape = std::move(shape);
    parameter.role = role;
    parameter.least_bits = role == Role::norm || role == Role::bias ? 32 : least_bits_;
    return list_->add(std::move(parameter));
}

const Parameter * Scope::bias(const std::string & name, int64_t size) const {
    return weight(name + ".bias", {size}, Role::bias);
}

Conv Scope::conv(const std::string & name, int64_t in, int64_t out, int kernel, bool with_bias) const {
    Conv layer;
    layer.weight = weight(name + ".weight", {out, in, kernel, kernel}, Role::conv);
    if (with_bias) layer.bias = bias(name, out);
    layer.in = in;
    layer.out = out;
    layer.kernel = kernel;
    return layer;
}

Linear Scope::linear(const std::string & name, int64_t in, int64_t out, bool with_bias, LinearForm form) const {
    Linear layer;
    std::vector<int64_t> shape = {out, in};
    shape.resize(shape.size() + static_cast<size_t>(form), 1);
    layer.weight = weight(name + ".weight", std::move(shape), Role::linear);
    if (with_bias) layer.bias = bias(name, out);
    layer.in = in;
    layer.out = out;
    return layer;
}

Norm Scope::norm(const std::string & name, int64_t channels) const {
    Norm layer;
    layer.weight = weight(name + ".weight", {channels}, Role::norm);
    layer.bias = bias(name, channels);
    layer.channels = channels;
    return layer;
}

Embedding Scope::embedding(const std::string & name, int64_t rows, int64_t dim) const {
    return {weight(name + ".weight", {rows, dim}, Role::embedding), rows, dim};
}

const Parameter * Scope::table(const std::string & name, std::vector<int64_t> shape) const {
    return weight(name, std::move(shape), Role::bias);
}

const Parameter * Scope::optional_matrix(const std::string & name, int64_t in, int64_t out) const {
    Parameter parameter;
    parameter.name = prefix_ + name + ".weight";
    parameter.shape = {out, in};
    parameter.optional = true;
    parameter.least_bits = least_bits_;
    return list_->add(std::move(parameter));
}

}  // namespace latent
