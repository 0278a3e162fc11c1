#pragma once

#include <node_api.h>

namespace latent::bindings {

/// False with a pending JavaScript error (ERR_DEVICE) where this processor lacks what the binary is compiled for. Uses nothing
/// but C and code of its own file: functions shared with translation units of a higher instruction set must not run before this
/// check.
bool check_cpu_floor(napi_env env);

}  // namespace latent::bindings
