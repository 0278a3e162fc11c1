#include "bindings/cpu_floor.h"

#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"

namespace latent::bindings {
namespace {

const char * const message =
    "CPU not supported: this binary needs a processor with AVX2, FMA, F16C and BMI2 (x86-64) or NEON (arm64). Build from source "
    "for "
    "this machine, or run on a newer one.";

/// Lets tests simulate an old processor.
bool forced_to_fail() {
    const char * value = getenv("LATENT_TEST_CPU_FLOOR");
    return value != nullptr && strcmp(value, "fail") == 0;
}

void set_string(napi_env env, napi_value object, const char * key, const char * text) {
    napi_value value = nullptr;
    if (napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value) == napi_ok) napi_set_named_property(env, object, key, value);
}

}  // namespace

bool check_cpu_floor(napi_env env) {
    if (cpu_features().meets_floor() && !forced_to_fail()) return true;
    napi_value text = nullptr, error = nullptr;
    if (napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &text) == napi_ok &&
        napi_create_error(env, nullptr, text, &error) == napi_ok) {
        set_string(env, error, "code", "ERR_DEVICE");
        set_string(env, error, "details", "{\"reason\":\"cpu_floor\"}");
        napi_throw(env, error);
    }
    return false;
}

}  // namespace latent::bindings
