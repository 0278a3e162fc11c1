#pragma once

#include <node_api.h>

namespace latent::bindings {

/// Returns false with a pending JavaScript error (ERR_DEVICE) if this processor lacks instructions that the binary is compiled
/// for. Uses only C and code in its own file: functions shared with translation units of a higher instruction set must not run
/// before this check.
bool check_cpu_floor(napi_env env);

}  // namespace latent::bindings
