#pragma once

#include <array>
#include <initializer_list>
#include <string>
#include <vector>

#include "core/json.h"

namespace latent::bindings {

// Single fields of a JSON request, checked for type and bounds. Absent fields (and null) take the fallback; invalid values throw
// invalid_argument naming the field.

[[noreturn]] void refuse(const char * key, const std::string & what);

/// nullptr if absent.
const Json * find_field(const Json & request, const char * key);

int64_t int_field(const Json & request, const char * key, int64_t fallback, int64_t low, int64_t high);
double number_field(const Json & request, const char * key, double fallback, double low, double high);
bool bool_field(const Json & request, const char * key, bool fallback);
std::string text_field(const Json & request, const char * key, const std::string & fallback, size_t max_length = 1 << 15);
std::string one_of(const Json & request, const char * key, const char * fallback, std::initializer_list<const char *> names);
const Json & object_field(const Json & request, const char * key);  // null if absent
const Json & array_field(const Json & request, const char * key);   // empty if absent
std::vector<double> numbers_field(const Json & request, const char * key, double low, double high);
std::vector<int64_t> shape_field(const Json & request, const char * key);
/// JSON cannot represent 64-bit numbers exactly, so seeds are passed as decimal text.
uint64_t seed_field(const Json & request, const char * key = "seed");
std::string rng_field(const Json & request);

/// An item of a list: an integer within bounds.
int64_t checked_int(const Json & value, const char * key, int64_t low, int64_t high);

/// `rank` sizes whose product is `elements`.
void check_shape(const std::vector<int64_t> & sizes, size_t rank, const char * name, size_t elements);
std::array<int64_t, 4> shape4(const std::vector<int64_t> & sizes, const char * name, size_t elements);

}  // namespace latent::bindings
