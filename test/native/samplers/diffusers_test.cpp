#include <cmath>
#include <set>

#include "diffusers_options.h"

using fixtures::FormulaNoise;
using fixtures::Json;
using fixtures::Values;
namespace ls = latent::samplers;

namespace fixtures {

namespace {

struct Class {
    const char * sampler;
    const char * spacing;
};

const std::map<std::string, Class> & classes() {
    static const std::map<std::string, Class> all = {
        {"DDIMScheduler", {"ddim", "leading"}},
        {"DDIMInverseScheduler", {"ddim_inverse", "leading"}},
        {"DDPMScheduler", {"ddpm", "leading"}},
        {"PNDMScheduler", {"plms", "leading"}},
        {"EulerDiscreteScheduler", {"euler", "linspace"}},
        {"EulerAncestralDiscreteScheduler", {"euler_a", "linspace"}},
        {"HeunDiscreteScheduler", {"heun", "linspace"}},
        {"KDPM2DiscreteScheduler", {"dpm2", "linspace"}},
        {"KDPM2AncestralDiscreteScheduler", {"dpm2_a", "linspace"}},
        {"LMSDiscreteScheduler", {"lms", "linspace"}},
        {"DPMSolverMultistepScheduler", {"dpm_solver", "linspace"}},
        {"DPMSolverSinglestepScheduler", {"dpm_solver_single", "linspace"}},
        {"UniPCMultistepScheduler", {"unipc", "linspace"}},
        {"DEISMultistepScheduler", {"deis", "linspace"}},
        {"SASolverScheduler", {"sa_solver", "linspace"}},
        {"EDMEulerScheduler", {"euler", ""}},
        {"EDMDPMSolverMultistepScheduler", {"dpmpp_2m", ""}},
        {"LCMScheduler", {"lcm", ""}},
        {"TCDScheduler", {"tcd", ""}},
    };
    return all;
}

}  // namespace

ls::SolverOptions diffusers_options(const std::string & scheduler, const Json & config) {
    const Class & known = classes().at(scheduler);
    ls::SolverOptions options;
    options.sampler = known.sampler;
    options.dialect = "diffusers";
    options.extra = Json::object();
    const bool spaced = *known.spacing != 0;
    if (spaced) options.extra["steps_offset"] = 0;
    options.schedule = config.value("timestep_spacing", known.spacing);
    if (!spaced) options.schedule = config.value("sigma_schedule", "");
    if (scheduler.rfind("EDM", 0) == 0) options.noise_schedule.edm.emplace();
    if (scheduler == "PNDMScheduler") options.extra["skip_prk_steps"] = false;
    auto & noise = options.noise_schedule;
    noise.beta_start = config.value("beta_start", noise.beta_start);
    noise.beta_end = config.value("beta_end", noise.beta_end);
    noise.beta_schedule = config.value("beta_schedule", noise.beta_schedule);
    noise.zero_terminal_snr = config.value("rescale_betas_zero_snr", false);
    static const std::set<std::string> taken = {
        "num_train_timesteps",    "beta_start",      "beta_end",         "beta_schedule",
        "rescale_betas_zero_snr", "prediction_type", "timestep_spacing", "sigma_schedule"};
    for (const auto & [name, value] : config.items())
        if (!taken.count(name) && (spaced || name != "steps_offset")) options.extra[name] = value;
    return options;
}

ls::NoiseTable diffusers_table(const ls::SolverOptions & options) {
    static const std::set<std::string> whole = {"ddim", "ddim_inverse", "ddpm", "plms", "lcm", "tcd"};
    return ls::make_noise_table(options.noise_schedule, ls::TableArithmetic::float32,
                                whole.count(options.sampler) ? ls::TerminalSnr::zero : ls::TerminalSnr::sigma_4096);
}

}  // namespace fixtures

namespace {

bool same_timesteps(const ls::Solver & solver, const Json & expected) {
    bool ok = solver.evaluations().size() == expected.size();
    for (size_t i = 0; ok && i < expected.size(); ++i) {
        const double t = expected[i];
        ok = std::fabs(solver.evaluations()[i].timestep - t) <= (t == std::floor(t) ? 1e-3 : 0.02);
    }
    return ok;
}

// EDM's output at a level, for the network that knows the mixture.
Values edm_network(double sigma, double data, const Values & x) {
    const double square = sigma * sigma + data * data, skip = data * data / square, out = sigma * data / std::sqrt(square);
    const std::vector<double> clean = fixtures::Mixture().clean(x, 1, sigma);
    Values output(x.size());
    for (size_t j = 0; j < x.size(); ++j) output[j] = static_cast<float>((clean[j] - skip * x[j]) / out);
    return output;
}

bool run_diffusers_case(const Json & test) {
    ls::SolverOptions options = fixtures::diffusers_options(test.at("class"), test.at("config"));
    options.steps = test.at("num_inference_steps");
    options.prediction = options.continuous() ? latent::Prediction::edm : fixtures::prediction(test);
    if (test.contains("step_args"))
        for (const auto & [name, value] : test.at("step_args").items()) {
            if (name == "eta")
                options.eta = value;
            else
                options.extra[name] = value;
        }
    const auto solver = ls::make_solver(options);
    const auto table = fixtures::diffusers_table(options);
    bool ok = same_timesteps(*solver, test.at("timesteps"));
    if (!ok) check::fail(test.at("id").get<std::string>().c_str(), 0, "timesteps differ");
    const double init = test.at("init_noise_sigma");
    ok = ok && std::fabs(solver->init_noise_sigma() - init) <= 1e-5 * init;

    Values x = fixtures::formula("input:x_T", fixtures::latent_size), input(x.size());
    for (float & v : x) v = static_cast<float>(v * solver->init_noise_sigma());
    if (test.at("id") == "ddim_inverse") {
        x = fixtures::formula("input:x_0", fixtures::latent_size);
        for (float & v : x) v = static_cast<float>(v * 0.8);
    }
    FormulaNoise formula_noise;
    latent::SeededNoise torch_noise(latent::RngKind::mt19937, test.value("torch_cpu_seed", 0), 1);
    latent::NoiseSource & noise =
        test.contains("torch_cpu_seed") ? static_cast<latent::NoiseSource &>(torch_noise) : formula_noise;
    fixtures::Trajectory trajectory("samplers_diffusers", test);
    trajectory.add(x);
    const bool continuous = test.at("config").value("timestep_type", "discrete") == "continuous";
    for (size_t i = 0; i < solver->evaluations().size(); ++i) {
        const double t = solver->evaluations()[i].timestep;
        solver->prepare(i, x, noise);
        solver->scale_input(i, x, input);
        const double at = continuous ? table.timestep_at(std::exp(4 * t)) : t;
        const Values output = options.continuous() ? edm_network(std::exp(4 * t), 0.5, x)
                                                   : fixtures::guided_network(test, table, at, input, options.prediction);
        solver->advance(i, output, x, noise);
        trajectory.add(x);
    }
    return ok && trajectory.check();
}

}  // namespace

TEST(samplers_diffusers) {
    fixtures::for_cases("samplers_diffusers", fixtures::json("samplers_diffusers").at("cases"), {}, run_diffusers_case);
}
