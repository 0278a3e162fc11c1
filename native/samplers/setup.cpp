#include "samplers/setup.h"

#include <algorithm>
#include <cmath>

#include "samplers/schedules.h"

namespace latent::samplers {

StartRule Setup::start() const {
    const char * fallback = is("k") ? "webui" : is("comfy") ? "comfy" : is("compvis") ? "compvis" : "diffusers";
    const std::string rule = parameters.choice("start_rule", fallback, {"diffusers", "compvis", "webui", "webui_fixed", "comfy"});
    if (!options.image_to_image) return {options.steps, 0, options.steps};
    if (options.start_step >= 0) {
        if (options.start_step >= options.steps)
            throw Error(ErrorCode::invalid_argument, "The start step " + std::to_string(options.start_step) + " of " +
                                                         std::to_string(options.steps) + " steps leaves no step to run");
        return {options.steps, options.start_step, options.steps - options.start_step};
    }
    return find_start(rule, options.steps, options.strength);
}

namespace {

[[noreturn]] void unknown_spacing(const std::string & name) {
    throw Error(ErrorCode::invalid_argument,
                "Unknown timestep spacing \"" + name + "\": known are leading, trailing and linspace");
}

void check_count(int steps, int train) {
    if (steps > train)
        throw Error(ErrorCode::invalid_argument,
                    std::to_string(steps) + " steps do not fit into a spacing of " + std::to_string(train) + " timesteps");
}

// Descending integer timesteps, some of which may be equal after rounding: moves those to the nearest free neighbours.
std::vector<double> distinct(std::vector<double> timesteps, int train) {
    check_count(static_cast<int>(timesteps.size()), train);
    double lowest = 0, above = train;
    for (double & t : timesteps) t = above = std::min(t, above - 1);
    for (size_t i = timesteps.size(); i-- > 0; lowest = timesteps[i] + 1) timesteps[i] = std::max(timesteps[i], lowest);
    return timesteps;
}

// numpy.arange(train, 0, -train / steps), rounded, minus one; never more than `steps` values.
std::vector<double> trailing(int steps, int train) {
    const double stride = static_cast<double>(train) / steps;
    std::vector<double> out;
    for (int i = 0; i < steps; ++i) out.push_back(std::max(std::nearbyint(train - i * stride) - 1, 0.0));
    return out;
}

}  // namespace

std::vector<double> spaced_timesteps(const std::string & spacing, int steps, int train, int offset) {
    check_count(steps, train);
    if (spacing == "trailing") return distinct(trailing(steps, train), train);
    std::vector<double> out;
    for (int i = steps - 1; i >= 0; --i) {
        if (spacing == "linspace")
            out.push_back(steps > 1 ? (train - 1.0) / (steps - 1) * i : 0);
        else if (spacing == "leading")
            out.push_back(std::min(i * (train / steps) + offset, train - 1));
        else
            unknown_spacing(spacing);
    }
    return spacing == "leading" ? distinct(std::move(out), train) : out;
}

std::vector<double> dpm_spaced_timesteps(const std::string & spacing, int steps, int train, int offset) {
    check_count(steps, train);
    if (spacing == "trailing") return distinct(trailing(steps, train), train);
    std::vector<double> out;
    for (int i = steps; i >= 1; --i) {
        if (spacing == "linspace")
            out.push_back(std::nearbyint((train - 1.0) / steps * i));
        else if (spacing == "leading")
            out.push_back(std::min(i * (train / (steps + 1)) + offset, train - 1));
        else
            unknown_spacing(spacing);
    }
    return distinct(std::move(out), train);
}

void drop_repeats(std::vector<double> & sigmas, std::vector<double> & timesteps) {
    size_t kept = 0;
    for (size_t i = 0; i < sigmas.size(); ++i) {
        if (kept > 0 && i < timesteps.size() && !(sigmas[i] < sigmas[kept - 1])) continue;
        if (i < timesteps.size()) timesteps[kept] = timesteps[i];
        sigmas[kept++] = sigmas[i];
    }
    timesteps.resize(kept - (sigmas.size() - timesteps.size()));
    sigmas.resize(kept);
}

std::vector<int> compvis_timesteps(bool quad, int steps, int train) {
    std::vector<int> out;
    if (quad) {
        const double top = std::sqrt(train * 0.8);
        for (int i = 0; i < steps; ++i) {
            const double root = steps > 1 ? top / (steps - 1) * i : 0;
            out.push_back(std::min(static_cast<int>(root * root) + 1, train - 1));
        }
        return out;
    }
    const int stride = std::max(train / steps, 1);
    // The reference's list may exceed the last timestep, and the reference then fails.
    for (int t = 1; t < train; t += stride) out.push_back(t);
    return out;
}

std::vector<double> ays_timesteps(bool sdxl) {
    if (sdxl) return {999, 845, 730, 587, 443, 310, 193, 116, 53, 13};
    return {999, 850, 736, 645, 545, 455, 343, 233, 124, 24};
}

std::vector<int> whole_timesteps(Setup & setup, const NoiseTable & table, int steps, int & stride) {
    const SolverOptions & options = setup.options;
    const int train = table.timesteps(),
              offset = setup.parameters.integer("steps_offset", setup.is("diffusers") ? 1 : 0, 0, train - 1);
    const std::string schedule =
        setup.parameters.choice("timestep_spacing", setup.schedule.c_str(), {"leading", "trailing", "linspace"});
    stride = 0;
    if (options.timesteps.empty() && options.sigmas.empty()) {
        if (schedule == "ddim_uniform" || schedule == "quad") {
            // Quadratic lists with many steps visit the lowest timestep twice, as in the reference.
            const std::vector<int> ascending = compvis_timesteps(schedule == "quad", steps, train);
            return {ascending.rbegin(), ascending.rend()};
        }
        if (!is_sigma_schedule(schedule)) stride = std::max(train / steps, 1);
    }
    std::vector<double> out = options.timesteps;
    if (out.empty() && (!options.sigmas.empty() || is_sigma_schedule(schedule))) {
        const NoiseTable levels = table.with_finite_end();
        const std::vector<double> sigmas =
            options.sigmas.empty() ? make_levels(schedule, ScheduleDialect::k, levels, steps) : options.sigmas;
        for (const double sigma : sigmas)
            if (sigma > 0) out.push_back(levels.nearest_log(sigma));
    } else if (out.empty()) {
        out = spaced_timesteps(schedule, steps, train, offset);
    }
    for (double & t : out) t = std::nearbyint(t);
    std::vector<int> whole;
    for (const double t : distinct(std::move(out), train)) whole.push_back(static_cast<int>(t));
    return whole;
}

}  // namespace latent::samplers
