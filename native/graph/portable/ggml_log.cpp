#include <ggml.h>

#include <cctype>
#include <mutex>

#include "core/log.h"
#include "graph/portable/ggml_handles.h"

namespace latent::graph {

namespace {

std::mutex log_mutex;
std::string last_error;

LogLevel log_level(ggml_log_level level) {
    switch (level) {
        case GGML_LOG_LEVEL_ERROR: return LogLevel::error;
        case GGML_LOG_LEVEL_WARN: return LogLevel::warn;
        case GGML_LOG_LEVEL_INFO: return LogLevel::info;
        default: return LogLevel::debug;
    }
}

void keep_error(ggml_log_level level, const char * text, void *) {
    log(log_level(level), text);
    if (level != GGML_LOG_LEVEL_ERROR) return;
    const std::lock_guard<std::mutex> lock(log_mutex);
    last_error = text;
}

}  // namespace

void pass_ggml_log(int level, const char * text) {
    keep_error(static_cast<ggml_log_level>(level), text, nullptr);
}

void quiet_ggml() {
    static const bool once = [] {
        ggml_log_set(keep_error, nullptr);
        return true;
    }();
    (void)once;
}

std::string take_ggml_error() {
    const std::lock_guard<std::mutex> lock(log_mutex);
    std::string text = std::move(last_error);
    last_error.clear();
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
    return text;
}

}  // namespace latent::graph
