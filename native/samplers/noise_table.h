#pragma once

#include <vector>

#include "core/model_spec.h"

namespace latent::samplers {

/// Arithmetic of the training tables. The results differ by about 1e-7 relative, which reference numbers show.
enum class TableArithmetic {
    float64,  // CompVis, k-diffusion: double throughout, abar rounded to float32 at the end
    float32,  // diffusers: betas in float32, running product kept in double and rounded per entry
};

/// The last abar of a schedule with zero terminal SNR.
enum class TerminalSnr {
    zero,        // exactly 0: sigma is infinite (DDIM, DDPM, LCM, TCD)
    sigma_4096,  // 2^-24 (diffusers' sigma-space and DPM-Solver schedulers)
    sigma_4518,  // 4.897e-8 (web UIs)
};

/// A finite noise level in sigma space for zero signal-to-noise ratio: diffusers' choice.
constexpr double zero_snr_sigma = 4096;

/// The discrete noise schedule of training, and conversion between timesteps and noise levels (Karras et al. 2022, k-diffusion
/// external.py).
struct NoiseTable {
    std::vector<double> betas;
    std::vector<double> alphas_cumprod;  // abar(t)
    std::vector<double> sigmas;          // sqrt((1 - abar) / abar), ascending; infinite where abar is 0
    std::vector<double> log_sigmas;      // rounded to float32, as the references keep them

    int timesteps() const { return static_cast<int>(sigmas.size()); }
    double sigma_min() const { return sigmas.front(); }
    double sigma_max() const { return sigmas.back(); }

    /// Interpolates ln sigma at a fractional timestep, clamped to the table.
    double sigma_at(double timestep) const;
    /// The inverse, clamped to 0 .. timesteps - 1.
    double timestep_at(double sigma) const;
    /// The table entry nearest in ln sigma.
    int nearest_log(double sigma) const;
    /// The table entry nearest in sigma (generative-models' quantised denoiser).
    int nearest(double sigma) const;
    /// Linear interpolation of sigma itself (numpy.interp over timesteps).
    double sigma_linear(double timestep) const;
    /// abar at an integer timestep; out of range throws invalid_argument.
    double abar(int timestep) const;
    /// The same with an infinite last sigma replaced by zero_snr_sigma, for formulas that compute with levels.
    NoiseTable with_finite_end() const;
};

/// Throws invalid_argument for unknown beta schedules, fewer than 2 timesteps, betas outside (0, 1) (the last may be 1: zero
/// terminal SNR), and betas whose noise levels leave the range of float32.
NoiseTable make_noise_table(const NoiseSchedule & schedule, TableArithmetic arithmetic, TerminalSnr terminal);

}  // namespace latent::samplers
