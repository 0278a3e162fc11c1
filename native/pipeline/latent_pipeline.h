#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>

#include "formats/model_files.h"
#include "models/autoencoder.h"
#include "models/unet.h"
#include "pipeline/conditioners/conditioners.h"
#include "pipeline/memory/memory_plan.h"
#include "pipeline/memory/nearest_plan.h"
#include "pipeline/pipeline.h"
#include "pipeline/sampling.h"

namespace latent::pipeline {

/// Opens the files that a request names; headers only.
formats::OpenedModel open_request(const LoadRequest & request);

/// The Pipeline over the networks of one opened model. Parts (conditioners, U-Net, first stage) are planned from headers at load;
/// their weights are read at load too, or one part at a time when memory is short (`memory: "low"`).
class LatentPipeline final : public Pipeline {
public:
    /// `device`: another pipeline's, none: a new one.
    LatentPipeline(const LoadRequest & request, formats::OpenedModel opened, graph::DevicePtr device = nullptr);

    void load(const JobContext & job);

    const ModelSpec & spec() const override { return opened_.spec; }
    Json info() const override;
    std::string tokenizer() const override { return opened_.tokenizer; }
    Conditioning encode_prompt(const PromptTokens & tokens, const JobContext & job) override;
    Conditioning encode_condition(const ConditionRequest & request, const JobContext & job) override;
    EmbeddingRows embed_images(const ImageTensor & pixels, const JobContext & job) override;
    Latents encode_image(const ImageTensor & image, const std::string & mode, uint64_t seed, const std::string & rng,
                         const JobContext & job) override;
    Latents create_latents(int width, int height, int batch, uint64_t seed, const std::string & rng) override;
    Latents predict(const Latents & latents, const std::vector<double> & timesteps, const Conditioning * conditioning,
                    const Conditioning * unconditional, double guidance_scale, const Latents * concat,
                    const JobContext & job) override;
    std::unique_ptr<Sampler> start_sampling(const SamplingRequest & request, const Latents & start, const Latents * image,
                                            const Conditioning * conditioning, const Conditioning * unconditional) override;
    ImageTensor decode(const Latents & latents, bool quantise, const JobContext & job) override;
    Codes encode_codes(const ImageTensor & image, const JobContext & job) override;
    ImageTensor decode_codes(const Codes & codes, const JobContext & job) override;
    std::vector<double> loss(const ImageTensor & image, const LossRequest & request, const JobContext & job) override;
    Picture preview(const Latents & latents, int index) const override;
    GenerateResult generate(const GenerateRequest & request, const JobContext & job) override;
    Json estimate(const EstimateRequest & request) const override;
    Json memory_usage() const override;
    Json profile(bool on) override;
    void unload() override;

private:
    struct UNetPlan {
        bool as_batch = true;  // both halves of guidance in one call
        int tile = 0;          // latent pixels, 0: whole
        uint64_t held = 0;     // bytes resident besides
        uint64_t bytes = 0;    // of one call, 0: not measured, for nothing depends on it
    };
    /// Evaluations of the U-Net, as far as memory goes.
    struct UNetCall {
        std::array<int64_t, 4> shape{};  // of the latents of all pictures
        int64_t tokens = 0;              // of cross-attention
        bool guided = false;
        SamplingRequest::DeepCache deep_cache;
        uint64_t shown = 0;  // bytes of decoded previews that somebody still looks at
    };
    /// Reused features of a run, per picture: of both halves of guidance in one batch (or the unconditional one), and of the
    /// conditional half alone.
    using Features = std::vector<std::array<models::UNetFeatures, 2>>;
    /// The arguments of one guided evaluation that stay the same over a run.
    struct Guidance {
        const Conditioning * conditioning = nullptr;
        const Conditioning * unconditional = nullptr;
        const Latents * concat = nullptr;
        double scale = 1.0;
        double rescale = 0.0;
        UNetPlan plan;
        Features * features = nullptr;
        /// Of the longer half.
        int64_t tokens() const {
            return std::max(conditioning ? conditioning->tokens : 0, unconditional ? unconditional->tokens : 0);
        }
        bool guided() const { return unconditional != nullptr && scale != 1.0; }
    };
    /// What generate() has checked and planned before the first network runs.
    struct Plan {
        ConditionRequest condition;
        std::optional<ImageTensor> image;  // start of image to image
        std::optional<ImageTensor> mask;   // of masked image to image, binarised
        Frame frame;
        std::array<int64_t, 4> shape{};  // of the latents
        std::unique_ptr<samplers::Solver> solver;
        UNetPlan unet;
        bool guided = false;
    };

    /// Pictures as far as memory goes.
    struct PictureMemory {
        int64_t width = 0, height = 0;  // pixels, 0: the model's
        bool guided = true;
        bool from_image = false;  // image to image
        int64_t tokens = -1;      // of cross-attention, -1: as usual
        int count = 1;
        SamplingRequest::DeepCache deep_cache;
        bool decoded_previews = false;
    };
    /// What was refused, and how many bytes another choice takes. The latter throws out_of_memory where that does not fit either.
    struct Wish {
        MemoryChoice choice;
        int64_t multiple = 0;  // sides of other sizes are multiples of this, in pixels; 0: the size is given
        std::function<uint64_t(const LatentPipeline & planner, const MemoryChoice & choice)> peak;
    };
    /// Counts what a run keeps between its steps for as long as it lives; it may end on any thread.
    class Kept {
    public:
        Kept(std::shared_ptr<std::atomic<uint64_t>> total, uint64_t bytes) : total_(std::move(total)), bytes_(bytes) {
            *total_ += bytes_;
        }
        ~Kept() { *total_ -= bytes_; }
        Kept(const Kept &) = delete;
        Kept & operator=(const Kept &) = delete;

    private:
        std::shared_ptr<std::atomic<uint64_t>> total_;
        uint64_t bytes_;
    };

    void choose_residency();
    void load_weights(const JobContext & job);
    uint64_t available_to(const models::Network & network) const;
    models::Network & part(const std::string & name);  // throws unsupported_model when this model has no such part
    bool keeps_all() const { return request_.memory == "fast" && !request_.max_bytes && !one_part_at_a_time_; }
    void make_room_for(const models::Network & network);
    uint64_t weights_beside(const models::Network & network) const;
    void require_bound(uint64_t bytes, const std::string & what) const;
    void require_conditioning_fits(int64_t width, int64_t height) const;
    void use(models::Network & network, const JobContext & job);
    std::vector<models::Network *> networks() const;
    void update_usage();
    void run_finite(models::Network & network, const std::function<Span<const float>()> & run);
    std::vector<std::string> float32_parts() const;

    Frame frame_of(const PictureMemory & picture) const;
    UNetCall call_of(const PictureMemory & picture) const;
    Json estimate_stages(const PictureMemory & picture) const;
    bool needs_stage(const std::string & name, const PictureMemory & picture) const;
    uint64_t peak_of(const Json & stages, const PictureMemory & picture) const;
    Wish wish_of(const PictureMemory & picture) const;
    Wish wish_of(const UNetCall & call) const;
    Wish wish_of_decode(int64_t height, int64_t width, int64_t count) const;
    Wish wish_of_encode(int64_t height, int64_t width, int64_t count) const;
    void with_nearest(const std::function<Wish()> & wish, const std::function<void()> & work) const;
    std::unique_ptr<LatentPipeline> planner_for(const MemoryChoice & choice) const;
    NearestPlans nearest_for(const Wish & wish) const;

    std::array<int64_t, 4> latent_shape(int width, int height, int batch) const;
    void check_latents(const Latents & latents, const char * what) const;
    void check_conditioning(const char * what, const std::array<int64_t, 4> & shape, const Guidance & guidance) const;
    void require_parts(const char * what) const;  // throws unsupported_model without a U-Net or a first stage

    UNetPlan plan_unet(const UNetCall & call) const;
    uint64_t measure_unet(const UNetCall & call, const UNetPlan & plan) const;
    PictureMemory memory_of(const GenerateRequest & request) const;
    void require_first_stage_fits(const PictureMemory & picture) const;
    uint64_t features_of(const UNetCall & call) const;
    uint64_t run_bytes(const UNetCall & call) const;
    void evaluate(const Latents & x, Span<const double> timesteps, const Guidance & guidance, Latents & output,
                  const JobContext & job);
    void evaluate_row(const Latents & x, int64_t row, double timestep, const Guidance & guidance, Span<float> output,
                      const JobContext & job);
    ImageTensor evaluate_halves(const ImageTensor & input, double timestep, const Guidance & guidance, int64_t row,
                                const JobContext & job);
    Predict predictor(const Guidance & guidance, const SamplingRequest & sampling, const UNetCall & call);

    Plan plan_generate(const GenerateRequest & request) const;
    SamplingRun start_run(const GenerateRequest & request, Plan & plan, Conditioning & conditioning, Conditioning & unconditional,
                          const JobContext & job);
    void sample(const GenerateRequest & request, SamplingRun & run, const JobContext & job);
    GenerateResult make_pictures(const GenerateRequest & request, const JobContext & job);
    ImageTensor finish(const Plan & plan, const Latents & latents, const JobContext & job);

    Latents encode_raw(const ImageTensor & image, const JobContext & job);
    Latents encode_alone(const ImageTensor & image, const JobContext & job);
    Latents code_of(const Latents & raw, int64_t rows, NoiseSource * noise, double scale) const;
    ImageTensor decode_latents(const Latents & latents, bool quantise, const JobContext & job);
    ImageTensor decode_scaled(const Latents & z, bool quantise, const JobContext & job);
    StagePlan plan_decode(int64_t height, int64_t width, int64_t count, uint64_t run = 0) const;
    StagePlan plan_encode(int64_t height, int64_t width, int64_t count) const;
    StagePlanRequest stage_request(int64_t height, int64_t width, uint64_t beside) const;

    LoadRequest request_;
    formats::OpenedModel opened_;
    graph::DevicePtr device_;
    std::unique_ptr<Conditioners> conditioners_;  // null: first stage only
    std::unique_ptr<models::UNet> unet_;
    std::unique_ptr<models::Autoencoder> first_stage_;
    bool one_part_at_a_time_ = false;
    uint64_t spare_ = 0;  // bytes that are taken now and will not be
    std::shared_ptr<std::atomic<uint64_t>> kept_ = std::make_shared<std::atomic<uint64_t>>(0);  // by runs, see Kept
    double load_ms_ = 0;                                                                        // spent reading weights in use()

    mutable std::mutex usage_mutex_;  // memory_usage() is called from another thread than the job's
    Json usage_;
};

}  // namespace latent::pipeline
