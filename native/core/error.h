#pragma once

#include <stdexcept>
#include <string>

namespace latent {

/// The one table of error codes. The TypeScript side maps each name (see `code_name`) to its class.
enum class ErrorCode {
    invalid_argument,   // ERR_INVALID_ARG        a value from the caller that validation should have caught
    model_format,       // ERR_MODEL_FORMAT       a file that is broken, truncated or hostile
    unsupported_model,  // ERR_UNSUPPORTED_MODEL  a valid file of a kind that is not supported
    out_of_memory,      // ERR_OUT_OF_MEMORY      a reservation that failed or would not fit
    device,             // ERR_DEVICE             a missing device or a backend that failed
    io,                 // ERR_IO                 the operating system refused a file operation
    aborted,            // ERR_ABORTED            the job's cancel token was set
    disposed,           // ERR_DISPOSED           use after dispose
    busy,               // ERR_BUSY               state that a running job is changing
    internal,           // ERR_INTERNAL           a bug of ours
};

const char * code_name(ErrorCode code);

/// The only exception type that crosses a layer. `details` is a JSON object with the numbers and names behind the message.
class Error : public std::runtime_error {
public:
    Error(ErrorCode code, const std::string & message, std::string details = "{}")
        : std::runtime_error(message), code_(code), details_(std::move(details)) {}

    ErrorCode code() const { return code_; }
    const std::string & details() const { return details_; }

private:
    ErrorCode code_;
    std::string details_;
};

}  // namespace latent
