#pragma once

#include <string>
#include <vector>

#include "bindings/json_fields.h"
#include "core/json.h"
#include "core/rng.h"
#include "core/span.h"
#include "formats/convert/convert.h"
#include "pipeline/pipeline.h"
#include "samplers/solver.h"

namespace latent::bindings {

// The JSON requests of lib/native/contract.ts as the pipeline's structs. All types and bounds are checked again; invalid values
// throw invalid_argument naming the field. Absent optional fields take the struct's default.

pipeline::LoadRequest load_request(const Json & request);
pipeline::PromptTokens prompt_tokens(const Json & request);
/// Everything except its arrays.
pipeline::Inputs inputs_request(const Json & request);
pipeline::LossRequest loss_request(const Json & request);
pipeline::SamplingRequest sampling_request(const Json & request);
/// `adapters` of a request: [{ path, weight, textWeight }].
pipeline::AdapterUses adapter_uses(const Json & request);
pipeline::EstimateRequest estimate_request(const Json & request);
/// A generate() call, except its arrays.
pipeline::GenerateRequest generate_request(const Json & request);

struct SolverRequest {
    samplers::SolverOptions options;
    int start_step = -1;  // -1: not given
    uint64_t seed = 0;
    RngKind rng = RngKind::philox;
};
SolverRequest solver_request(const Json & request);

struct ImageRequest {
    std::vector<int64_t> shape;
    std::string mode;
    uint64_t seed = 0;
    std::string rng;
};
ImageRequest image_request(const Json & request);

struct LatentsRequest {
    int width = 0, height = 0, batch = 1;
    uint64_t seed = 0;
    std::string rng;
};
LatentsRequest latents_request(const Json & request);

struct PredictRequest {
    std::vector<double> timesteps;
    double guidance_scale = 1, image_guidance_scale = 1;
};
PredictRequest predict_request(const Json & request);

struct NoiseRequest {
    uint64_t seed = 0;
    size_t elements = 0;  // product of the shape
    RngKind rng = RngKind::philox;
    uint32_t offset = 0;
};
NoiseRequest noise_request(const Json & request);

struct ConvertRequest {
    formats::ModelParts source;
    std::string destination;
    formats::ConvertOptions options;
    pipeline::AdapterUses adapters;  // to be merged into the weights
};
ConvertRequest convert_request(const Json & request);

}  // namespace latent::bindings
