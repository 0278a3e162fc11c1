#pragma once

#include <functional>
#include <memory>

#include "core/rng.h"
#include "pipeline/requests.h"
#include "samplers/solver.h"

namespace latent::pipeline {

/// The position of an evaluation in a run.
struct EvaluationPlace {
    double timestep = 0;
    size_t index = 0;          // 0, 1, 2 ... in this run
    double progress = 0;       // finished share of all steps, 0 to below 1
    double step_timestep = 0;  // timestep of the first evaluation of its step
};

/// One network evaluation with guidance: x [n, c, h, w] (already scaled for the network) to the raw output.
using Predict = std::function<void(const Latents & x, const EvaluationPlace & place, Latents & output, const JobContext & job)>;

/// The solver's options for a request and this model.
samplers::SolverOptions solver_options(const SamplingRequest & request, const ModelSpec & spec, bool image_to_image);

/// The sampling loop (paper section 3.2, Eq. 3 run backwards; the loop of diffusers' pipelines), one step at a time: solver
/// state, latents and noise stay in native buffers between steps. After a step has thrown, further steps throw invalid_argument.
class SamplingRun {
public:
    /// `start` is unit-variance noise [n, c, h, w]. With `image` (clean latents of the same shape, or one row for all) the run
    /// starts inside the schedule. `noise` is the source for the solver's later draws; its next draw is the one after the start
    /// noise. With `hole` ([n or 1, 1, h, w], with `image` only) the image is kept wherever the hole is 0: at every evaluation,
    /// the estimate of the clean latents is replaced by the image's there (masked image to image as in the web UI). With
    /// `under_way`, `start` is the solver's state after an earlier part of the schedule instead of noise.
    SamplingRun(std::unique_ptr<samplers::Solver> solver, Predict predict, SeededNoise noise, const Latents & start,
                const Latents * image, const Latents * hole = nullptr, bool under_way = false);

    int steps() const { return solver_->steps(); }
    int index() const { return finished_; }  // finished steps
    bool done() const { return evaluation_ >= solver_->evaluations().size(); }
    double sigma() const;                          // noise level after the last finished step (sigma space)
    double timestep() const { return timestep_; }  // of the last finished step's first evaluation
    void step(const JobContext & job);
    /// An evaluation in two halves, for runs that share a call of the network: begin_evaluation() fills input(), the caller
    /// writes the network's output for it to output(), and end_evaluation() takes that and returns true if the step is complete.
    EvaluationPlace begin_evaluation(const JobContext & job);
    bool end_evaluation();
    const Latents & input() const { return input_; }
    Latents & output() { return output_; }
    Latents & latents() { return x_; }  // may be read and written between steps
    /// The solver's estimate of the clean latents from the last finished step: what previews show.
    const Latents & denoised() const { return denoised_; }

private:
    void keep_image();

    std::unique_ptr<samplers::Solver> solver_;
    Predict predict_;
    SeededNoise noise_;
    Latents x_, input_, output_, denoised_;
    Latents clean_, hole_;  // for masked image to image, else empty
    size_t evaluation_ = 0;
    int finished_ = 0;
    double timestep_ = 0;
    bool pending_ = false;     // an evaluation has begun and not ended; after an error it stays so
    bool mid_step_ = false;    // evaluations of a step are left
    bool opens_step_ = false;  // of the pending evaluation
    bool ends_step_ = false;
};

}  // namespace latent::pipeline
