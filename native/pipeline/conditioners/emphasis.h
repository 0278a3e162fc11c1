#pragma once

#include "core/span.h"
#include "pipeline/requests.h"

namespace latent::pipeline {

/// Applies per-token emphasis to one encoded window z [tokens, dim] in place.
/// "original": z * w, then scaled so that the mean over the window is unchanged (web UI, "Original" emphasis); "no_norm": z * w;
/// "comfy": (z - z_empty) * w + z_empty with the encoding of the empty prompt. Weights of 1 leave z unchanged, bit for bit.
/// Throws invalid_argument for other names.
void apply_emphasis(Span<float> z, Span<const float> weights, int64_t dim, const std::string & method, Span<const float> empty);

/// True if some weight differs from 1.
bool has_emphasis(const TokenChunk & chunk);

}  // namespace latent::pipeline
