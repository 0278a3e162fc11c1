#include "core/json.h"

namespace latent {

Json parse_json(std::string_view text, const std::string & what, ErrorCode code, int max_depth) {
    const auto limit = [&](int depth, Json::parse_event_t, Json &) {
        if (depth > max_depth) {
            throw Error(code, what + ": JSON is nested more than " + std::to_string(max_depth) + " levels deep");
        }
        return true;
    };
    try {
        return Json::parse(text.begin(), text.end(), limit);
    } catch (const nlohmann::json::exception & e) {
        throw Error(code, what + " is not valid JSON: " + e.what());
    }
}

}  // namespace latent
