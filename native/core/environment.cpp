#include "core/environment.h"

#include <algorithm>
#include <cstdlib>

#include "core/json.h"

namespace latent {

std::string environment_choice(const char * variable, const std::vector<std::string> & names) {
    const char * value = std::getenv(variable);
    if (!value || !*value) return {};
    if (std::find(names.begin(), names.end(), value) != names.end()) return value;
    std::string known;
    for (const std::string & name : names) known += (known.empty() ? "" : ", ") + name;
    throw Error(
        ErrorCode::invalid_argument,
        "The environment variable " + std::string(variable) + " is \"" + value +
            "\", which is unknown. Possible values: " + known,
        // The value may not be valid UTF-8.
        Json{{"variable", variable}, {"value", value}, {"names", names}}.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace latent
