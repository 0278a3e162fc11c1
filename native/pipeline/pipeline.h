#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/job.h"
#include "core/json.h"
#include "core/model_spec.h"
#include "core/span.h"
#include "formats/model_files.h"
#include "graph/device.h"

// The facade of the engine: everything the addon calls, and the order in which a picture is made.
//   load -> encode_condition -> (encode_image) -> Sampler steps -> decode;  generate() is that sequence in one job.
// A Pipeline is used from one thread at a time (the device's job thread): what plans memory as well, since it reads which weights
// and graphs there are. Safe from any thread are info(), create_latents(), memory_usage(), profile() and cancel tokens.

namespace latent::pipeline {

using graph::Precision;

struct LoadRequest {
    std::string model;                    // file or folder, UTF-8; may be empty when parts are given
    std::string unet, text_encoder, vae;  // separate parts, each a file or folder
    std::string image_encoder;            // CLIP's image tower, for retrieval databases
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

/// Latent tensor [n, c, h, w], float32, owned by the engine. Already multiplied by the scale factor.
struct Latents {
    std::array<int64_t, 4> shape{};
    std::vector<float> data;
};

/// What steers a run. Both halves of guidance see the same `concat` and `class_label`; only their tokens differ.
struct Conditioning {
    int64_t tokens = 0;  // of cross-attention [1, tokens, dim], float32; 0: none
    int64_t dim = 0;
    bool truncated = false;
    std::vector<float> data;
    std::optional<Latents> concat;  // channels after the latents' own: [n, c, h, w], n 1 for every picture of a batch or one each
    int32_t class_label = -1;       // row of the U-Net's label_emb (noise level of the x4 upscaler), -1: none
};

/// A float picture, planar [n, c, h, w], -1..1 (not clamped).
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
};

struct PromptTokens {
    std::vector<TokenChunk> chunks;
    std::string emphasis = "original";  // original (web UI mean-preserving) | no_norm | comfy
    int clip_skip = 0;                  // 0: the model's own; n: the output of layer N-(n-1)
};

/// The inputs that a model is conditioned on. Each kind of model takes its own; what it does not take is refused.
struct ConditionRequest {
    std::optional<PromptTokens> prompt;       // prompts, layouts, classes: whatever is tokens
    std::optional<EmbeddingRows> embeddings;  // rdm: L2-normalised here; after the prompt's own embedding where there is one
    std::optional<LabelMap> labels;           // semantic
    std::optional<ImageTensor> image;         // superres: the low-resolution picture; inpaint: the picture
    std::optional<ImageTensor> mask;          // inpaint, masked image to image: [n, 1, h, w], 1 = repaint, split at 0.5
    std::optional<int> noise_level;           // x4 upscaler
    uint64_t seed = 0;                        // of that noise, one seed per picture
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
    ConditionRequest condition;             // its image is the start of image to image where the model is not conditioned on one
    std::optional<PromptTokens> negative;   // unset: the null class, zero embeddings
    int width = 0, height = 0;              // pixels, 0: those of image or labels, or the model's
    int count = 1;                          // seeds seed, seed+1, ...
    std::optional<Latents> latents;         // start noise in place of the seed's (unit variance)
    int preview_every = 0;                  // 0: off
    std::string preview_method = "linear";  // linear | vae
    bool output_float = false;
};

/// What memory is asked for: pictures as generate() would make them, from noise.
struct EstimateRequest {
    int width = 0, height = 0;  // of the finished picture, 0: the model's
    bool guided = true;
    int count = 1;
    SamplingRequest::DeepCache deep_cache;
    bool decoded_previews = false;  // preview_method "vae"
};

struct LossRequest {
    std::vector<int> timesteps;  // 0 .. T - 1
    ConditionRequest condition;
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
    Json options;  // every default filled in
    /// Parts ("unet", "vae") that are computed in float32 because fast arithmetic gave numbers that are not finite. A part stays
    /// so for as long as the model is loaded.
    std::vector<std::string> float32_parts;
};

/// A run of the sampling loop in the caller's hands: one step at a time, latents live between them.
class Sampler {
public:
    virtual ~Sampler() = default;
    virtual int steps() const = 0;
    virtual int index() const = 0;  // finished steps
    virtual bool done() const = 0;
    virtual double sigma() const = 0;     // noise level after the last finished step (sigma space)
    virtual double timestep() const = 0;  // of the last finished step's first evaluation
    virtual void step(const JobContext & job) = 0;
    virtual Latents & latents() = 0;  // may be read and written between steps
    /// The solver's estimate of the clean latents from the last finished step: what previews show.
    virtual const Latents & denoised() const = 0;
};

class Pipeline : public std::enable_shared_from_this<Pipeline> {
public:
    virtual ~Pipeline() = default;

    static std::shared_ptr<Pipeline> load(const LoadRequest & request, const JobContext & job);

    virtual const ModelSpec & spec() const = 0;
    /// kind, spec, parameters per part, dtypes and effective bits, defaults, samplers, device.
    virtual Json info() const = 0;
    /// Tokenizer files carried inside a GGUF (a JSON text written by convert), "" when there are none.
    virtual std::string tokenizer() const = 0;

    /// Tokens alone, [1, tokens, dim]: also the unconditional half of guidance.
    virtual Conditioning encode_prompt(const PromptTokens & tokens, const JobContext & job) = 0;
    /// Everything that the model is conditioned on. Throws invalid_argument that names what it takes.
    virtual Conditioning encode_condition(const ConditionRequest & request, const JobContext & job) = 0;
    /// CLIP's image tower, for retrieval databases: pixels [n, 3, s, s] normalised with CLIP's mean and deviation to image_embeds
    /// [n, dim], not normalised.
    virtual EmbeddingRows embed_images(const ImageTensor & pixels, const JobContext & job) = 0;
    /// mode: "sample" (posterior sample times the scale factor), "mean" (mode times the scale factor; both are the same for VQ),
    /// "moments" (KL, raw, 2z channels), "prequant" (VQ, raw).
    virtual Latents encode_image(const ImageTensor & image, const std::string & mode, uint64_t seed, const std::string & rng,
                                 const JobContext & job) = 0;
    /// Unit-variance start noise, one seed per batch row (seed, seed+1, ...).
    virtual Latents create_latents(int width, int height, int batch, uint64_t seed, const std::string & rng) = 0;
    /// The raw network output (eps, v or sample). `timesteps` has one entry or one per batch row, fractions allowed.
    /// With `unconditional` and a scale other than 1 the guided combination is returned. `concat`: extra channels for hybrid
    /// models, in place of the conditioning's own.
    virtual Latents predict(const Latents & latents, const std::vector<double> & timesteps, const Conditioning * conditioning,
                            const Conditioning * unconditional, double guidance_scale, const Latents * concat,
                            const JobContext & job) = 0;
    /// `start`: unit-variance noise (strength 1). With `image` (scaled clean latents) the loop starts inside the schedule.
    virtual std::unique_ptr<Sampler> start_sampling(const SamplingRequest & request, const Latents & start, const Latents * image,
                                                    const Conditioning * conditioning, const Conditioning * unconditional) = 0;
    /// Latents / scale factor through the decoder, not clamped. VQ: the nearest codes of them, unless `quantise` is false.
    virtual ImageTensor decode(const Latents & latents, bool quantise, const JobContext & job) = 0;
    /// VQ first stages: the nearest code of each latent pixel, and pictures from codes.
    virtual Codes encode_codes(const ImageTensor & image, const JobContext & job) = 0;
    virtual ImageTensor decode_codes(const Codes & codes, const JobContext & job) = 0;
    /// The training objective of the paper (Eq. 1-3) per timestep: the mean of |target - prediction|^2 over the noised latents
    /// of `image`. The same noise serves every timestep, so a value does not depend on which others are asked for.
    virtual std::vector<double> loss(const ImageTensor & image, const LossRequest & request, const JobContext & job) = 0;
    /// Linear latent-to-RGB preview, one pixel per latent pixel.
    virtual Picture preview(const Latents & latents, int index) const = 0;

    virtual GenerateResult generate(const GenerateRequest & request, const JobContext & job) = 0;

    /// What one generate() takes, from headers alone: { unet, decode, encode, textEncoder, conditioner: { bytes,
    /// flops }, weights: {...}, stages: { NAME: { weights, compute, pictures, peak } }, peak }. Bytes of the former are
    /// activations and scratch of one call computed whole; flops count 2 per multiply-add. Stages are as the plan of this
    /// pipeline's memory mode and bound runs them, with the weights that are resident meanwhile; `peak` is the largest that a
    /// picture needs. Throws out_of_memory where a stage does not fit the bound.
    virtual Json estimate(const EstimateRequest & request) const = 0;

    /// Bytes held now: weights per part, graphs, latents; and the process's peak.
    virtual Json memory_usage() const = 0;
    /// From now on adds up what each operation of the networks takes (true), or gives the table and stops (false): an array of
    /// { operation, calls, ms, fastestMs, gflop }, the most expensive first. Waits for a computation that is running.
    virtual Json profile(bool on) = 0;
    /// Frees graphs and weights; the next call loads them again.
    virtual void unload() = 0;
};

/// What the files of a request are, for formats.
formats::ModelParts model_parts(const LoadRequest & request);

/// Float planar -1..1 to 8-bit interleaved, rounding as diffusers does. One Picture per batch row.
std::vector<Picture> to_pictures(const ImageTensor & image);

/// Header-only look at a model: spec, tensors per part, dtypes, metadata. Reads no weights.
Json inspect(const LoadRequest & request);

}  // namespace latent::pipeline
