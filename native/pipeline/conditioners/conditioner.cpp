#include "pipeline/conditioners/conditioner.h"

#include "pipeline/messages.h"

namespace latent::pipeline {

std::vector<std::pair<const models::Network *, graph::GraphMeasure>> Conditioner::measure(int64_t, int64_t) const {
    return {};
}

void Conditioner::encode_unconditional(const Inputs &, const std::optional<PromptTokens> &, const EncodeContext &,
                                       Conditioning &) {}

void check_image(const ImageTensor & image, const char * what, int64_t channels, int64_t pictures) {
    const auto [n, c, h, w] = image.shape;
    if (n < 1 || h < 1 || w < 1 || c != channels) {
        refuse(std::string(what) + ": " + std::to_string(c) + " channels of " + size_text(w, h) + "; it needs " +
               std::to_string(channels) + " channels and a size");
    }
    if (n != 1 && n != pictures) {
        refuse(std::string(what) + ": " + std::to_string(n) + " given for " + std::to_string(pictures) +
               " images; give one, or one per image");
    }
}

}  // namespace latent::pipeline
