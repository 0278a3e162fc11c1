#pragma once

#include <functional>
#include <string>

namespace latent {

enum class LogLevel { debug, info, warn, error };
const char * log_level_name(LogLevel level);

/// Sets the receiver of all log messages of the engine and its libraries, from any thread; nothing is ever printed. One receiver
/// per process, empty for none. It must not block or throw. Returns once no thread is inside the previous receiver.
void set_log_receiver(std::function<void(LogLevel, const std::string &)> receiver);
/// Cheap without a receiver.
void log(LogLevel level, const std::string & message);
bool log_wanted();

}  // namespace latent
