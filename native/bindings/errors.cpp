#include "bindings/errors.h"

#include <new>
#include <stdexcept>

#include "bindings/node_addon_api.h"

namespace latent::bindings {
namespace {

constexpr size_t max_message = 64 << 10;  // file content quoted in a message must not become a message of gigabytes

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
        info = {ErrorCode::out_of_memory, "The system gave no memory", "{}", false};
    } catch (const std::length_error &) {  // more than any address space holds
        info = {ErrorCode::out_of_memory, "The system gave no memory", "{}", false};
    } catch (const std::exception & e) {
        info = {ErrorCode::internal, std::string("Internal error: ") + e.what(), "{}", false};
    } catch (...) {
        info = {ErrorCode::internal, "Internal error of an unknown kind", "{}", false};
    }
    if (info.message.size() > max_message) info.message.resize(max_message);
    return info;
}

ErrorInfo aborted_error() {
    return {ErrorCode::aborted, "The operation was aborted", "{}", false};
}

Napi::Error to_js(Napi::Env env, const ErrorInfo & error) {
    // V8 puts replacement characters where the bytes are not UTF-8.
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
