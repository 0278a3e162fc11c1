// The symbol that Node calls when it loads the addon, once per environment (main thread and every worker).
#include <node_api.h>

#include "bindings/cpu_floor.h"

namespace latent::bindings {

napi_value initialize(napi_env env, napi_value exports);  // addon.cpp

}  // namespace latent::bindings

NAPI_MODULE_INIT() {
    if (!latent::bindings::check_cpu_floor(env)) return nullptr;
    return latent::bindings::initialize(env, exports);
}
