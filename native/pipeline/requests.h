#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/job.h"
#include "core/json.h"
#include "core/model_spec.h"
#include "formats/adapters/adapter_file.h"
#include "graph/device.h"

// What goes into a pipeline and comes out of it: plain values.

namespace latent::pipeline {

using graph::Precision;

struct LoadRequest {
    std::string model;                    // file or folder, UTF-8; may be empty when parts are given
    std::string unet, text_encoder, vae;  // separate parts, each a file or folder
    std::string image_encoder;            // CLIP's image tower, for retrieval databases
    std::string preview_vae;              // a tiny autoencoder for previews
    std::string refiner;                  // a second model that takes over from the first within a run (SDXL)
    Json refiner_config;                  // as `config`, of the refiner
    std::string variant;                  // of the weights in diffusers folders, e.g. "fp16"
    Json config;                          // parsed CompVis yaml object, null when absent
    Json spec;                            // partial ModelSpec over what was found, null when absent
    std::optional<bool> ema;
    std::string device = "auto";
    int threads = 0;  // 0: physical cores
    Precision precision = Precision::fast;
    std::map<std::string, std::string>
        dtype;                       // part (unet, textEncoder, conditioner, imageEncoder, vae) -> type; missing: as stored
    std::string memory = "auto";     // auto | fast | low
    uint64_t max_bytes = 0;          // 0: no bound of the caller's
    std::optional<bool> vae_tiling;  // unset: when the plan says so
    int vae_tile_size = 0;           // latent pixels, 0: chosen by the plan
    int tile_size = 0;               // of super-resolution, latent pixels, 0: the reference's, less where memory is short
    bool first_stage_only = false;   // Autoencoder.load
    bool headers_only = false;       // for estimates: weights are read when something is run
};

using formats::AdapterUse;
using formats::AdapterUses;

/// Latent tensor [n, c, h, w], float32, owned by the engine. Already multiplied by the scale factor.
struct Latents {
    std::array<int64_t, 4> shape{};
    std::vector<float> data;
};

/// What steers a run: what the network reads beside its latents. The halves of guidance differ in tokens and vector; both see the
/// `concat` and `class_label` of the conditional one.
struct Conditioning {
    int64_t tokens = 0;  // of cross-attention [1, tokens, dim], float32; 0: none
    int64_t dim = 0;
    bool truncated = false;
    std::vector<float> data;
    std::optional<Latents> concat;  // channels after the latents' own: [n, c, h, w], n 1 for every image of a batch or one each
    int32_t class_label = -1;       // row of the U-Net's label_emb (noise level of the x4 upscaler), -1: none
    std::vector<float> vector;      // added to the timestep's embedding (SDXL: pooled text, sizes), [vector_dim]; empty: none
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
    /// Vectors that stand in the place of `count` tokens from `first` on (textual inversion): [count, dim] of each text encoder.
    struct Vectors {
        int64_t first = 0, count = 0;
        std::vector<std::vector<float>> encoders;
    };
    std::vector<Vectors> vectors;
};

struct PromptTokens {
    std::vector<TokenChunk> chunks;
    std::string emphasis = "original";  // original (web UI mean-preserving) | no_norm | comfy
    int clip_skip = 0;                  // 0: the model's own; n: the output of layer N-(n-1)
};

/// What SDXL reads about the image beside the prompt, in pixels, height before width; unset: the size of the image,
/// uncropped.
struct SizeInputs {
    std::optional<std::array<double, 2>> original;  // of the training image before it was cropped
    std::optional<std::array<double, 2>> crop;      // top, left
    std::optional<std::array<double, 2>> target;    // base models
    std::optional<double> score, negative_score;    // aesthetic, of refiners: 6 and 2.5
};

/// What the user gives to steer a model. Each kind of model takes its own; what it does not take is refused.
struct Inputs {
    std::optional<PromptTokens> prompt;       // prompts, layouts, classes: whatever is tokens
    std::optional<EmbeddingRows> embeddings;  // rdm: L2-normalised here; after the prompt's own embedding if there is one
    std::optional<LabelMap> labels;           // semantic
    std::optional<ImageTensor> image;         // superres: the low-resolution image; inpaint, edit: the image
    std::optional<ImageTensor> mask;          // inpaint, masked image to image: [n, 1, h, w], 1 = repaint, split at 0.5
    std::optional<ImageTensor> depth;         // depth: [n, 1, h, w] of any size and scale, larger is nearer
    std::optional<int> noise_level;           // x4 upscaler
    std::optional<SizeInputs> sizes;          // SDXL
    /// What guidance compares with is asked for: of the prompt, unless the model has something that stands for none.
    bool unconditional = false;
    /// Size of the image in pixels, if no other input has one; 0: the model's. A run has its own.
    int width = 0, height = 0;
    uint64_t seed = 0;  // of that noise, one seed per image
    std::string rng = "philox";
};

struct SamplingRequest {
    std::string sampler;            // "" : the model's default
    std::string schedule;           // "" : the sampler's default; see samplers/
    std::vector<double> sigmas;     // custom schedule, descending, wins over `schedule`
    std::vector<double> timesteps;  // or the timesteps of its steps
    std::string dialect;            // whose arithmetic, "" : chosen from sampler and schedule; see samplers/
    /// Part of the training time that is run, from the noise end. From a start above 0 the latents are the state that an earlier
    /// part ended with, not noise.
    double denoising_start = 0, denoising_end = 1;
    int steps = 0;
    double guidance_scale = 7.5;
    double guidance_rescale = 0.0;
    double image_guidance_scale = 1.5;  // of models that edit an image
    /// Part of the steps, 0 to 1, that is guided: from the first, before the second. Outside of it the conditional half alone is
    /// computed (Kynkaanniemi et al., arXiv 2404.07724).
    std::array<double, 2> guidance_interval{{0.0, 1.0}};
    /// DeepCache (arXiv 2312.00858): all of the U-Net at every `interval`-th evaluation, in between only the blocks further out
    /// than skip connection `branch`. interval 1: always all.
    struct DeepCache {
        int interval = 1, branch = 0;
        bool on() const { return interval > 1; }
    } deep_cache;
    double eta = -1.0;  // negative: the sampler's default (the model's own for the model's default sampler)
    uint64_t seed = 0;
    std::string rng = "philox";  // philox | mt19937
    double strength = 1.0;       // image to image: share of the schedule that is run
    Json extra;                  // per-solver parameters (s_churn, order ...), null when absent
};

struct GenerateRequest {
    SamplingRequest sampling;
    Inputs inputs;                         // their image is the start of image to image where the model is not conditioned on one
    std::optional<PromptTokens> negative;  // unset: the null class, zero embeddings
    bool empty_negative = false;           // `negative` is the empty prompt: where zeros stand for that, they do
    double refiner_switch_at = 0.8;        // share of the training time before the refiner takes over, if there is one
    int width = 0, height = 0;             // pixels, 0: those of image or labels, or the model's
    int count = 1;                         // seeds seed, seed+1, ...
    std::optional<Latents> latents;        // start noise in place of the seed's (unit variance)
    std::optional<AdapterUses> adapters;   // in place of the pipeline's own; unset: those
    int preview_every = 0;                 // 0: off
    std::string preview_method = "linear";  // linear | taesd | vae
    bool output_float = false;
};

/// What memory is asked for: images as generate() would make them, from noise.
struct EstimateRequest {
    int width = 0, height = 0;  // of the finished image, 0: the model's
    double guidance_scale = 7.5, image_guidance_scale = 1.5;
    int count = 1;
    SamplingRequest::DeepCache deep_cache;
    std::string preview_method;           // "": no previews
    std::optional<AdapterUses> adapters;  // as of a request
};

struct LossRequest {
    std::vector<int> timesteps;  // 0 .. T - 1
    Inputs inputs;
    uint64_t seed = 0;  // of the posterior sample and the noise
    std::string rng = "philox";
};

struct Timings {
    double load_ms = 0;  // weights that had to be read for this call (low memory, or after unload())
    double encode_ms = 0, sample_ms = 0, decode_ms = 0;
};

struct GenerateResult {
    std::vector<Picture> images;
    ImageTensor tensor;  // filled in place of `images` when output_float
    Timings timings;
    double eta = 0;  // the solver's: what was asked for, or its default
    /// Parts ("unet", "vae") that are computed in float32 because fast arithmetic gave numbers that are not finite. A part stays
    /// so for as long as the model is loaded.
    std::vector<std::string> float32_parts;
    Json adapters;  // what was made of them: Adapters::Call::report()
};

}  // namespace latent::pipeline
