#pragma once

#include <node_api.h>

namespace latent::bindings {

/// napi_get_and_clear_last_exception, in its place in node-addon-api. Where execution is being ended (vm's timeout, Ctrl-C in a
/// REPL, Worker.terminate()), Node-API gives null for the exception; node-addon-api would wrap that in an object, which cannot be
/// done at such a moment, and end the process. `error` is nullptr then, for an empty Napi::Error: it unwinds the C++ frames and
/// throws nothing into JavaScript, where V8 goes on to end what it was ending.
napi_status take_exception(napi_env env, napi_value * error);

}  // namespace latent::bindings

#define napi_get_and_clear_last_exception ::latent::bindings::take_exception
#include <napi.h>
#undef napi_get_and_clear_last_exception
