#include "samplers/parameters.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace latent::samplers {

namespace {

std::string shown(double value) {
    std::ostringstream out;
    out << value;
    return out.str();
}

}  // namespace

std::string join_names(const std::vector<std::string> & names) {
    std::string out;
    for (const std::string & name : names) out += (out.empty() ? "" : ", ") + name;
    return out;
}

Parameters::Parameters(const Json & values, std::string sampler) : values_(values), sampler_(std::move(sampler)) {
    if (!values_.is_null() && !values_.is_object())
        throw Error(ErrorCode::invalid_argument, "The solver parameters of \"" + sampler_ + "\" must be an object");
}

const Json * Parameters::find(const char * name) {
    read_.insert(name);
    if (!values_.is_object()) return nullptr;
    const auto it = values_.find(name);
    return it == values_.end() || it->is_null() ? nullptr : &*it;
}

void Parameters::refuse(const char * name, const std::string & expected) const {
    throw Error(ErrorCode::invalid_argument,
                "Solver parameter \"" + std::string(name) + "\" of \"" + sampler_ + "\" must be " + expected);
}

double Parameters::number(const char * name, double fallback, double low, double high) {
    const Json * value = find(name);
    if (!value) return fallback;
    const double number = value->is_number() ? value->get<double>() : NAN;
    if (!(number >= low && number <= high)) refuse(name, "a number from " + shown(low) + " to " + shown(high));
    return number;
}

int Parameters::integer(const char * name, int fallback, int low, int high) {
    const double value = number(name, fallback, low, high);
    if (value != std::floor(value)) refuse(name, "a whole number");
    return static_cast<int>(value);
}

bool Parameters::flag(const char * name, bool fallback) {
    const Json * value = find(name);
    if (!value) return fallback;
    if (!value->is_boolean()) refuse(name, "true or false");
    return value->get<bool>();
}

std::string Parameters::choice(const char * name, const char * fallback, const std::vector<std::string> & known) {
    const Json * value = find(name);
    if (!value) return fallback;
    const std::string text = value->is_string() ? value->get<std::string>() : "";
    if (std::find(known.begin(), known.end(), text) == known.end()) refuse(name, "one of " + join_names(known));
    return text;
}

std::vector<int> Parameters::integers(const char * name, int low, int high) {
    std::vector<int> out;
    const Json * value = find(name);
    if (!value) return out;
    const std::string expected = "a list of whole numbers from " + std::to_string(low) + " to " + std::to_string(high);
    if (!value->is_array() || value->size() > 1000) refuse(name, expected);
    for (const Json & item : *value) {
        const double number = item.is_number() ? item.get<double>() : NAN;
        if (!(number >= low && number <= high) || number != std::floor(number)) refuse(name, expected);
        out.push_back(static_cast<int>(number));
    }
    return out;
}

void Parameters::finish() const {
    if (!values_.is_object()) return;
    for (const auto & [name, value] : values_.items())
        if (read_.count(name) == 0)
            throw Error(ErrorCode::invalid_argument, "\"" + sampler_ + "\" has no solver parameter \"" + name + "\": known are " +
                                                         join_names(std::vector<std::string>(read_.begin(), read_.end())));
}

}  // namespace latent::samplers
