#pragma once

#include <string>

namespace latent {

/// A function of a shared library, which then stays loaded; null with the reason in `problem`. Its symbols stay its own.
void * shared_function(const std::string & path, const char * name, std::string & problem);

/// On Windows, libraries that are loaded from now on find what they need also in `folder` of the folder that an environment
/// variable names; PATH is not searched for it. Elsewhere nothing: a library names such folders itself.
void add_library_folder(const char * variable, const char * folder);

}  // namespace latent
