#include "bindings/json_fields.h"

#include <cmath>

#include "core/rng.h"

namespace latent::bindings {
namespace {

constexpr size_t max_list = 1'000'000;

double checked_number(const Json & value, const char * key, double low, double high) {
    if (!value.is_number()) refuse(key, "must be a number");
    const double number = value.get<double>();
    if (!(number >= low && number <= high)) {
        refuse(key, "must be from " + std::to_string(low) + " to " + std::to_string(high));
    }
    return number;
}

}  // namespace

void refuse(const char * key, const std::string & what) {
    throw Error(ErrorCode::invalid_argument, std::string("request: \"") + key + "\" " + what);
}

const Json * find_field(const Json & request, const char * key) {
    const auto it = request.find(key);
    return it == request.end() || it->is_null() ? nullptr : &*it;
}

int64_t checked_int(const Json & value, const char * key, int64_t low, int64_t high) {
    const double number = checked_number(value, key, static_cast<double>(low), static_cast<double>(high));
    if (number != std::floor(number)) refuse(key, "must be a whole number");
    return static_cast<int64_t>(number);
}

const Json & array_field(const Json & request, const char * key) {
    static const Json none = Json::array();
    const Json * value = find_field(request, key);
    if (!value) return none;
    if (!value->is_array() || value->size() > max_list) refuse(key, "must be a list");
    return *value;
}

std::vector<double> numbers_field(const Json & request, const char * key, double low, double high) {
    std::vector<double> numbers;
    for (const Json & value : array_field(request, key)) numbers.push_back(checked_number(value, key, low, high));
    return numbers;
}

uint64_t seed_field(const Json & request, const char * key) {
    const Json * value = find_field(request, key);
    if (!value) return 0;
    if (!value->is_string()) refuse(key, "must be a decimal number in a string");
    const std::string & text = value->get_ref<const std::string &>();
    uint64_t seed = 0;
    if (text.empty() || text.size() > 20) refuse(key, "must be from 0 to 2^64-1");
    for (const char c : text) {
        if (c < '0' || c > '9') refuse(key, "must be a decimal number in a string");
        const uint64_t digit = static_cast<uint64_t>(c - '0');
        if (seed > (UINT64_MAX - digit) / 10) refuse(key, "must be from 0 to 2^64-1");
        seed = seed * 10 + digit;
    }
    return seed;
}

std::string rng_field(const Json & request) {
    std::string name = text_field(request, "rng", "philox");
    parse_rng_kind(name);
    return name;
}

std::string one_of(const Json & request, const char * key, const char * fallback, std::initializer_list<const char *> names) {
    std::string text = text_field(request, key, fallback);
    for (const char * name : names) {
        if (text == name) return text;
    }
    refuse(key, "is not a known name");
}

int64_t int_field(const Json & request, const char * key, int64_t fallback, int64_t low, int64_t high) {
    const Json * value = find_field(request, key);
    return value ? checked_int(*value, key, low, high) : fallback;
}

double number_field(const Json & request, const char * key, double fallback, double low, double high) {
    const Json * value = find_field(request, key);
    return value ? checked_number(*value, key, low, high) : fallback;
}

bool bool_field(const Json & request, const char * key, bool fallback) {
    const Json * value = find_field(request, key);
    if (!value) return fallback;
    if (!value->is_boolean()) refuse(key, "must be true or false");
    return value->get<bool>();
}

std::string text_field(const Json & request, const char * key, const std::string & fallback, size_t max_length) {
    const Json * value = find_field(request, key);
    if (!value) return fallback;
    if (!value->is_string()) refuse(key, "must be a string");
    std::string text = value->get<std::string>();
    if (text.size() > max_length) refuse(key, "is too long");
    return text;
}

const Json & object_field(const Json & request, const char * key) {
    static const Json none;
    const Json * value = find_field(request, key);
    if (!value) return none;
    if (!value->is_object()) refuse(key, "must be an object");
    return *value;
}

std::vector<int64_t> shape_field(const Json & request, const char * key) {
    std::vector<int64_t> shape;
    for (const Json & size : array_field(request, key)) shape.push_back(checked_int(size, key, 1, INT32_MAX));
    return shape;
}

void check_shape(const std::vector<int64_t> & sizes, size_t rank, const char * name, size_t elements) {
    if (sizes.size() != rank) {
        throw Error(ErrorCode::invalid_argument, std::string(name) + " must have " + std::to_string(rank) + " sizes");
    }
    size_t product = 1;
    for (const int64_t size : sizes) {
        if (size < 1 || product > elements / static_cast<size_t>(size)) {
            throw Error(ErrorCode::invalid_argument, std::string(name) + " describes more values than the data has");
        }
        product *= static_cast<size_t>(size);
    }
    if (product != elements) {
        throw Error(ErrorCode::invalid_argument, std::string(name) + " describes " + std::to_string(product) +
                                                     " values, the data has " + std::to_string(elements));
    }
}

std::array<int64_t, 4> shape4(const std::vector<int64_t> & sizes, const char * name, size_t elements) {
    check_shape(sizes, 4, name, elements);
    return {sizes[0], sizes[1], sizes[2], sizes[3]};
}

}  // namespace latent::bindings
