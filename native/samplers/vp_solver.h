#pragma once

#include "samplers/setup.h"

// Base of the samplers on variance-preserving states: x = alpha * x0 + sigma * noise with alpha^2 + sigma^2 = 1, network input x.

namespace latent::samplers {

/// A noise level of a variance-preserving process.
struct Level {
    double alpha = 1, sigma = 0;
    static Level from_abar(double abar);
    static Level from_sigma(double sigma);  // of sigma space, sigma / alpha here
    /// The level in sigma space; zero_snr_sigma where nothing of the image is left.
    double ratio() const { return alpha > 0 ? sigma / alpha : zero_snr_sigma; }
    /// Half the log signal-to-noise ratio.
    double lambda() const;
};

/// What is done to the estimate of x0: clamping, or dynamic thresholding (Saharia et al. 2022, section 2.3).
struct Clip {
    bool clamp = false, threshold = false;
    double range = 1, quantile = 0.995, maximum = 1;
    bool active() const { return clamp || threshold; }
    /// Reads clip_sample, clip_sample_range, thresholding, dynamic_thresholding_ratio and sample_max_value.
    static Clip read(Parameters & parameters, bool clamp_by_default = false);
    void apply(Span<float> x0, size_t row) const;
};

class VpSolver : public Solver {
public:
    double init_noise_sigma() const override { return 1; }
    void scale_input(size_t i, Span<const float> x, Span<float> out) const override;
    void to_denoised(size_t i, Span<const float> model_output, Span<const float> x, Span<float> out) const override;
    void from_denoised(size_t i, Span<const float> denoised, Span<const float> x, Span<float> out) const override;
    void add_noise(size_t i, Span<const float> clean, Span<const float> noise, Span<float> out) const override;

protected:
    VpSolver(const SolverOptions & options, const Clip & clip)
        : prediction_(options.prediction), clip_(clip), row_(options.row), sampler_(options.sampler) {}

    /// Throws invalid_argument at zero SNR with eps prediction, which says nothing of the image there.
    void add_evaluation(double timestep, Level level, int step, bool ends_step);
    /// Sets sigmas() from the levels of the steps' first evaluations and the final level.
    void set_sigmas(Level final_level);
    /// to_denoised into x0_, clipped, and the noise it implies into eps_. The network's own eps is kept where it predicts eps,
    /// unless `from_clipped`.
    void estimate(size_t i, Span<const float> model_output, Span<const float> x, bool from_clipped = false);
    const std::vector<float> & draw(NoiseSource & source, size_t count);

    Prediction prediction_;
    Clip clip_;
    size_t row_;
    std::vector<Level> levels_;  // per evaluation
    std::vector<float> x0_, eps_, noise_;

private:
    std::string sampler_;
};

/// Refuses an evaluation at zero SNR where the output cannot be turned into an estimate of the image.
[[noreturn]] void refuse_zero_snr(const std::string & sampler);

}  // namespace latent::samplers
