#include "core/job.h"

namespace latent {

const char * phase_name(Phase phase) {
    switch (phase) {
        case Phase::load: return "load";
        case Phase::encode: return "encode";
        case Phase::sample: return "sample";
        case Phase::decode: return "decode";
        case Phase::convert: return "convert";
    }
    return "load";
}

}  // namespace latent
