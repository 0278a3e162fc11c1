#pragma once

#include <node_api.h>

namespace latent::bindings {

/// Replaces napi_get_and_clear_last_exception in node-addon-api. While execution is being terminated (vm's timeout, Ctrl-C in a
/// REPL, Worker.terminate()), Node-API returns null for the exception; node-addon-api would try to wrap it in an object, fail,
/// and end the process. `error` is then nullptr, which gives an empty Napi::Error: it unwinds the C++ frames and throws nothing
/// into JavaScript, where V8 continues the termination.
napi_status take_exception(napi_env env, napi_value * error);

}  // namespace latent::bindings

#define napi_get_and_clear_last_exception ::latent::bindings::take_exception
#include <napi.h>
#undef napi_get_and_clear_last_exception
