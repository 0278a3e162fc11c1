#include "graph/portable/ggml_library.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <map>
#include <mutex>

#include "backend/backend_abi.h"
#include "core/error.h"
#include "core/shared_library.h"
#include "graph/portable/ggml_handles.h"

namespace latent::graph {
namespace {

struct State {
    std::string path, refused;
    BackendLibrary loaded;  // of loaded.path
};

struct States {
    std::mutex mutex;
    std::map<std::string, State> by_kind;
};

States & states() {
    static States & only = *new States();  // never destroyed: devices may outlive static objects
    return only;
}

State & state_of(const std::string & kind) {
    const auto & kinds = backend_kinds();
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end())
        throw Error(ErrorCode::invalid_argument, "There is no backend library of kind \"" + kind + "\"");
    return states().by_kind[kind];
}

std::string path_of(const std::string & kind, const State & state) {
    if (!state.path.empty()) return state.path;
    std::string variable = "LATENT_" + kind + "_LIBRARY";
    std::transform(variable.begin(), variable.end(), variable.begin(),
                   [](unsigned char c) { return c == '-' ? '_' : std::toupper(c); });
    const char * named = std::getenv(variable.c_str());
    return named ? named : "";
}

void pass_log(int32_t level, const char * text) {
    pass_ggml_log(level, text);
}

BackendLibrary load(const std::string & kind, const std::string & path) {
    quiet_ggml();
    if (kind == "ggml-cuda") {  // cuBLAS is in the toolkit's folder; since CUDA 13 in a folder for the processor
        for (const char * folder : {"bin", "bin/x64"}) add_library_folder("CUDA_PATH", folder);
    }
    BackendLibrary library;
    library.path = path;
    std::string problem;
    const auto open = reinterpret_cast<latent_backend_open_function>(shared_function(path, "latent_backend_open", problem));
    if (!open) {
        library.refused = "The " + kind + " backend \"" + path + "\" could not be loaded: " + problem;
        return library;
    }
    const std::string ggml = backend::ggml_abi();
    const latent_backend_host host = {LATENT_BACKEND_VERSION, ggml.c_str(), pass_log};
    const latent_backend_api * api = open(&host);
    if (!api || api->version != LATENT_BACKEND_VERSION || api->size < sizeof(latent_backend_api)) {
        library.refused = "The " + kind + " backend \"" + path +
                          "\" has a different version from this package; install both in the same version, or compile it with "
                          "\"latent build --gpu " +
                          kind + "\"";
        return library;
    }
    library.api = api;
    return library;
}

}  // namespace

const std::vector<std::string> & backend_kinds() {
    static const std::vector<std::string> kinds = {"vulkan", "metal", "ggml-cuda"};
    return kinds;
}

void set_backend_library(const std::string & kind, const std::string & path) {
    const std::lock_guard<std::mutex> lock(states().mutex);
    state_of(kind).path = path;
}

void refuse_backend(const std::string & kind, const std::string & reason) {
    const std::lock_guard<std::mutex> lock(states().mutex);
    state_of(kind).refused = reason;
}

bool backend_library_given(const std::string & kind) {
    const std::lock_guard<std::mutex> lock(states().mutex);
    const State & state = state_of(kind);
    return !path_of(kind, state).empty() || !state.refused.empty();
}

BackendLibrary backend_library(const std::string & kind) {
    const std::lock_guard<std::mutex> lock(states().mutex);
    State & state = state_of(kind);
    const std::string path = path_of(kind, state);
    if (!state.refused.empty()) return {nullptr, path, state.refused};
    if (path.empty()) return {};
    if (state.loaded.path != path) state.loaded = load(kind, path);
    return state.loaded;
}

}  // namespace latent::graph
