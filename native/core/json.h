#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace latent {

using Json = nlohmann::json;

/// Parses untrusted JSON with a limit on nesting. Throws `code` naming `what` (a file or option name).
Json parse_json(std::string_view text, const std::string & what, ErrorCode code = ErrorCode::model_format, int max_depth = 64);

/// Typed access with a default; a value of the wrong type throws model_format naming the key.
template <typename T>
T json_value(const Json & object, const char * key, T fallback) {
    const auto it = object.find(key);
    if (it == object.end() || it->is_null()) return fallback;
    try {
        return it->get<T>();
    } catch (const nlohmann::json::exception &) {
        throw Error(ErrorCode::model_format, std::string("\"") + key + "\" has the wrong type in a model configuration");
    }
}

}  // namespace latent
