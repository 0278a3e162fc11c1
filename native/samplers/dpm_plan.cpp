#include "samplers/dpm_plan.h"

#include <algorithm>
#include <cmath>

#include "samplers/schedules.h"

namespace latent::samplers {

namespace {

// How the levels of each schedule become integer timesteps: diffusers rounds some and truncates others.
double whole(double t, const std::string & curve) {
    return curve == "exponential" || curve == "beta" ? std::floor(t) : std::nearbyint(t);
}

size_t first_step(const Setup & setup, const StartRule & start, size_t steps) {
    if (!setup.options.image_to_image) return 0;
    return steps - std::min(static_cast<size_t>(start.schedule_steps - start.first), steps);
}

}  // namespace

DpmPlan plan_dpm(Setup & setup, bool zero_final, bool zero_allowed) {
    Parameters & p = setup.parameters;
    const SolverOptions & options = setup.options;
    const NoiseTable table = make_noise_table(options.noise_schedule, TableArithmetic::float32, TerminalSnr::sigma_4096);
    const bool spacing_named = setup.schedule == "leading" || setup.schedule == "trailing" || setup.schedule == "linspace";
    const std::string spacing =
        p.choice("timestep_spacing", spacing_named ? setup.schedule.c_str() : "linspace", {"leading", "trailing", "linspace"});
    const int offset = p.integer("steps_offset", 1, 0, table.timesteps() - 1);
    std::string curve = spacing_named ? "" : setup.schedule;
    if (p.flag("use_karras_sigmas", false)) curve = "karras";
    if (p.flag("use_exponential_sigmas", false)) curve = "exponential";
    if (p.flag("use_beta_sigmas", false)) curve = "beta";
    if (p.flag("use_lu_lambdas", false)) curve = "lu_lambdas";
    const bool keep_min = p.choice("final_sigmas_type", zero_final ? "zero" : "sigma_min", {"zero", "sigma_min"}) == "sigma_min";

    if (!zero_allowed && !keep_min)
        throw Error(ErrorCode::invalid_argument, "With these settings, \"" + options.sampler +
                                                     "\" cannot reach sigma 0: \"final_sigmas_type\" must be sigma_min");

    const StartRule start = setup.start();
    DpmPlan plan;
    std::vector<double> sigmas;
    if (!options.sigmas.empty() || !curve.empty()) {
        sigmas = options.sigmas;
        if (sigmas.empty())
            sigmas = make_levels(curve == "lu_lambdas" ? "exponential" : curve, ScheduleDialect::k, table, start.schedule_steps);
        if (sigmas.back() == 0) sigmas.pop_back();
        for (const double sigma : sigmas)
            plan.timesteps.push_back(whole(table.timestep_at(sigma), options.sigmas.empty() ? curve : ""));
    } else {
        plan.timesteps = options.timesteps.empty()
                             ? dpm_spaced_timesteps(spacing, start.schedule_steps, table.timesteps(), offset)
                             : options.timesteps;
        for (const double t : plan.timesteps) sigmas.push_back(table.sigma_linear(t));
    }
    drop_repeats(sigmas, plan.timesteps);
    for (const double sigma : sigmas) plan.levels.push_back(Level::from_sigma(static_cast<float>(sigma)));
    // Some schedules end below the table's lowest level; a final step up to that level must not be added.
    const Level lowest = Level::from_sigma(table.sigma_min());
    plan.levels.push_back(!keep_min ? Level() : lowest.sigma > plan.levels.back().sigma ? plan.levels.back() : lowest);
    plan.first = first_step(setup, start, plan.timesteps.size());
    return plan;
}

DpmPlan plan_compvis_dpm(Setup & setup) {
    const SolverOptions & options = setup.options;
    const NoiseTable table = make_noise_table(options.noise_schedule, TableArithmetic::float64, TerminalSnr::sigma_4096);
    const StartRule start = setup.start();
    const int train = table.timesteps(), steps = start.schedule_steps;
    DpmPlan plan;
    for (int k = 0; k <= steps; ++k) {
        // Continuous time runs from 1 to 1/N; the network gets (t - 1/N) N, and ln alpha is interpolated linearly.
        const double t = (train - 1.0) * (steps - k) / steps;
        const auto low = std::min(static_cast<size_t>(t), static_cast<size_t>(train - 2));
        const double w = t - static_cast<double>(low);
        const double log_abar = (1 - w) * std::log(table.alphas_cumprod[low]) + w * std::log(table.alphas_cumprod[low + 1]);
        plan.levels.push_back(Level::from_abar(std::exp(log_abar)));
        if (k < steps) plan.timesteps.push_back(t);
    }
    plan.first = first_step(setup, start, plan.timesteps.size());
    return plan;
}

DpmFamilySolver::DpmFamilySolver(const SolverOptions & options, const DpmPlan & plan, const Clip & clip, bool predict_x0)
    : VpSolver(options, clip), plan_(plan), predict_x0_(predict_x0) {
    for (size_t k = plan.first; k < plan.steps(); ++k)
        add_evaluation(plan.timesteps[k], plan.levels[k], static_cast<int>(k - plan.first), true);
    set_sigmas(plan.levels.back());
}

void DpmFamilySolver::convert(size_t i, Span<const float> output, Span<const float> x, size_t keep) {
    estimate(i, output, x, clip_.active());
    history_.insert(history_.begin(), predict_x0_ ? x0_ : eps_);
    if (history_.size() > keep) history_.pop_back();
}

}  // namespace latent::samplers
