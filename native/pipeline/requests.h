#pragma once

#include <array>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/job.h"
#include "core/json.h"
#include "core/model_spec.h"
#include "formats/adapters/adapter_file.h"
#include "graph/device.h"

// The inputs and outputs of a pipeline, as plain values.

namespace latent::pipeline {

using graph::Precision;

struct LoadRequest {
    std::string model;                    // file or folder, UTF-8; may be empty when parts are given
    std::string unet, text_encoder, vae;  // separate parts, each a file or folder
    std::string image_encoder;            // CLIP's image tower, for retrieval databases
    std::string preview_vae;              // a tiny autoencoder for previews
    std::string refiner;                  // a second model that takes over during a run (SDXL)
    Json refiner_config;                  // like `config`, for the refiner
    std::string variant;                  // of the weights in diffusers folders, e.g. "fp16"
    Json config;                          // parsed CompVis yaml object, null when absent
    Json spec;                            // partial ModelSpec that overrides detection, null when absent
    std::optional<bool> ema;
    std::string device = "auto";
    int threads = 0;  // 0: physical cores
    Precision precision = Precision::fast;
    std::map<std::string, std::string>
        dtype;                       // part (unet, textEncoder, conditioner, imageEncoder, vae) -> type; missing: as stored
    std::string memory = "auto";     // auto | fast | low
    uint64_t max_bytes = 0;          // 0: no limit
    std::optional<bool> vae_tiling;  // unset: decided by the plan
    int vae_tile_size = 0;           // latent pixels, 0: chosen by the plan
    int tile_size = 0;               // for super-resolution, latent pixels, 0: the reference's, or less if memory is short
    bool first_stage_only = false;   // Autoencoder.load
    bool headers_only = false;       // for estimates: weights are read when something runs
};

using formats::AdapterUse;
using formats::AdapterUses;

/// Latent tensor [n, c, h, w], float32, owned by the engine. Already multiplied by the scale factor.
struct Latents {
    std::array<int64_t, 4> shape{};
    std::vector<float> data;
};

/// The conditioning of a run: the network's inputs besides its latents. The halves of guidance differ in tokens and vector; both
/// use the `concat` and `class_label` of the conditional one.
struct Conditioning {
    int64_t tokens = 0;  // of cross-attention [1, tokens, dim], float32; 0: none
    int64_t dim = 0;
    bool truncated = false;
    std::vector<float> data;
    std::optional<Latents>
        concat;  // channels after the latents' own: [n, c, h, w], one row for all images of a batch or one per image
    int32_t class_label = -1;   // row of the U-Net's label_emb (noise level of the x4 upscaler), -1: none
    std::vector<float> vector;  // added to the timestep's embedding (SDXL: pooled text, sizes), [vector_dim]; empty: none
};

/// A float image, planar [n, c, h, w], -1..1 (not clamped).
struct ImageTensor {
    std::array<int64_t, 4> shape{};
    std::vector<float> data;
};

/// Embeddings of retrieval-augmented diffusion: rows [count, dim].
struct EmbeddingRows {
    int64_t count = 0, dim = 0;
    std::vector<float> data;
};

/// One label number per pixel, rows top to bottom.
struct LabelMap {
    int64_t height = 0, width = 0;
    std::vector<int32_t> data;
};

/// Codebook indices of a VQ first stage: [n, h, w].
struct Codes {
    std::array<int64_t, 3> shape{};
    std::vector<int32_t> data;
};

/// One window of tokens with a weight for each: 77 of a prompt (start and end included), 92 of a layout, or a class number.
struct TokenChunk {
    std::vector<int32_t> ids;
    std::vector<float> weights;  // empty: all 1
    /// Vectors that replace `count` tokens from `first` on (textual inversion): [count, dim] for each text encoder.
    struct Vectors {
        int64_t first = 0, count = 0;
        std::vector<std::vector<float>> encoders;
    };
    std::vector<Vectors> vectors;
};

struct PromptTokens {
    std::vector<TokenChunk> chunks;
    std::string emphasis = "original";  // original (web UI mean-preserving) | no_norm | comfy
    int clip_skip = 0;                  // 0: the model's default; n: the output of layer N-(n-1)
};

/// SDXL's size conditioning in pixels, height before width; unset: the size of the image, uncropped.
struct SizeInputs {
    std::optional<std::array<double, 2>> original;  // size of the training image before cropping
    std::optional<std::array<double, 2>> crop;      // top, left
    std::optional<std::array<double, 2>> target;    // base models
    std::optional<double> score, negative_score;    // aesthetic scores of refiners, default 6 and 2.5
};

/// The user's inputs. Each kind of model takes some of them and rejects the others.
struct Inputs {
    std::optional<PromptTokens> prompt;       // prompts, layouts, classes: anything that becomes tokens
    std::optional<EmbeddingRows> embeddings;  // rdm: L2-normalised by the engine, after the prompt's own embedding, if any
    std::optional<LabelMap> labels;           // semantic
    std::optional<ImageTensor> image;         // superres: the low-resolution image; inpaint, edit: the image
    std::optional<ImageTensor> mask;          // inpaint, masked image to image: [n, 1, h, w], 1 = repaint, threshold 0.5
    std::optional<ImageTensor> depth;         // depth: [n, 1, h, w] of any size and scale, larger is nearer
    /// Width and height in pixels of the top left part of the image that the depth map covers; the rest is padding. Unset: all.
    std::optional<std::array<int64_t, 2>> depth_area;
    std::optional<int> noise_level;   // x4 upscaler
    std::optional<SizeInputs> sizes;  // SDXL
    /// Encode the unconditional half of guidance: this prompt, unless the model has another representation of no prompt.
    bool unconditional = false;
    /// Size of the image in pixels, if no other input has one; 0: the model's. A run has its own.
    int width = 0, height = 0;
    uint64_t seed = 0;  // for noise in conditioning, one seed per image
    std::string rng = "philox";
};

struct SamplingRequest {
    std::string sampler;            // "": the model's default
    std::string schedule;           // "" : the sampler's default; see samplers/
    std::vector<double> sigmas;     // custom noise levels, descending; override `schedule`
    std::vector<double> timesteps;  // or custom timesteps
    std::string dialect;            // whose arithmetic, "" : chosen from sampler and schedule; see samplers/
    /// Part of the training time to run, counted from pure noise. With a start above 0, the latents are the result of an earlier
    /// part, not noise.
    double denoising_start = 0, denoising_end = 1;
    int steps = 0;
    double guidance_scale = 7.5;
    double guidance_rescale = 0.0;
    double image_guidance_scale = 1.5;  // for models that edit an image
    /// Part of the steps with guidance, 0 to 1: from the first value, up to but not including the second. Outside, only the
    /// conditional half is computed (Kynkaanniemi et al., arXiv 2404.07724).
    std::array<double, 2> guidance_interval{{0.0, 1.0}};
    /// DeepCache (arXiv 2312.00858): computes the whole U-Net at every `interval`-th evaluation, and in between only the blocks
    /// outside skip connection `branch`. interval 1: always the whole.
    struct DeepCache {
        int interval = 1, branch = 0;
        bool on() const { return interval > 1; }
    } deep_cache;
    double eta = -1.0;  // negative: the sampler's default (or the model's, with the model's default sampler)
    uint64_t seed = 0;
    std::string rng = "philox";  // philox | mt19937
    double strength = 1.0;       // image to image: share of the schedule to run
    Json extra;                  // per-solver parameters (s_churn, order ...), null when absent
};

struct GenerateRequest {
    SamplingRequest sampling;
    Inputs inputs;                         // the image starts image to image unless the model is conditioned on one
    std::optional<PromptTokens> negative;  // unset: the null class, zero embeddings
    bool empty_negative = false;           // `negative` is the empty prompt, which some models represent by zeros
    double refiner_switch_at = 0.8;        // share of the training time before the refiner takes over, if there is one
    int width = 0, height = 0;             // pixels, 0: from image or labels, else the model's
    int count = 1;                         // seeds seed, seed+1, ...
    std::optional<Latents> latents;        // start noise instead of the seed's (unit variance)
    /// Above 0: the start noise is that of `sampling.seed`, the same for all images, changed towards that of variation_seed,
    /// variation_seed+1, ...
    double variation_strength = 0;
    uint64_t variation_seed = 0;
    std::optional<Latents> image_latents;   // start of image to image instead of an image: [1 or count, c, h, w]
    bool output_latents = false;            // returns the latents, undecoded
    std::optional<AdapterUses> adapters;    // unset: the pipeline's adapters
    int preview_every = 0;                  // 0: off
    std::string preview_method = "linear";  // linear | taesd | vae
    bool output_float = false;
};

/// A request for estimates: images as generate() would make them from noise.
struct EstimateRequest {
    int width = 0, height = 0;  // of the final image, 0: the model's
    double guidance_scale = 7.5, image_guidance_scale = 1.5;
    int count = 1;
    SamplingRequest::DeepCache deep_cache;
    std::string preview_method;           // "": no previews
    std::optional<AdapterUses> adapters;  // as in a request
};

struct LossRequest {
    std::vector<int> timesteps;  // 0 .. T - 1
    Inputs inputs;
    uint64_t seed = 0;  // for the posterior sample and the noise
    std::string rng = "philox";
};

struct Timings {
    double load_ms = 0;  // reading weights for this call (low memory, or after unload())
    double encode_ms = 0, sample_ms = 0, decode_ms = 0;
    int shared_by = 1;  // calls that have sample_ms in common, and the loading in it
};

struct GenerateResult {
    std::vector<Picture> images;
    ImageTensor tensor;  // set instead of `images` if output_float; the latents if output_latents
    Timings timings;
    double eta = 0;  // the solver's eta: as requested, or its default
    /// Parts ("unet", "vae") computed in float32 because fast arithmetic produced values that are not finite. This holds as long
    /// as the model is loaded.
    std::vector<std::string> float32_parts;
    Json adapters;  // the result of Adapters::Call::report()
};

/// One of several requests that are made together.
struct TogetherMember {
    std::shared_ptr<const GenerateRequest> request;
    JobContext job;
    std::function<void(GenerateResult &&)> made;
    std::function<void(std::exception_ptr)> failed;
};

}  // namespace latent::pipeline
