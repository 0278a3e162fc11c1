#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/model_spec.h"
#include "core/rng.h"
#include "core/span.h"

// Solvers of the reverse diffusion process on plain float spans. They are independent of networks:
//
//   auto solver = make_solver(options);
//   x = noise * solver->init_noise_sigma();                 // or solver->start_from_image(clean, noise, x)
//   for (size_t i = 0; i < solver->evaluations().size(); ++i) {
//       solver->prepare(i, x, noise_source);                // adds churn noise if requested, otherwise does nothing
//       solver->scale_input(i, x, input);
//       output = network(input, solver->evaluations()[i].timestep);   // eps, v or sample, after guidance
//       solver->advance(i, output, x, noise_source);
//       if (solver->evaluations()[i].ends_step) ...          // progress, preview, mask blending
//   }
//
// `x` is always the point of the next evaluation. Solvers with several evaluations per step keep values of earlier ones
// internally.

namespace latent::samplers {

/// One network evaluation of a run. All are known before the run starts, except in adaptive solvers.
struct Evaluation {
    double timestep = 0;    // the network's timestep input; may be fractional
    double sigma = 0;       // noise level of x in sigma space, sqrt((1 - abar) / abar); 4096 at zero terminal SNR
    int step = 0;           // 0-based step that this evaluation belongs to
    bool ends_step = true;  // true if advance() of this evaluation completes the step
};

class Solver {
public:
    virtual ~Solver() = default;

    const std::vector<Evaluation> & evaluations() const { return evaluations_; }
    /// Number of steps of the run; in an adaptive solver, those known so far.
    int steps() const { return evaluations_.empty() ? 0 : evaluations_.back().step + 1; }
    /// Noise levels of the run in sigma space, one per step plus the final one, descending. (An adaptive solver lists the level
    /// of a step twice if the step was repeated.)
    const std::vector<double> & sigmas() const { return sigmas_; }
    /// True if the number of evaluations depends on the network's outputs; advance() then appends evaluations.
    virtual bool adaptive() const { return false; }
    /// Keeps only the first `steps` steps; x then ends at the level where the next step would start.
    void end_after(int steps);

    /// Text to image starts from standard normal noise times this.
    virtual double init_noise_sigma() const = 0;

    /// Before evaluation i: may add noise to x (s_churn). Draws no noise unless churn is on.
    virtual void prepare(size_t i, Span<float> x, NoiseSource & noise);

    /// The network's input for evaluation i.
    virtual void scale_input(size_t i, Span<const float> x, Span<float> out) const = 0;

    /// Takes the network's output of evaluation i (0, 1, 2, ... in order) and updates x in place.
    virtual void advance(size_t i, Span<const float> model_output, Span<float> x, NoiseSource & noise) = 0;

    /// The solver's estimate of the clean latents (x0) from evaluation i; also what previews show. `out` may alias
    /// `model_output`.
    virtual void to_denoised(size_t i, Span<const float> model_output, Span<const float> x, Span<float> out) const = 0;
    /// The inverse: the network output that corresponds to `denoised`. Masked sampling edits x0 through this pair.
    virtual void from_denoised(size_t i, Span<const float> denoised, Span<const float> x, Span<float> out) const = 0;

    /// Clean latents with noise at the level of evaluation i; at i == evaluations().size() the clean latents themselves.
    virtual void add_noise(size_t i, Span<const float> clean, Span<const float> noise, Span<float> out) const = 0;
    /// Image to image: the x to begin with (options.image_to_image). CompVis starts one level above the first evaluation.
    virtual void start_from_image(Span<const float> clean, Span<const float> noise, Span<float> out) const;

    /// A copy with all state, for snapshots of a run.
    virtual std::unique_ptr<Solver> clone() const = 0;

protected:
    /// True if evaluation i belongs to a step between equal levels, which leaves x unchanged: the last step of a schedule that
    /// ends below the lowest level of the training table. Formulas that divide by the size of the step must skip it.
    bool stays(size_t i) const;

    std::vector<Evaluation> evaluations_;
    std::vector<double> sigmas_;
};

/// Options of a run. Zero or empty means the sampler's default.
struct SolverOptions {
    std::string sampler = "euler";
    std::string schedule;  // see list_schedules(); empty: the sampler's default
    /// Whose arithmetic: "k" (k-diffusion, web UIs), "diffusers", "compvis", "sgm". Empty: chosen from sampler and schedule.
    std::string dialect;
    int steps = 20;              // 1..1000
    std::vector<double> sigmas;  // custom noise levels, descending, with or without the final 0; overrides `schedule` and `steps`
    std::vector<double> timesteps;  // custom timesteps of the steps, descending; overrides `schedule` and `steps`
    /// Share of fresh noise. Negative: the sampler's default (0 for ddim and deterministic ones, 1 for ancestral and SDE ones).
    double eta = -1;
    Prediction prediction = Prediction::eps;
    NoiseSchedule noise_schedule;
    bool image_to_image = false;  // start inside the schedule, by `strength`
    double strength = 1.0;        // 0..1
    int start_step = -1;          // image to image: the first step to run, instead of `strength`; -1: not given
    /// Part of the training time to run, counted from pure noise: steps whose evaluations lie at or above round(N (1 - end)) and
    /// below round(N (1 - start)). Two networks can share a schedule this way (SDXL's refiner): one ends at f, the other starts
    /// at f.
    double denoising_start = 0, denoising_end = 1;
    size_t row = 0;  // elements of one image's latents, for statistics per image (thresholding); 0: x is one image
    /// Solver parameters by their diffusers / k-diffusion names; null when absent. Unknown names are rejected.
    Json extra;

    /// Trained on continuous noise levels: the time input is ln(sigma) / 4. Only for samplers in sigma space.
    bool continuous() const { return prediction == Prediction::edm || noise_schedule.edm; }
};

/// Throws invalid_argument for unknown names (listing the known ones) and numbers out of range.
std::unique_ptr<Solver> make_solver(const SolverOptions & options);

struct SamplerInfo {
    std::string name;   // public name, e.g. "dpmpp_2m"
    std::string label;  // human name, e.g. "DPM++ 2M"
    std::string default_schedule;
    std::vector<std::string> dialects;    // the first is the default
    std::vector<std::string> parameters;  // names accepted in SolverOptions::extra
    bool stochastic = false;              // draws noise at its default eta
    bool continuous = false;              // runs networks trained on continuous noise levels, by default with karras
};

struct ScheduleInfo {
    std::string name;
    std::string label;
    bool continuous = false;  // for networks trained on continuous noise levels, too
};

const std::vector<SamplerInfo> & list_samplers();
const std::vector<ScheduleInfo> & list_schedules();

/// Classifier-free guidance: out = uncond + scale * (cond - uncond), on raw network outputs. With `rescale` phi > 0 the result is
/// rescaled towards the standard deviation of `cond` (Lin et al. 2023, section 3.4): out * (phi * std(cond) / std(out) + 1 -
/// phi), the standard deviation taken per batch row of `row` elements (0: all is one row). `out` may alias either input.
void apply_guidance(Span<const float> uncond, Span<const float> cond, double scale, double rescale, size_t row, Span<float> out);

/// Guidance by a prompt and by the image to edit (InstructPix2Pix, arXiv 2211.09800 Eq. 3), from one row each of the outputs with
/// neither, with the image, and with both. `rescale` as above. `out` may be one of them.
void apply_image_guidance(Span<const float> neither, Span<const float> picture, Span<const float> both, double scale,
                          double image_scale, double rescale, Span<float> out);

}  // namespace latent::samplers
