#include "core/error.h"

namespace latent {

const char * code_name(ErrorCode code) {
    switch (code) {
        case ErrorCode::invalid_argument: return "ERR_INVALID_ARG";
        case ErrorCode::model_format: return "ERR_MODEL_FORMAT";
        case ErrorCode::unsupported_model: return "ERR_UNSUPPORTED_MODEL";
        case ErrorCode::out_of_memory: return "ERR_OUT_OF_MEMORY";
        case ErrorCode::device: return "ERR_DEVICE";
        case ErrorCode::io: return "ERR_IO";
        case ErrorCode::aborted: return "ERR_ABORTED";
        case ErrorCode::disposed: return "ERR_DISPOSED";
        case ErrorCode::busy: return "ERR_BUSY";
        case ErrorCode::internal: return "ERR_INTERNAL";
    }
    return "ERR_INTERNAL";
}

}  // namespace latent
