#pragma once

#include <memory>

#include "models/clip_vision.h"
#include "pipeline/memory/part_residency.h"
#include "pipeline/requests.h"

namespace latent::pipeline {

/// CLIP's image tower: makes embeddings for retrieval databases, not conditioning.
class ImageEmbedder {
public:
    ImageEmbedder(std::unique_ptr<models::ClipVision> network, PartResidency & residency);

    models::ClipVision & network() { return *network_; }
    const models::ClipVision & network() const { return *network_; }
    /// pixels [n, 3, s, s], normalised with CLIP's mean and deviation, to embeddings [n, dim].
    EmbeddingRows embed(const ImageTensor & pixels, const JobContext & job);

private:
    std::unique_ptr<models::ClipVision> network_;
    PartResidency & residency_;
};

}  // namespace latent::pipeline
