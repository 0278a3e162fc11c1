#pragma once

#include <utility>

#include "samplers/setup.h"

// Base of the samplers that work in sigma space: x = x0 + sigma * noise, network input x / sqrt(sigma^2 + sigma_data^2) (Karras
// et al. 2022), where sigma_data is 1 except for EDM networks.

namespace latent::samplers {

/// Noise levels and timesteps of a run before the solver adds its intermediate points.
struct SigmaPlan {
    NoiseTable table;
    std::vector<double> sigmas;     // levels to run, including the final one
    std::vector<double> timesteps;  // of all levels but the last
    double init_noise_sigma = 1;
    double sigma_low = 0;           // the lowest level above 0 that the network was trained for
    double sigma_data = 1;          // standard deviation of the data, for scaling the network's input and output
    std::vector<double> skipped;    // levels before the start of image to image
    int whole_steps = 0;            // number of steps of the whole schedule, including the skipped ones
    bool diffusers = false;         // diffusers' churn, and its final noise in ancestral solvers
    bool quantize = false;          // timesteps for the network are integers
    bool nearest_denoiser = false;  // generative-models: the denoiser's sigma is rounded to a table entry
    bool continuous = false;        // timesteps are ln(sigma) / 4

    double timestep_of(double sigma) const;
};

/// Reads schedule parameters (sigma_min, sigma_max, rho, quantize ... or diffusers' configuration names) and makes the plan.
SigmaPlan plan_sigmas(Setup & setup);

class SigmaSolver : public Solver {
public:
    double init_noise_sigma() const override { return init_; }
    void scale_input(size_t i, Span<const float> x, Span<float> out) const override;
    void to_denoised(size_t i, Span<const float> model_output, Span<const float> x, Span<float> out) const override;
    void from_denoised(size_t i, Span<const float> denoised, Span<const float> x, Span<float> out) const override;
    void add_noise(size_t i, Span<const float> clean, Span<const float> noise, Span<float> out) const override;

protected:
    SigmaSolver(const SigmaPlan & plan, Prediction prediction);
    /// Appends an evaluation at `sigma`. Evaluations between grid levels get their timestep from the plan.
    void add_evaluation(const SigmaPlan & plan, double sigma, double timestep, int step, bool ends_step);
    /// One evaluation per step, at the grid's levels.
    void add_grid(const SigmaPlan & plan);
    /// Stores to_denoised() in denoised_.
    const std::vector<float> & denoise(size_t i, Span<const float> model_output, Span<const float> x);
    /// Draws standard normal noise for the interval between two levels into noise_.
    const std::vector<float> & draw(NoiseSource & source, size_t count, double sigma, double sigma_next);
    const std::vector<float> & draw(NoiseSource & source, size_t count);

    /// True if the output is already the derivative (x - x0) / sigma.
    bool predicts_eps() const { return prediction_ == Prediction::eps; }

    Prediction prediction_;
    std::vector<double> denoiser_sigmas_;  // per evaluation, the training sigma at its timestep
    std::vector<float> denoised_, noise_;

private:
    /// x0 = first * x + second * output at evaluation i.
    std::pair<double, double> output_weights(size_t i) const;

    double init_, sigma_data_;
};

/// Splits a step into a deterministic part down to `down` and fresh noise with standard deviation `up` (ancestral sampling).
struct AncestralStep {
    double down, up;
};
AncestralStep ancestral_step(double sigma, double sigma_next, double eta);

/// Karras et al. 2022, algorithm 2: noise added before a step.
struct Churn {
    double amount = 0, low = 0, high = 0, noise = 1;
    static Churn read(Parameters & parameters);
    /// The raised level; equal to sigma if no noise is added.
    double raise(double sigma, int steps) const;
    /// Standard deviation of the noise that raises a state from `sigma` to `raised`.
    double added(double sigma, double raised) const;
};

/// Default eta where the caller gave none.
double eta_or(const SolverOptions & options, double fallback);
/// Multiplier of injected noise.
double read_s_noise(Parameters & parameters);

}  // namespace latent::samplers
