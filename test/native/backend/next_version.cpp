#include "backend/backend_api.h"

// A library of another version, or made with another ggml: it serves no caller of this one.

extern "C" __attribute__((visibility("default"))) const latent_backend_api * latent_backend_open(const latent_backend_host *) {
    return nullptr;
}
