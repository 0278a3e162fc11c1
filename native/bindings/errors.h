#pragma once

#include <exception>
#include <string>

#include "core/error.h"

namespace Napi {
class Env;
class Error;
}  // namespace Napi

namespace latent::bindings {

/// An argument of the wrong JavaScript type; becomes a TypeError. (Error with invalid_argument becomes a RangeError.)
class ArgumentTypeError : public Error {
public:
    explicit ArgumentTypeError(const std::string & message) : Error(ErrorCode::invalid_argument, message) {}
};

/// An exception, stored until the JavaScript thread can throw it.
struct ErrorInfo {
    ErrorCode code = ErrorCode::internal;
    std::string message;
    std::string details = "{}";
    bool wrong_type = false;
};

/// Describes any exception: ours unchanged, bad_alloc as out_of_memory, others as internal.
ErrorInfo describe(std::exception_ptr exception);
ErrorInfo aborted_error();
Napi::Error to_js(Napi::Env env, const ErrorInfo & error);

}  // namespace latent::bindings
