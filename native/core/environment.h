#pragma once

#include <string>
#include <vector>

namespace latent {

/// What the environment variable chooses of `names`; empty if it is not set or empty. Throws invalid_argument with the
/// variable, the value and the names for any other value: what was forced by mistake must not be measured as something else.
std::string environment_choice(const char * variable, const std::vector<std::string> & names);

}  // namespace latent
