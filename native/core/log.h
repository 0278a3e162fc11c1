#pragma once

#include <functional>
#include <string>

namespace latent {

enum class LogLevel { debug, info, warn, error };
const char * log_level_name(LogLevel level);

/// What the engine and the libraries in it have to say goes here, from any thread; nothing is ever printed. One receiver per
/// process, empty for none. It must not block or throw. Returns once no thread is inside the former receiver.
void set_log_receiver(std::function<void(LogLevel, const std::string &)> receiver);
/// Cheap when nobody listens.
void log(LogLevel level, const std::string & message);
bool log_wanted();

}  // namespace latent
