#pragma once

#include <array>
#include <string>
#include <vector>

#include "bindings/env_data.h"
#include "bindings/node_addon_api.h"
#include "core/json.h"
#include "core/span.h"

namespace latent::bindings {

// Checked access to JavaScript arguments. TypeScript has validated them already; these checks are for callers that bypass it. A
// wrong type throws ArgumentTypeError, a wrong length invalid_argument. Spans point into JavaScript's memory: use them
// immediately, or hold their array.

Napi::Value argument(const Napi::CallbackInfo & info, size_t index);
std::string string_argument(const Napi::CallbackInfo & info, size_t index, const char * name);
/// The parsed JSON text of a request; always an object.
Json request_argument(const Napi::CallbackInfo & info, size_t index = 0);
/// The same of a value that is not an argument itself.
Json request_of(const Napi::Value & value);
Callbacks callbacks_of(const Napi::Value & value);
Callbacks callbacks_argument(const Napi::CallbackInfo & info, size_t index);
/// The callbacks of a job.
EnvData::StartOptions options_argument(const Napi::CallbackInfo & info, size_t index);

/// A Float32Array. `length`: required length, 0 for any.
Span<float> floats(Napi::Value value, const char * name, size_t length = 0);
/// An Int32Array.
Span<int32_t> integers(Napi::Value value, const char * name);
/// An array of at most 8 positive integers.
std::vector<int64_t> sizes_argument(Napi::Value value, const char * name);
/// Four positive integers whose product is `elements`.
std::array<int64_t, 4> shape4_argument(Napi::Value value, const char * name, size_t elements);

}  // namespace latent::bindings
