#include <cmath>

#include "fixtures.h"
#include "samplers/schedules.h"

using fixtures::FormulaNoise;
using fixtures::Json;
using fixtures::Values;
namespace ls = latent::samplers;

namespace {

std::string sampler_of(const std::string & function) {
    static const std::map<std::string, std::string> names = {{"sample_euler", "euler"},
                                                             {"sample_heun", "heun"},
                                                             {"sample_dpm_2", "dpm2"},
                                                             {"sample_lms", "lms"},
                                                             {"sample_dpmpp_2m", "dpmpp_2m"},
                                                             {"sample_euler_ancestral", "euler_a"},
                                                             {"sample_dpm_2_ancestral", "dpm2_a"},
                                                             {"sample_dpmpp_2s_ancestral", "dpmpp_2s_a"},
                                                             {"sample_dpmpp_sde", "dpmpp_sde"},
                                                             {"sample_dpmpp_2m_sde", "dpmpp_2m_sde"},
                                                             {"sample_dpmpp_3m_sde", "dpmpp_3m_sde"},
                                                             {"sample_dpm_fast", "dpm_fast"},
                                                             {"sample_dpm_adaptive", "dpm_adaptive"},
                                                             {"EulerEDMSampler", "euler"},
                                                             {"HeunEDMSampler", "heun"},
                                                             {"EulerAncestralSampler", "euler_a"},
                                                             {"DPMPP2SAncestralSampler", "dpmpp_2s_a"},
                                                             {"DPMPP2MSampler", "dpmpp_2m"},
                                                             {"LinearMultistepSampler", "lms"}};
    return names.at(function);
}

void take_arguments(const Json & test, ls::SolverOptions & options) {
    options.extra = Json::object();
    if (!test.contains("args")) return;
    for (const auto & [name, value] : test.at("args").items()) {
        if (name == "eta")
            options.eta = value;
        else
            options.extra[name] = value;
    }
}

// k-diffusion's denoiser has no timesteps: the network is asked for x0 at the evaluation's sigma.
bool run_k(const Json & test) {
    ls::SolverOptions options;
    options.sampler = sampler_of(test.at("function"));
    options.dialect = "k";
    options.schedule = test.at("schedule").is_string() ? test.at("schedule").get<std::string>() : "karras";
    options.steps = test.at("steps");
    options.prediction = latent::Prediction::sample;
    take_arguments(test, options);
    const auto solver = ls::make_solver(options);
    bool ok = true;
    if (test.contains("sigmas"))
        for (size_t i = 0; i < test.at("sigmas").size(); ++i)
            ok = ok && std::fabs(solver->sigmas().at(i) - test.at("sigmas")[i].get<double>()) <= 5e-5 * solver->sigmas()[i];

    Values x = fixtures::formula("input:x_T", fixtures::latent_size);
    for (float & v : x) v = static_cast<float>(v * solver->init_noise_sigma());
    FormulaNoise formula_noise;
    latent::SeededNoise torch_noise(latent::RngKind::mt19937, test.value("torch_cpu_seed", 0), 1);
    latent::NoiseSource & noise =
        test.contains("torch_cpu_seed") ? static_cast<latent::NoiseSource &>(torch_noise) : formula_noise;
    fixtures::Trajectory trajectory("samplers_k", test);
    for (size_t i = 0; i < solver->evaluations().size(); ++i) {
        const ls::Evaluation & at = solver->evaluations()[i];
        solver->prepare(i, x, noise);
        // The reference's callback shows x with the churn noise in; that of the adaptive solver x after the step.
        const bool ends_step = at.ends_step;
        if (!solver->adaptive() && (i == 0 || solver->evaluations()[i - 1].ends_step)) trajectory.add(x);
        solver->advance(i, fixtures::guided_denoised(test, at.sigma, x), x, noise);
        if (solver->adaptive() && ends_step) trajectory.add(x);
    }
    trajectory.add(x);
    if (!test.contains("torch_cpu_seed")) ok = ok && formula_noise.drawn == test.value("injected_noises", 0);
    if (test.contains("model_sigmas")) {
        const double tolerance = test.at("tolerance");  // the steps of an adaptive solver depend on the network's outputs
        ok = ok && solver->evaluations().size() == test.at("model_sigmas").size();
        for (size_t i = 0; ok && i < solver->evaluations().size(); ++i)
            ok = std::fabs(solver->evaluations()[i].sigma - test.at("model_sigmas")[i].get<double>()) <=
                 (solver->adaptive() ? tolerance : 1e-5) * solver->evaluations()[i].sigma;
    }
    return ok && trajectory.check();
}

bool run_sgm(const Json & test) {
    ls::SolverOptions options;
    options.sampler = sampler_of(test.at("class"));
    options.dialect = "sgm";
    options.steps = test.at("num_steps");
    take_arguments(test, options);
    const Json & grid = test.at("discretization");
    if (grid.is_string()) {
        options.schedule = "turbo";
    } else if (grid.contains("params")) {
        options.schedule = "karras";
        for (const auto & [name, value] : grid.at("params").items()) options.extra[name] = value;
    }
    const auto solver = ls::make_solver(options);
    const auto table = ls::make_noise_table(options.noise_schedule, ls::TableArithmetic::float64, ls::TerminalSnr::zero);
    const bool ends_only = test.at("class") == "LinearMultistepSampler";

    Values x = fixtures::formula("input:x_T", fixtures::latent_size), input(x.size());
    for (float & v : x) v = static_cast<float>(v * solver->init_noise_sigma());
    FormulaNoise noise;
    fixtures::Trajectory trajectory("samplers_sgm", test);
    trajectory.add(x);
    const size_t n = solver->evaluations().size();
    for (size_t i = 0; i < n; ++i) {
        const ls::Evaluation & at = solver->evaluations()[i];
        solver->prepare(i, x, noise);
        solver->scale_input(i, x, input);
        solver->advance(i, fixtures::guided_network(test, table, at.timestep, input, options.prediction), x, noise);
        if (at.ends_step && (!ends_only || i + 1 == n)) trajectory.add(x);
    }
    return trajectory.check();
}

}  // namespace

TEST(samplers_k) {
    fixtures::for_cases("samplers_k", fixtures::json("samplers_k").at("cases"), {}, run_k);
}

TEST(samplers_sgm) {
    fixtures::for_cases("samplers_sgm", fixtures::json("samplers_sgm").at("cases"), {}, run_sgm);
}
