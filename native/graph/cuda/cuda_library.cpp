#include "graph/cuda/cuda_library.h"

#include <cstdlib>
#include <mutex>

#include "core/shared_library.h"

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

std::string path_of(const State & s) {
    const char * named = std::getenv("LATENT_CUDA_LIBRARY");
    return !s.path.empty() ? s.path : named ? named : "";
}

CudaLibrary load(const std::string & path) {
    CudaLibrary library;
    library.path = path;
    std::string problem;
    const auto open = reinterpret_cast<latent_cuda_open_function>(shared_function(path, "latent_cuda_open", problem));
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

bool cuda_library_given() {
    const std::lock_guard<std::mutex> lock(state().mutex);
    return !path_of(state()).empty() || !state().refused.empty();
}

CudaLibrary cuda_library() {
    State & s = state();
    const std::lock_guard<std::mutex> lock(s.mutex);
    const std::string path = path_of(s);
    if (!s.refused.empty()) return {nullptr, path, s.refused};
    if (path.empty()) return {};
    if (s.loaded.path != path) s.loaded = load(path);
    return s.loaded;
}

}  // namespace latent::graph
