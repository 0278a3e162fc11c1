#include "core/log.h"

#include <atomic>
#include <mutex>

namespace latent {
namespace {

// Never destroyed, because threads may log while the process exits.
struct Receiver {
    std::mutex mutex;
    std::function<void(LogLevel, const std::string &)> call;
    std::atomic<bool> present{false};
};

Receiver & receiver() {
    static Receiver * const one = new Receiver;
    return *one;
}

}  // namespace

const char * log_level_name(LogLevel level) {
    switch (level) {
        case LogLevel::debug: return "debug";
        case LogLevel::info: return "info";
        case LogLevel::warn: return "warn";
        case LogLevel::error: return "error";
    }
    return "info";
}

void set_log_receiver(std::function<void(LogLevel, const std::string &)> call) {
    Receiver & one = receiver();
    const std::lock_guard<std::mutex> lock(one.mutex);
    one.present = static_cast<bool>(call);
    one.call = std::move(call);
}

bool log_wanted() {
    return receiver().present.load(std::memory_order_relaxed);
}

void log(LogLevel level, const std::string & message) {
    if (!log_wanted()) return;
    Receiver & one = receiver();
    const std::lock_guard<std::mutex> lock(one.mutex);
    if (one.call) one.call(level, message);
}

}  // namespace latent
