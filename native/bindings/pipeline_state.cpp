#include "bindings/pipeline_state.h"

#include "bindings/env_data.h"

namespace latent::bindings {

Napi::Object construct(Napi::Env env, Napi::FunctionReference & constructor, void * state, const napi_type_tag & tag) {
    EnvData & data = EnvData::of(env);
    struct Cleared {
        EnvData & data;
        ~Cleared() { data.constructing = nullptr; }  // also if JavaScript has no stack left for the call
    };
    const Cleared cleared{data};
    data.constructing = state;
    Napi::Object object = constructor.New({});
    object.TypeTag(&tag);
    return object;
}

void * take_constructing(const Napi::CallbackInfo & info) {
    EnvData & data = EnvData::of(info.Env());
    void * state = data.constructing;
    data.constructing = nullptr;
    if (!state)
        throw to_js(info.Env(), describe(std::make_exception_ptr(ArgumentTypeError(
                                    "This class cannot be constructed; its objects are created by the engine"))));
    return state;
}

}  // namespace latent::bindings
