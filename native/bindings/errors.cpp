#include "bindings/errors.h"

#include <new>
#include <stdexcept>

#include "bindings/node_addon_api.h"

namespace latent::bindings {
namespace {

constexpr size_t max_message = 64 << 10;  // limits file content quoted in messages

}  // namespace

ErrorInfo describe(std::exception_ptr exception) {
    ErrorInfo info;
    try {
        std::rethrow_exception(exception);
    } catch (const ArgumentTypeError & e) {
        info = {e.code(), e.what(), e.details(), true};
    } catch (const Error & e) {
        info = {e.code(), e.what(), e.details(), false};
    } catch (const std::bad_alloc &) {
        info = {ErrorCode::out_of_memory, "Out of memory", "{}", false};
    } catch (const std::length_error &) {  // larger than any address space
        info = {ErrorCode::out_of_memory, "Out of memory", "{}", false};
    } catch (const std::exception & e) {
        info = {ErrorCode::internal, std::string("Internal error: ") + e.what(), "{}", false};
    } catch (...) {
        info = {ErrorCode::internal, "Unknown internal error", "{}", false};
    }
    if (info.message.size() > max_message) info.message.resize(max_message);
    return info;
}

ErrorInfo aborted_error() {
    return {ErrorCode::aborted, "The operation was aborted", "{}", false};
}

Napi::Error to_js(Napi::Env env, const ErrorInfo & error) {
    // V8 replaces bytes that are not valid UTF-8.
    Napi::Error result = Napi::Error::New(env, error.message);
    if (error.code == ErrorCode::invalid_argument) {
        result = error.wrong_type ? static_cast<Napi::Error>(Napi::TypeError::New(env, error.message))
                                  : static_cast<Napi::Error>(Napi::RangeError::New(env, error.message));
    }
    result.Set("code", code_name(error.code));
    result.Set("details", error.details);
    return result;
}

}  // namespace latent::bindings
