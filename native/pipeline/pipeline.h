#pragma once

#include <memory>
#include <string>
#include <vector>

#include "formats/model_files.h"
#include "pipeline/requests.h"
#include "pipeline/sampling/sampling_run.h"

// The facade of the engine, with everything that the addon calls. An image is made in this order:
//   load -> encode_inputs -> (encode_image) -> SamplingRun steps -> decode;  generate() is that sequence in one job.
// A Pipeline is used from one thread at a time, the device's job thread, also for planning memory, which reads the state of
// weights and graphs. Only info(), create_latents(), memory_usage(), profile() and cancel tokens are safe from any thread.

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
    /// Tokenizer files stored in a GGUF file (a JSON text written by convert), "" if there are none.
    std::string tokenizer() const;

    /// Only tokens, [1, tokens, dim]; also for the unconditional half of guidance.
    Conditioning encode_prompt(const PromptTokens & tokens, const JobContext & job);
    /// Encodes all inputs of the model. Throws invalid_argument naming the inputs that it takes.
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
    /// The raw network output (eps, v or sample). `timesteps` has one entry or one per batch row; fractions are allowed. With
    /// `unconditional` and a scale other than 1, returns the guided combination. `concat`: extra channels for hybrid models,
    /// instead of the conditioning's own.
    Latents predict(const Latents & latents, const std::vector<double> & timesteps, const Conditioning * conditioning,
                    const Conditioning * unconditional, double guidance_scale, const Latents * concat, const JobContext & job,
                    double image_guidance_scale = 1);
    /// `start`: unit-variance noise (strength 1). With `image` (scaled clean latents) the loop starts inside the schedule. The
    /// run keeps copies of its conditioning.
    std::unique_ptr<SamplingRun> start_sampling(const SamplingRequest & request, const Latents & start, const Latents * image,
                                                const Conditioning * conditioning, const Conditioning * unconditional);
    /// Decodes latents / scale factor, not clamped. VQ stages replace them by the nearest codes first, unless `quantise` is
    /// false.
    ImageTensor decode(const Latents & latents, bool quantise, const JobContext & job);
    /// VQ first stages: the nearest code of each latent pixel, and images from codes.
    Codes encode_codes(const ImageTensor & image, const JobContext & job);
    ImageTensor decode_codes(const Codes & codes, const JobContext & job);
    /// The training objective of the paper (Eq. 1-3) per timestep: the mean of |target - prediction|^2 over the noised latents
    /// of `image`. The same noise is used for every timestep, so a value does not depend on the other timesteps.
    std::vector<double> loss(const ImageTensor & image, const LossRequest & request, const JobContext & job);
    /// Linear latent-to-RGB preview, one pixel per latent pixel.
    Picture preview(const Latents & latents, int index) const;
    /// Decodes latents with the tiny autoencoder; throws invalid_argument if there is none (LoadRequest::preview_vae).
    ImageTensor decode_preview(const Latents & latents, const JobContext & job);

    /// Replaces the adapters of all later calls that give none themselves. Per file { path, name, matched, unmatched, skipped }
    /// (names of layers). Throws like Adapters::apply(), and then changes nothing.
    Json set_adapters(const AdapterUses & adapters, const JobContext & job);

    GenerateResult generate(const GenerateRequest & request, const JobContext & job);
    /// Several requests at once: those of the same size share the calls of the U-Net, where memory allows. Each member is told of
    /// its own result or error, as soon as it is known. `shared` is the job of what they share: its token must be cancelled when
    /// all members' are.
    void generate_together(std::vector<TogetherMember> members, const JobContext & shared);

    /// The memory and work of one generate(), from headers only: { unet, decode, encode, textEncoder, conditioner: { bytes, flops
    /// }, weights: {...}, stages: { NAME: { weights, compute, pictures, peak } }, peak }. The first group gives bytes of
    /// activations and scratch of one untiled call; flops count 2 per multiply-add. Stages are those of the plan for this
    /// pipeline's memory mode and limit, with the weights that are resident at that time; `peak` is the largest. Throws
    /// out_of_memory if a stage does not fit the limit.
    Json estimate(const EstimateRequest & request);

    /// Bytes held now: weights per part, graphs, latents; and the process's peak.
    Json memory_usage() const;
    /// Starts measuring each operation of the networks (true), or stops and returns the table (false): an array of { operation,
    /// calls, ms, fastestMs, gflop }, the most expensive first. Waits for a running computation.
    Json profile(bool on);
    /// Frees graphs and weights; the next call loads them again.
    void unload();

private:
    explicit Pipeline(const LoadRequest & request);

    std::unique_ptr<Stages> stages_;
    std::unique_ptr<MemoryPlanner> planner_;
    std::unique_ptr<Adapters> adapters_;
};

/// The files of a request, for formats.
formats::ModelParts model_parts(const LoadRequest & request);

/// Describes a model from its headers: spec, tensors per part, dtypes, metadata. Reads no weights.
Json inspect(const LoadRequest & request);

}  // namespace latent::pipeline
