#include "models/network.h"

namespace latent::models {

void Network::require_loaded() const {
    if (!weights_.loaded()) throw Error(ErrorCode::internal, "The weights of the " + weights_.part() + " are not loaded");
}

void Network::require_size(size_t actual, int64_t expected, const char * what) const {
    if (actual == static_cast<size_t>(expected)) return;
    throw Error(ErrorCode::invalid_argument, std::string("The ") + what + " of the " + weights_.part() + " has " +
                                                 std::to_string(actual) + " elements, " + std::to_string(expected) +
                                                 " are expected");
}

}  // namespace latent::models
