#include <algorithm>
#include <cmath>

#include "core/text.h"
#include "samplers/schedules.h"
#include "samplers/solvers/factories.h"

namespace latent::samplers {

namespace {

using Names = std::vector<std::string>;

struct Entry {
    const char * name;
    const char * label;
    const char * schedule;            // default of the sigma-space dialects
    const char * diffusers_schedule;  // default of the diffusers dialect
    Names dialects;                   // the first is the default
    bool stochastic;
    Factory make;
};

const std::vector<Entry> & entries() {
    const Names sigma = {"k", "comfy", "diffusers", "sgm"}, k_only = {"k", "comfy"}, k_sgm = {"k", "comfy", "sgm"};
    const Names steps = {"diffusers", "compvis"}, diffusers = {"diffusers"};
    static const std::vector<Entry> all = {
        {"ddim", "DDIM", "leading", "leading", steps, false, make_ddim},
        {"ddim_inverse", "DDIM inverse", "leading", "leading", diffusers, false, make_ddim_inverse},
        {"ddpm", "DDPM", "leading", "leading", steps, true, make_ddpm},
        {"plms", "PLMS", "leading", "leading", steps, false, make_plms},
        {"euler", "Euler", "normal", "linspace", sigma, false, make_euler},
        {"euler_a", "Euler a", "normal", "linspace", sigma, true, make_euler_a},
        {"heun", "Heun", "normal", "linspace", sigma, false, make_heun},
        {"lms", "LMS", "normal", "linspace", sigma, false, make_lms},
        {"dpm2", "DPM2", "karras", "linspace", {"k", "comfy", "diffusers"}, false, make_dpm2},
        {"dpm2_a", "DPM2 a", "karras", "linspace", {"k", "comfy", "diffusers"}, true, make_dpm2_a},
        {"dpmpp_2s_a", "DPM++ 2S a", "karras", "linspace", k_sgm, true, make_dpmpp_2s_a},
        {"dpmpp_sde", "DPM++ SDE", "karras", "linspace", k_only, true, make_dpmpp_sde},
        {"dpmpp_2m", "DPM++ 2M", "karras", "linspace", sigma, false, make_dpmpp_2m},
        {"dpmpp_2m_sde", "DPM++ 2M SDE", "karras", "linspace", {"k", "comfy", "diffusers"}, true, make_dpmpp_2m_sde},
        {"dpmpp_3m_sde", "DPM++ 3M SDE", "exponential", "linspace", k_only, true, make_dpmpp_3m_sde},
        {"dpm_adaptive", "DPM adaptive", "karras", "linspace", k_only, false, make_dpm_adaptive},
        {"dpm_fast", "DPM fast", "karras", "linspace", k_only, false, make_dpm_fast},
        {"dpm_solver", "DPM-Solver multistep", "linspace", "linspace", steps, false, make_dpm_solver},
        {"dpm_solver_single", "DPM-Solver singlestep", "linspace", "linspace", diffusers, false, make_dpm_solver_single},
        {"unipc", "UniPC", "linspace", "linspace", diffusers, false, make_unipc},
        {"deis", "DEIS", "linspace", "linspace", diffusers, false, make_deis},
        {"sa_solver", "SA-Solver", "linspace", "linspace", diffusers, true, make_sa_solver},
        {"lcm", "LCM", "leading", "leading", diffusers, true, make_lcm},
        {"tcd", "TCD", "leading", "leading", diffusers, true, make_tcd},
    };
    return all;
}

bool contains(const Names & names, const std::string & name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

const Entry & find_entry(const std::string & name) {
    Names known;
    for (const Entry & entry : entries()) {
        if (name == entry.name) return entry;
        known.push_back(entry.name);
    }
    throw Error(ErrorCode::invalid_argument, "Unknown sampler \"" + name + "\": known are " + join_names(known));
}

bool is_spacing(const std::string & schedule) {
    return contains({"leading", "trailing", "linspace"}, schedule);
}

// A schedule that exists in only one dialect selects it; otherwise the sampler's first dialect is used.
std::string choose_dialect(const Entry & entry, const SolverOptions & options) {
    if (!options.dialect.empty()) {
        if (contains(entry.dialects, options.dialect)) return options.dialect;
        throw Error(ErrorCode::invalid_argument, "Sampler \"" + options.sampler + "\" has no dialect \"" + options.dialect +
                                                     "\": known are " + join_names(entry.dialects));
    }
    if (is_spacing(options.schedule) && contains(entry.dialects, "diffusers")) return "diffusers";
    if (options.schedule == "quad" && contains(entry.dialects, "compvis")) return "compvis";
    return entry.dialects.front();
}

bool in_sigma_space(const Entry & entry) {
    return entry.dialects.front() == "k";
}

// Schedules for EDM networks: those computed from the range alone. The others look up levels in a table of training timesteps.
const Names & continuous_schedules() {
    static const Names names = {"karras", "exponential", "polyexponential", "beta", "kl_optimal", "linear_quadratic"};
    return names;
}

std::string choose_edm_schedule(const Entry & entry, const SolverOptions & options) {
    const Names & known = continuous_schedules();
    if (!in_sigma_space(entry))
        throw Error(ErrorCode::invalid_argument,
                    "Sampler \"" + options.sampler +
                        "\" cannot run a network with EDM's preconditioning: use one in sigma space, "
                        "such as euler or dpmpp_2m");
    if (!options.timesteps.empty())
        throw Error(ErrorCode::invalid_argument, "A network with EDM's preconditioning has no timesteps: give sigmas");
    if (options.schedule.empty() || options.schedule == "custom") return "karras";
    if (contains(known, options.schedule)) return options.schedule;
    throw Error(ErrorCode::invalid_argument, "A network with EDM's preconditioning cannot use the schedule \"" +
                                                 options.schedule + "\": known are " + join_names(known));
}

std::string choose_schedule(const Entry & entry, const SolverOptions & options, const std::string & dialect) {
    if (options.continuous()) return choose_edm_schedule(entry, options);
    if (options.schedule.empty() || options.schedule == "custom") {
        if (dialect == "compvis") return "ddim_uniform";
        if (dialect == "sgm") return "legacy_ddpm";
        return dialect == "diffusers" ? entry.diffusers_schedule : entry.schedule;
    }
    const bool whole = contains(entry.dialects, "compvis") || contains({"lcm", "tcd"}, entry.name);
    const bool known = is_sigma_schedule(options.schedule) || (is_spacing(options.schedule) && dialect == "diffusers") ||
                       (whole && options.schedule == "quad") || (options.schedule == "lu_lambdas" && dialect == "diffusers");
    if (known) return options.schedule;
    Names names;
    for (const ScheduleInfo & info : list_schedules()) names.push_back(info.name);
    throw Error(ErrorCode::invalid_argument, "Sampler \"" + options.sampler + "\" cannot use the schedule \"" + options.schedule +
                                                 "\" in the dialect \"" + dialect + "\": known schedules are " +
                                                 join_names(names));
}

void check_list(const std::vector<double> & values, const char * what, double top) {
    if (values.size() > 1001) throw Error(ErrorCode::invalid_argument, std::string("There are more than 1001 custom ") + what);
    for (size_t i = 0; i < values.size(); ++i)
        if (!(values[i] >= 0) || values[i] > top || (i > 0 && values[i] >= values[i - 1]))
            throw Error(ErrorCode::invalid_argument, std::string("Custom ") + what + " must descend and lie in 0.." +
                                                         number_text(top) + "; " + what + "[" + std::to_string(i) + "] is " +
                                                         number_text(values[i]));
    if (!values.empty() && values.front() == 0)
        throw Error(ErrorCode::invalid_argument, std::string("Custom ") + what + " must start above 0");
}

void check_options(const SolverOptions & options) {
    if (options.steps < 1 || options.steps > 1000)
        throw Error(ErrorCode::invalid_argument, "steps must lie in 1..1000, got " + std::to_string(options.steps));
    if (!(options.strength >= 0 && options.strength <= 1))
        throw Error(ErrorCode::invalid_argument, "strength must lie in 0..1, got " + number_text(options.strength));
    if (!(options.eta <= 100))
        throw Error(ErrorCode::invalid_argument, "eta must lie in 0..100, got " + number_text(options.eta));
    check_list(options.sigmas, "sigmas", 1e6);
    const NoiseSchedule & training = options.noise_schedule;
    check_list(options.timesteps, "timesteps",
               std::max(static_cast<double>(training.betas.empty() ? training.timesteps : training.betas.size()) - 1, 1.0));
    if (!options.sigmas.empty() && !options.timesteps.empty())
        throw Error(ErrorCode::invalid_argument, "Give custom sigmas or custom timesteps, not both");
    if (options.schedule == "custom" && options.sigmas.empty() && options.timesteps.empty())
        throw Error(ErrorCode::invalid_argument, "The schedule \"custom\" needs sigmas or timesteps");
}

std::unique_ptr<Solver> build(const SolverOptions & options, Parameters & parameters) {
    const Entry & entry = find_entry(options.sampler);
    check_options(options);
    SolverOptions counted = options;
    if (!options.timesteps.empty()) counted.steps = static_cast<int>(options.timesteps.size());
    Setup setup{counted, choose_dialect(entry, options), "", parameters};
    setup.schedule = choose_schedule(entry, options, setup.dialect);
    auto solver = entry.make(setup);
    parameters.finish();
    return solver;
}

// Number of steps whose evaluations all lie at or above the cutoff in training time.
int steps_above(const Solver & solver, const NoiseSchedule & training, double part) {
    const double train = static_cast<double>(training.betas.empty() ? training.timesteps : training.betas.size());
    const double cutoff = std::nearbyint(train - part * train);
    for (const Evaluation & at : solver.evaluations())
        if (at.timestep < cutoff) return at.step;
    return solver.steps();
}

// The part of one schedule between denoising_start and denoising_end.
std::unique_ptr<Solver> build_part(const SolverOptions & options) {
    const auto refuse = [&](const std::string & what) { throw Error(ErrorCode::invalid_argument, what); };
    if (!(options.denoising_start >= 0 && options.denoising_start < options.denoising_end && options.denoising_end <= 1))
        refuse("denoising_start and denoising_end must lie in 0..1, and the start below the end");
    if (options.image_to_image) refuse("Give either a part of the schedule or strength (image to image), not both");
    if (options.continuous()) refuse("A part of the schedule is given in training timesteps, which EDM networks do not have");
    Parameters parameters(options.extra, options.sampler);
    auto solver = build(options, parameters);
    if (solver->adaptive()) refuse("Sampler \"" + options.sampler + "\" has no fixed steps, so it cannot run part of a schedule");
    const int first = steps_above(*solver, options.noise_schedule, options.denoising_start);
    const int last = steps_above(*solver, options.noise_schedule, options.denoising_end), whole = solver->steps();
    if (options.denoising_start == 0) {
        if (last == 0) refuse("denoising_end leaves no step to run");
        solver->end_after(last);
        return solver;
    }
    if (first >= last) refuse("No step lies between denoising_start and denoising_end");
    SolverOptions late = options;
    late.image_to_image = true;
    late.start_step = first;
    Parameters again(options.extra, options.sampler);
    auto rest = build(late, again);
    if (rest->steps() != whole - first) refuse("Sampler \"" + options.sampler + "\" cannot start inside a schedule");
    rest->end_after(last - first);
    return rest;
}

// The parameters that a sampler reads in any of its dialects, found by creating it.
Names parameters_of(const Entry & entry) {
    std::set<std::string> names;
    for (const std::string & dialect : entry.dialects) {
        SolverOptions options;
        options.sampler = entry.name;
        options.dialect = dialect;
        options.steps = 10;
        Parameters parameters(Json(), entry.name);
        build(options, parameters);
        names.insert(parameters.names().begin(), parameters.names().end());
    }
    return {names.begin(), names.end()};
}

}  // namespace

std::unique_ptr<Solver> make_solver(const SolverOptions & options) {
    Parameters parameters(options.extra, options.sampler);
    const bool whole = options.denoising_start == 0 && options.denoising_end == 1;
    auto solver = whole ? build(options, parameters) : build_part(options);
    bool sound = !solver->evaluations().empty();
    for (const Evaluation & at : solver->evaluations()) sound = sound && std::isfinite(at.sigma) && std::isfinite(at.timestep);
    for (const double sigma : solver->sigmas()) sound = sound && std::isfinite(sigma);
    if (!sound) throw Error(ErrorCode::internal, "Sampler \"" + options.sampler + "\" made an empty or infinite schedule");
    return solver;
}

const std::vector<SamplerInfo> & list_samplers() {
    static const std::vector<SamplerInfo> all = [] {
        std::vector<SamplerInfo> out;
        for (const Entry & entry : entries()) {
            const std::string schedule = entry.dialects.front() == "diffusers" ? entry.diffusers_schedule : entry.schedule;
            out.push_back({entry.name, entry.label, schedule, entry.dialects, parameters_of(entry), entry.stochastic,
                           in_sigma_space(entry)});
        }
        return out;
    }();
    return all;
}

const std::vector<ScheduleInfo> & list_schedules() {
    static const std::vector<ScheduleInfo> all = [] {
        std::vector<ScheduleInfo> out = {
            {"normal", "Normal"},
            {"karras", "Karras"},
            {"exponential", "Exponential"},
            {"polyexponential", "Polyexponential"},
            {"sgm_uniform", "SGM uniform"},
            {"simple", "Simple"},
            {"ddim_uniform", "DDIM uniform"},
            {"beta", "Beta"},
            {"ays", "Align Your Steps (SD 1.x)"},
            {"ays_sdxl", "Align Your Steps (SDXL)"},
            {"kl_optimal", "KL optimal"},
            {"linear_quadratic", "Linear quadratic"},
            {"vp", "Variance preserving"},
            {"legacy_ddpm", "generative-models, SDXL"},
            {"turbo", "SDXL-Turbo demo"},
            {"leading", "Leading timesteps"},
            {"trailing", "Trailing timesteps"},
            {"linspace", "Evenly spaced timesteps"},
            {"quad", "Quadratic timesteps (CompVis)"},
            {"lu_lambdas", "Uniform in lambda (DPM-Solver)"},
            {"custom", "Custom sigmas or timesteps"},
        };
        for (ScheduleInfo & info : out) info.continuous = info.name == "custom" || contains(continuous_schedules(), info.name);
        return out;
    }();
    return all;
}

}  // namespace latent::samplers
