#include "core/shared_library.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace latent {

#if defined(_WIN32)
namespace {

std::wstring wide(const std::string & text) {
    const int size = MultiByteToWideChar(CP_UTF8, 0, text.c_str(), -1, nullptr, 0);
    std::wstring out(static_cast<size_t>(size > 0 ? size : 1), L'\0');
    MultiByteToWideChar(CP_UTF8, 0, text.c_str(), -1, &out[0], size);
    return out;
}

}  // namespace

void * shared_function(const std::string & path, const char * name, std::string & problem) {
    // Searches the library's own folder for its dependencies, but not the current folder.
    HMODULE module =
        LoadLibraryExW(wide(path).c_str(), nullptr, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
    void * symbol = module ? reinterpret_cast<void *>(GetProcAddress(module, name)) : nullptr;
    if (!symbol) problem = "Windows error " + std::to_string(GetLastError());
    return symbol;
}
#else
void * shared_function(const std::string & path, const char * name, std::string & problem) {
    void * module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    void * symbol = module ? dlsym(module, name) : nullptr;
    if (!symbol) {
        const char * text = dlerror();
        problem = text ? text : "unknown error";
    }
    return symbol;
}
#endif

}  // namespace latent
