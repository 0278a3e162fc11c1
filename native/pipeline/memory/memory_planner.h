#pragma once

#include <functional>

#include "pipeline/memory/alternatives.h"
#include "pipeline/stages.h"

namespace latent::pipeline {

/// What determines the memory of a run.
struct PictureOutline {
    int64_t width = 0, height = 0;  // pixels, 0: the model's
    int rows = 0;                   // evaluations that guidance combines, 0: the maximum
    bool from_image = false;        // image to image
    int64_t tokens = -1;            // of cross-attention, -1: the usual number
    int count = 1;
    SamplingRequest::DeepCache deep_cache;
    std::string preview_method;  // "": no previews
    bool refined = true;         // with the refiner, if there is one

    /// Whether previews are decoded, so that their bytes exist during the run.
    bool decodes_previews() const { return preview_method == "vae" || preview_method == "taesd"; }
};

/// Computes the memory that images take from the plans for making them, and what would fit if they do not.
class MemoryPlanner {
public:
    explicit MemoryPlanner(const Stages & stages) : stages_(stages) {}

    /// A task that may not fit, and a function that gives the bytes of an alternative; it throws out_of_memory if the alternative
    /// does not fit either.
    struct Demand {
        Alternative wanted;
        int64_t multiple = 0;  // sides of alternatives are multiples of this, in pixels; 0: the size is fixed
        std::function<uint64_t(const MemoryPlanner & planner, const Alternative & alternative)> peak;
    };
    /// All stages; only evaluations of the denoising network; decoding (height and width in latent pixels) and encoding (in
    /// pixels) `count` images.
    Demand pictures(const PictureOutline & picture) const;
    Demand evaluations(const DenoisingCall & call) const;
    Demand decoding(int64_t height, int64_t width, int64_t count) const;
    Demand encoding(int64_t height, int64_t width, int64_t count) const;
    /// Runs `work`; if memory is insufficient, the error lists alternatives that fit.
    void advise(const std::function<Demand()> & demand, const std::function<void()> & work) const;

    /// Pipeline::estimate().
    Json estimate(const EstimateRequest & request) const;

    /// For a checked request.
    PictureOutline outline_of(const GenerateRequest & request) const;
    /// The evaluations that make the images.
    DenoisingCall call_of(const PictureOutline & picture) const;
    /// The refiner's evaluations, which reuse no features.
    DenoisingCall refiner_call_of(const PictureOutline & picture) const;
    /// Throw out_of_memory if a stage does not fit the caller's limit: conditioning for an image of this size, and encoding or
    /// decoding the images.
    void require_conditioning_fits(int64_t width, int64_t height) const;
    void require_first_stage_fits(const PictureOutline & picture) const;

private:
    StagePlan plan_previews(const PictureOutline & picture, const DenoisingCall & call) const;
    uint64_t run_beside_decoder(const PictureOutline & picture, const DenoisingCall & call) const;
    uint64_t run_bytes(const DenoisingCall & call) const;
    Frame frame_of(const PictureOutline & picture) const;
    /// The conditioners' networks, including the refiner's, with the memory of a call.
    std::vector<std::pair<const models::Network *, graph::GraphMeasure>> measure_conditioners(const Frame & frame) const;
    Json stages_of(const PictureOutline & picture) const;
    bool needs_stage(const std::string & name, const PictureOutline & picture) const;
    uint64_t peak_of(const Json & stages, const PictureOutline & picture) const;
    Alternatives alternatives_to(const Demand & demand) const;
    /// The smallest limit under which the images can be made, with weights streamed from the file; 0 if the planner finds none.
    uint64_t floor_of(const PictureOutline & picture) const;

    const Stages & stages_;
};

}  // namespace latent::pipeline
