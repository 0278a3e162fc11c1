#include <algorithm>
#include <cmath>

#include "samplers/schedules.h"
#include "samplers/sigma_solver.h"

namespace latent::samplers {

namespace {

ScheduleRange read_range(Setup & setup) {
    Parameters & parameters = setup.parameters;
    ScheduleRange range;
    range.sigma_min = parameters.number("sigma_min", range.sigma_min, 1e-6, 1e6);
    range.sigma_max = parameters.number("sigma_max", range.sigma_max, 1e-6, 1e6);
    range.rho = parameters.number("rho", range.rho, 0.01, 100);
    range.beta_alpha = parameters.number("beta_alpha", 0.6, 0.01, 100);
    range.beta_beta = parameters.number("beta_beta", 0.6, 0.01, 100);
    range.continuous = setup.options.continuous();
    if (range.continuous) {
        const EdmSchedule edm = setup.options.noise_schedule.edm.value_or(EdmSchedule{});
        if (std::isnan(range.sigma_min)) range.sigma_min = edm.sigma_min;
        if (std::isnan(range.sigma_max)) range.sigma_max = edm.sigma_max;
    }
    if (range.sigma_min >= range.sigma_max)
        throw Error(ErrorCode::invalid_argument, "Solver parameter \"sigma_min\" must lie below \"sigma_max\"");
    return range;
}

// Levels of the whole schedule for diffusers' sigma-space schedulers, with timesteps for all but the last level.
void diffusers_levels(Setup & setup, SigmaPlan & plan, int steps, ScheduleRange range) {
    Parameters & p = setup.parameters;
    const int train = plan.table.timesteps();
    const bool spacing_named = setup.schedule == "leading" || setup.schedule == "trailing" || setup.schedule == "linspace";
    const std::string spacing =
        p.choice("timestep_spacing", spacing_named ? setup.schedule.c_str() : "linspace", {"leading", "trailing", "linspace"});
    const int offset = p.integer("steps_offset", 1, 0, train - 1);
    std::string curve = spacing_named ? "" : setup.schedule;
    if (p.flag("use_karras_sigmas", false)) curve = "karras";
    if (p.flag("use_exponential_sigmas", false)) curve = "exponential";
    if (p.flag("use_beta_sigmas", false)) curve = "beta";
    const bool log_linear = p.choice("interpolation_type", "linear", {"linear", "log_linear"}) == "log_linear";
    const bool keep_min = p.choice("final_sigmas_type", "zero", {"zero", "sigma_min"}) == "sigma_min";
    const bool round_karras = p.flag("round_karras", setup.options.sampler == "dpm2" || setup.options.sampler == "dpm2_a");

    const auto & custom = setup.options;
    if (!custom.sigmas.empty() || !curve.empty()) {
        // The schedules span the range of the spacing's first and last timesteps.
        const std::vector<double> spaced = spaced_timesteps(spacing, steps, train, offset);
        if (std::isnan(range.sigma_max)) range.sigma_max = plan.table.sigma_linear(spaced.front());
        if (std::isnan(range.sigma_min)) range.sigma_min = plan.table.sigma_linear(spaced.back());
        plan.sigmas = custom.sigmas.empty() ? make_levels(curve, ScheduleDialect::k, plan.table, steps, range) : custom.sigmas;
        if (plan.sigmas.back() == 0) plan.sigmas.pop_back();
        for (const double sigma : plan.sigmas) {
            const double t = plan.timestep_of(sigma);
            plan.timesteps.push_back(round_karras && curve == "karras" ? std::nearbyint(t) : t);
        }
    } else {
        plan.timesteps = custom.timesteps.empty() ? spaced_timesteps(spacing, steps, train, offset) : custom.timesteps;
        for (const double t : plan.timesteps) plan.sigmas.push_back(plan.table.sigma_linear(t));
        if (log_linear) {  // one extra level, so that the zero appended below is never used
            const double first = std::log(plan.table.sigma_max()), last = std::log(plan.table.sigma_min());
            plan.sigmas.clear();
            for (int i = 0; i <= steps; ++i) plan.sigmas.push_back(std::exp(first + (last - first) / steps * i));
        }
        if (plan.continuous)
            for (size_t i = 0; i < plan.timesteps.size(); ++i) plan.timesteps[i] = plan.timestep_of(plan.sigmas[i]);
    }
    if (plan.sigmas.size() == plan.timesteps.size()) {
        // Some schedules end below the table's lowest level; a final step up to that level must not be added.
        plan.sigmas.push_back(keep_min ? std::min(plan.sigma_low, plan.sigmas.back()) : 0);
    }
    const double top = *std::max_element(plan.sigmas.begin(), plan.sigmas.end());
    plan.init_noise_sigma = spacing == "leading" || setup.options.continuous() ? std::sqrt(top * top + 1) : top;
}

void k_levels(Setup & setup, SigmaPlan & plan, int steps, const ScheduleRange & range) {
    const ScheduleDialect dialect = setup.is("comfy") ? ScheduleDialect::comfy
                                    : setup.is("sgm") ? ScheduleDialect::sgm
                                                      : ScheduleDialect::k;
    plan.nearest_denoiser = setup.is("sgm") && !plan.continuous;
    plan.quantize = setup.parameters.flag("quantize", setup.is("comfy") || setup.is("sgm"));
    const SolverOptions & options = setup.options;
    if (!options.sigmas.empty()) {
        plan.sigmas = options.sigmas;
        if (plan.sigmas.back() > 0) plan.sigmas.push_back(0);
    } else if (!options.timesteps.empty()) {
        for (const double t : options.timesteps) plan.sigmas.push_back(plan.table.sigma_at(t));
        plan.sigmas.push_back(0);
    } else {
        plan.sigmas = make_full_sigmas(setup.schedule, dialect, plan.table, steps, range);
    }
    for (size_t i = 0; i + 1 < plan.sigmas.size(); ++i) plan.timesteps.push_back(plan.timestep_of(plan.sigmas[i]));
    const double top = plan.sigmas.front();
    const bool full = top > plan.table.sigma_max() * (1 - 1e-5);
    plan.init_noise_sigma = setup.is("sgm") || (setup.is("comfy") && full) ? std::sqrt(top * top + 1) : top;
}

}  // namespace

SigmaPlan plan_sigmas(Setup & setup) {
    SigmaPlan plan;
    plan.diffusers = setup.is("diffusers");
    plan.table =
        make_noise_table(setup.options.noise_schedule, plan.diffusers ? TableArithmetic::float32 : TableArithmetic::float64,
                         plan.diffusers ? TerminalSnr::sigma_4096 : TerminalSnr::sigma_4518);
    const ScheduleRange range = read_range(setup);
    const bool edm = setup.options.continuous();
    const double sigma_data = setup.options.noise_schedule.edm.value_or(EdmSchedule{}).sigma_data;
    plan.sigma_data = setup.parameters.number("sigma_data", edm ? sigma_data : 1, 1e-3, 1e3);
    plan.sigma_low = std::isnan(range.sigma_min) ? plan.table.sigma_min() : range.sigma_min;
    plan.continuous =
        setup.parameters.choice("timestep_type", edm ? "continuous" : "discrete", {"discrete", "continuous"}) == "continuous";
    SolverOptions sized = setup.options;
    if (!sized.sigmas.empty()) sized.steps = static_cast<int>(sized.sigmas.size()) - (sized.sigmas.back() == 0 ? 1 : 0);
    if (!sized.timesteps.empty()) sized.steps = static_cast<int>(sized.timesteps.size());
    Setup counted{sized, setup.dialect, setup.schedule, setup.parameters};
    StartRule start = counted.start();
    if (plan.diffusers)
        diffusers_levels(counted, plan, start.schedule_steps, range);
    else
        k_levels(counted, plan, start.schedule_steps, range);

    if (plan.timesteps.size() + 1 == plan.sigmas.size()) drop_repeats(plan.sigmas, plan.timesteps);
    // A schedule may have more or fewer levels than requested (ddim_uniform, turbo); keeps the same number of last steps.
    plan.whole_steps = static_cast<int>(plan.sigmas.size()) - 1;
    const int run = start.schedule_steps - start.first;
    const int first = sized.image_to_image ? std::clamp(plan.whole_steps - run, 0, plan.whole_steps - 1) : 0;
    plan.skipped.assign(plan.sigmas.begin(), plan.sigmas.begin() + first);
    plan.sigmas.erase(plan.sigmas.begin(), plan.sigmas.begin() + first);
    plan.timesteps.erase(plan.timesteps.begin(), plan.timesteps.begin() + first);
    plan.timesteps.resize(plan.sigmas.size() - 1);
    return plan;
}

}  // namespace latent::samplers
