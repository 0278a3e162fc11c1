#include "pipeline/conditioners/image_embedder.h"

#include "pipeline/messages.h"

namespace latent::pipeline {

ImageEmbedder::ImageEmbedder(std::unique_ptr<models::ClipVision> network, PartResidency & residency)
    : network_(std::move(network)), residency_(residency) {}

EmbeddingRows ImageEmbedder::embed(const ImageTensor & pixels, const JobContext & job) {
    const ClipVisionConfig & config = network_->config();
    const auto [n, c, h, w] = pixels.shape;
    if (n < 1 || c != config.num_channels || h != config.image_size || w != config.image_size) {
        refuse("embedImages: images of " + std::to_string(c) + " channels and " + size_text(w, h) + "; the image encoder takes " +
               std::to_string(config.num_channels) + " channels of " + size_text(config.image_size, config.image_size));
    }
    residency_.use(*network_, job);
    EmbeddingRows out{n, config.projection_dim, std::vector<float>(static_cast<size_t>(n * config.projection_dim))};
    const size_t row = pixels.data.size() / static_cast<size_t>(n), dim = static_cast<size_t>(out.dim);
    for (int64_t i = 0; i < n; ++i) {  // one at a time, so that memory does not grow with their number
        job.check();
        const size_t at = static_cast<size_t>(i);
        residency_.run_finite(*network_, [&]() -> Span<const float> {
            const Span<float> embedding(out.data.data() + at * dim, dim);
            network_->forward({pixels.data.data() + at * row, row}, 1, embedding, job);
            return {embedding.data(), embedding.size()};
        });
        job.report(Phase::encode, i + 1, n);
    }
    return out;
}

}  // namespace latent::pipeline
