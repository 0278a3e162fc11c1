#include "core/text.h"

#include <algorithm>
#include <cstdio>

namespace latent {

std::string mebibytes(uint64_t bytes) {
    const uint64_t tenths = bytes / 1024 * 10 / 1024;
    return std::to_string(tenths / 10) + (tenths < 1000 ? "." + std::to_string(tenths % 10) : "") + " MiB";
}

std::string number_text(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", value);
    return text;
}

std::string shape_text(const std::vector<int64_t> & shape) {
    std::string text = "[";
    for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
    return text + "]";
}

std::string enumerated(const std::vector<std::string> & items) {
    std::string text;
    for (size_t i = 0; i < items.size(); ++i) text += (i == 0 ? "" : i + 1 == items.size() ? " and " : ", ") + items[i];
    return text;
}

std::string first_of(const std::vector<std::string> & items, size_t most) {
    std::string text;
    for (size_t i = 0; i < std::min(items.size(), most); ++i) text += (i ? ", " : "") + items[i];
    if (items.size() > most) text += " and " + std::to_string(items.size() - most) + " more";
    return text;
}

}  // namespace latent
