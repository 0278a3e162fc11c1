#include "graph/cuda/cuda_library.h"

#include <cstdlib>
#include <mutex>

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace latent::graph {
namespace {

struct State {
    std::mutex mutex;
    std::string path, refused;
    CudaLibrary loaded;  // of loaded.path
};

State & state() {
    static State & only = *new State();  // never destroyed: devices may outlive static objects
    return only;
}

#if defined(_WIN32)
std::wstring wide(const std::string & text) {
    const int size = MultiByteToWideChar(CP_UTF8, 0, text.c_str(), -1, nullptr, 0);
    std::wstring out(static_cast<size_t>(size > 0 ? size : 1), L'\0');
    MultiByteToWideChar(CP_UTF8, 0, text.c_str(), -1, &out[0], size);
    return out;
}

void * symbol_of(const std::string & path, const char * name, std::string & problem) {
    // Searches the library's own folder for its dependencies, but not the current folder.
    HMODULE module =
        LoadLibraryExW(wide(path).c_str(), nullptr, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
    void * symbol = module ? reinterpret_cast<void *>(GetProcAddress(module, name)) : nullptr;
    if (!symbol) problem = "Windows error " + std::to_string(GetLastError());
    return symbol;
}
#else
void * symbol_of(const std::string & path, const char * name, std::string & problem) {
    void * module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    void * symbol = module ? dlsym(module, name) : nullptr;
    if (!symbol) {
        const char * text = dlerror();
        problem = text ? text : "unknown error";
    }
    return symbol;
}
#endif

CudaLibrary load(const std::string & path) {
    CudaLibrary library;
    library.path = path;
    std::string problem;
    const auto open = reinterpret_cast<latent_cuda_open_function>(symbol_of(path, "latent_cuda_open", problem));
    if (!open) {
        library.refused = "The CUDA engine \"" + path + "\" could not be loaded: " + problem;
        return library;
    }
    const latent_cuda_api * api = open(LATENT_CUDA_VERSION);
    if (!api || api->version != LATENT_CUDA_VERSION || api->size < sizeof(latent_cuda_api)) {
        library.refused =
            "The CUDA engine \"" + path + "\" has a different version from this package; install both in the same version";
        return library;
    }
    library.api = api;
    return library;
}

}  // namespace

void set_cuda_library(const std::string & path) {
    const std::lock_guard<std::mutex> lock(state().mutex);
    state().path = path;
}

void refuse_cuda(const std::string & reason) {
    const std::lock_guard<std::mutex> lock(state().mutex);
    state().refused = reason;
}

CudaLibrary cuda_library() {
    State & s = state();
    const std::lock_guard<std::mutex> lock(s.mutex);
    const char * named = std::getenv("LATENT_CUDA_LIBRARY");
    const std::string path = !s.path.empty() ? s.path : named ? named : "";
    if (!s.refused.empty()) return {nullptr, path, s.refused};
    if (path.empty()) return {};
    if (s.loaded.path != path) s.loaded = load(path);
    return s.loaded;
}

}  // namespace latent::graph
