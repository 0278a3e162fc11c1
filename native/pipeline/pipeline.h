#pragma once

#include <memory>
#include <string>
#include <vector>

#include "formats/model_files.h"
#include "pipeline/requests.h"
#include "pipeline/sampling/sampling_run.h"

// The facade of the engine: everything the addon calls, and the order in which an image is made.
//   load -> encode_inputs -> (encode_image) -> SamplingRun steps -> decode;  generate() is that sequence in one job.
// A Pipeline is used from one thread at a time (the device's job thread): what plans memory as well, since it reads which weights
// and graphs there are. Safe from any thread are info(), create_latents(), memory_usage(), profile() and cancel tokens.

namespace latent::pipeline {

struct Stages;
class Adapters;
class MemoryPlanner;

class Pipeline {
public:
    static std::shared_ptr<Pipeline> load(const LoadRequest & request, const JobContext & job);
    ~Pipeline();

    const ModelSpec & spec() const;
    /// kind, spec, parameters per part, dtypes and effective bits, defaults, samplers, device.
    Json info() const;
    /// Tokenizer files carried inside a GGUF (a JSON text written by convert), "" when there are none.
    std::string tokenizer() const;

    /// Tokens alone, [1, tokens, dim]: also the unconditional half of guidance.
    Conditioning encode_prompt(const PromptTokens & tokens, const JobContext & job);
    /// Everything that the model is conditioned on. Throws invalid_argument that names what it takes.
    Conditioning encode_inputs(const Inputs & inputs, const JobContext & job);
    /// CLIP's image tower, for retrieval databases: pixels [n, 3, s, s] normalised with CLIP's mean and deviation to image_embeds
    /// [n, dim], not normalised.
    EmbeddingRows embed_images(const ImageTensor & pixels, const JobContext & job);
    /// CLIP's text tower: one window of tokens to text_embeds [1, dim], not normalised.
    EmbeddingRows embed_text(const PromptTokens & tokens, const JobContext & job);
    /// mode: "sample" (posterior sample times the scale factor), "mean" (mode times the scale factor; both are the same for VQ),
    /// "moments" (KL, raw, 2z channels), "prequant" (VQ, raw).
    Latents encode_image(const ImageTensor & image, const std::string & mode, uint64_t seed, const std::string & rng,
                         const JobContext & job);
    /// Unit-variance start noise, one seed per batch row (seed, seed+1, ...).
    Latents create_latents(int width, int height, int batch, uint64_t seed, const std::string & rng,
                           const CancelToken * cancel = nullptr);
    /// The raw network output (eps, v or sample). `timesteps` has one entry or one per batch row, fractions allowed.
    /// With `unconditional` and a scale other than 1 the guided combination is returned. `concat`: extra channels for hybrid
    /// models, in place of the conditioning's own.
    Latents predict(const Latents & latents, const std::vector<double> & timesteps, const Conditioning * conditioning,
                    const Conditioning * unconditional, double guidance_scale, const Latents * concat, const JobContext & job,
                    double image_guidance_scale = 1);
    /// `start`: unit-variance noise (strength 1). With `image` (scaled clean latents) the loop starts inside the schedule. The
    /// run keeps copies of what it is steered by.
    std::unique_ptr<SamplingRun> start_sampling(const SamplingRequest & request, const Latents & start, const Latents * image,
                                                const Conditioning * conditioning, const Conditioning * unconditional);
    /// Latents / scale factor through the decoder, not clamped. VQ: the nearest codes of them, unless `quantise` is false.
    ImageTensor decode(const Latents & latents, bool quantise, const JobContext & job);
    /// VQ first stages: the nearest code of each latent pixel, and images from codes.
    Codes encode_codes(const ImageTensor & image, const JobContext & job);
    ImageTensor decode_codes(const Codes & codes, const JobContext & job);
    /// The training objective of the paper (Eq. 1-3) per timestep: the mean of |target - prediction|^2 over the noised latents
    /// of `image`. The same noise serves every timestep, so a value does not depend on which others are asked for.
    std::vector<double> loss(const ImageTensor & image, const LossRequest & request, const JobContext & job);
    /// Linear latent-to-RGB preview, one pixel per latent pixel.
    Picture preview(const Latents & latents, int index) const;
    /// The same latents through the tiny autoencoder; throws invalid_argument if there is none (LoadRequest::preview_vae).
    ImageTensor decode_preview(const Latents & latents, const JobContext & job);

    /// The adapters of every call from now on that names none itself, in place of those before. Per file { path, name, matched,
    /// unmatched, skipped } (names of layers). Throws as Adapters::apply(); then nothing has changed.
    Json set_adapters(const AdapterUses & adapters, const JobContext & job);

    GenerateResult generate(const GenerateRequest & request, const JobContext & job);

    /// What one generate() takes, from headers alone: { unet, decode, encode, textEncoder, conditioner: { bytes,
    /// flops }, weights: {...}, stages: { NAME: { weights, compute, pictures, peak } }, peak }. Bytes of the former are
    /// activations and scratch of one call computed whole; flops count 2 per multiply-add. Stages are as the plan of this
    /// pipeline's memory mode and bound runs them, with the weights that are resident meanwhile; `peak` is the largest that a
    /// image needs. Throws out_of_memory if a stage does not fit the bound.
    Json estimate(const EstimateRequest & request);

    /// Bytes held now: weights per part, graphs, latents; and the process's peak.
    Json memory_usage() const;
    /// From now on adds up what each operation of the networks takes (true), or gives the table and stops (false): an array of
    /// { operation, calls, ms, fastestMs, gflop }, the most expensive first. Waits for a computation that is running.
    Json profile(bool on);
    /// Frees graphs and weights; the next call loads them again.
    void unload();

private:
    explicit Pipeline(const LoadRequest & request);

    std::unique_ptr<Stages> stages_;
    std::unique_ptr<MemoryPlanner> planner_;
    std::unique_ptr<Adapters> adapters_;
};

/// What the files of a request are, for formats.
formats::ModelParts model_parts(const LoadRequest & request);

/// Header-only look at a model: spec, tensors per part, dtypes, metadata. Reads no weights.
Json inspect(const LoadRequest & request);

}  // namespace latent::pipeline
