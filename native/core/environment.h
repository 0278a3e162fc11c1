#pragma once

#include <string>
#include <vector>

namespace latent {

/// The value of an environment variable that must be one of `names`; empty if it is not set or empty. Throws invalid_argument
/// with the variable, the value and the names for any other value, so that a typo is not measured as something else.
std::string environment_choice(const char * variable, const std::vector<std::string> & names);

}  // namespace latent
