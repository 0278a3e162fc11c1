#pragma once

#include <string>
#include <vector>

#include "samplers/noise_table.h"

// Lists of noise levels for samplers in sigma space (k-diffusion, web UIs, ComfyUI, generative-models).

namespace latent::samplers {

/// Whose formula to use if they differ.
enum class ScheduleDialect { k, comfy, sgm };

/// Optional numbers; NaN means the schedule's default.
struct ScheduleRange {
    double sigma_min;                          // the table's first entry
    double sigma_max;                          // the table's last entry
    double rho;                                // karras 7, polyexponential 1
    double beta_alpha = 0.6, beta_beta = 0.6;  // parameters of the beta distribution
    bool continuous = false;                   // levels of a network without training timesteps; sigma_min and sigma_max are set
    ScheduleRange();
};

/// Descending noise levels, with the final 0 if the reference appends it. `steps` is 1..1000 (checked by the caller). Throws
/// invalid_argument for an unknown name.
std::vector<double> make_sigmas(const std::string & name, ScheduleDialect dialect, const NoiseTable & table, int steps,
                                const ScheduleRange & range = {});

/// The same, but a schedule that has fewer than `steps` steps throws invalid_argument (turbo has ten).
std::vector<double> make_full_sigmas(const std::string & name, ScheduleDialect dialect, const NoiseTable & table, int steps,
                                     const ScheduleRange & range = {});

/// The levels of the steps without the final one, for samplers that choose it themselves. Same errors as make_full_sigmas.
std::vector<double> make_levels(const std::string & name, ScheduleDialect dialect, const NoiseTable & table, int steps,
                                const ScheduleRange & range = {});

/// True for names that make_sigmas knows (the timestep spacings are not among them).
bool is_sigma_schedule(const std::string & name);

/// The inverse of the regularised incomplete beta function (scipy.stats.beta.ppf), p in 0..1, both parameters above 0.
double beta_quantile(double p, double a, double b);

}  // namespace latent::samplers
