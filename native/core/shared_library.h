#pragma once

#include <string>

namespace latent {

/// A function of a shared library, which then stays loaded; null with the reason in `problem`. Its symbols stay its own.
void * shared_function(const std::string & path, const char * name, std::string & problem);

}  // namespace latent
