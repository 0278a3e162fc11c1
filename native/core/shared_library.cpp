#include "core/shared_library.h"

#if defined(_WIN32)
#include <windows.h>

#include <filesystem>
#include <system_error>
#else
#include <dlfcn.h>
#endif

namespace latent {

#if defined(_WIN32)
namespace {

std::string explained(DWORD code) {
    std::string text = "Windows error " + std::to_string(code);
    if (code == ERROR_MOD_NOT_FOUND) text += ", the file or a library that it needs does not exist (is the driver installed?)";
    if (code == ERROR_BAD_EXE_FORMAT) text += ", it is no library for this processor";
    return text;
}

}  // namespace

void * shared_function(const std::string & path, const char * name, std::string & problem) {
    // Searches the library's own folder for its dependencies, but not the current folder; for that, Windows wants the whole path,
    // with backslashes.
    std::error_code failed;
    const std::filesystem::path file = std::filesystem::absolute(std::filesystem::u8path(path), failed).make_preferred();
    HMODULE module =
        failed ? nullptr
               : LoadLibraryExW(file.c_str(), nullptr, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
    void * symbol = module ? reinterpret_cast<void *>(GetProcAddress(module, name)) : nullptr;
    if (!symbol) problem = failed ? failed.message() : explained(GetLastError());
    return symbol;
}

void add_library_folder(const char * variable, const char * folder) {
    const wchar_t * named = _wgetenv(std::filesystem::path(variable).c_str());
    if (!named) return;
    std::error_code failed;
    const std::filesystem::path whole = std::filesystem::absolute(std::filesystem::path(named) / folder, failed).make_preferred();
    if (!failed) AddDllDirectory(whole.c_str());
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

void add_library_folder(const char *, const char *) {}
#endif

}  // namespace latent
