#include "bindings/node_addon_api.h"

namespace latent::bindings {
namespace {

/// Whether JavaScript can still run. There is no direct test, but setting a property of our own object fails only for this
/// reason.
bool goes_on(napi_env env) {
    napi_value object = nullptr;
    if (napi_create_object(env, &object) != napi_ok) return false;
    if (napi_set_named_property(env, object, "self", object) == napi_ok) return true;
    napi_value ignored = nullptr;
    napi_get_and_clear_last_exception(env, &ignored);
    return false;
}

}  // namespace

napi_status take_exception(napi_env env, napi_value * error) {
    const napi_status status = napi_get_and_clear_last_exception(env, error);
    napi_valuetype type = napi_object;
    if (status != napi_ok || napi_typeof(env, *error, &type) != napi_ok) return status;
    if (type != napi_object && type != napi_function && !goes_on(env)) *error = nullptr;
    return napi_ok;
}

}  // namespace latent::bindings
