#pragma once

#include "bindings/node_addon_api.h"

namespace latent::bindings {

// The functions of NativeAddon (lib/native/contract.ts) outside classes.
Napi::Value versions(const Napi::CallbackInfo & info);
Napi::Value get_devices(const Napi::CallbackInfo & info);
Napi::Value set_gpu_library(const Napi::CallbackInfo & info);
Napi::Value refuse_device(const Napi::CallbackInfo & info);
Napi::Value device_checks(const Napi::CallbackInfo & info);
Napi::Value check_device(const Napi::CallbackInfo & info);
Napi::Value set_logger(const Napi::CallbackInfo & info);
Napi::Value inspect(const Napi::CallbackInfo & info);
Napi::Value convert(const Napi::CallbackInfo & info);
Napi::Value create_noise(const Napi::CallbackInfo & info);
Napi::Value create_random(const Napi::CallbackInfo & info);
Napi::Value create_solver(const Napi::CallbackInfo & info);
Napi::Value measure_peak(const Napi::CallbackInfo & info);
Napi::Value measure_bandwidth(const Napi::CallbackInfo & info);

}  // namespace latent::bindings
