#include <cmath>

#include "fixtures.h"

using fixtures::FormulaNoise;
using fixtures::Json;
using fixtures::Values;
namespace ls = latent::samplers;

namespace {

ls::SolverOptions options_of(const Json & test) {
    ls::SolverOptions options;
    const std::string algorithm = test.at("algorithm");
    options.sampler = algorithm == "ddim_decode" ? "ddim" : algorithm == "dpm" ? "dpm_solver" : algorithm;
    options.dialect = "compvis";
    options.schedule = test.value("quad", false) ? "quad" : "";
    options.steps = test.at("steps");
    options.eta = test.value("eta", -1.0);
    options.prediction = fixtures::prediction(test);
    options.noise_schedule.beta_start = test.at("linear_start");
    options.noise_schedule.beta_end = test.at("linear_end");
    options.extra = Json::object();
    if (test.contains("temperature")) options.extra["temperature"] = test.at("temperature");
    if (algorithm == "ddim_decode") {
        options.image_to_image = true;
        options.strength = test.at("strength");
    }
    if (algorithm == "ddpm") {
        options.extra["clip_sample"] = test.at("clip_denoised");
        const int start = test.at("start_timestep");
        for (int i = 0; i < options.steps; ++i) options.timesteps.push_back(start - i);
    }
    return options;
}

Values scaled(Values values, double factor) {
    for (float & v : values) v = static_cast<float>(v * factor);
    return values;
}

Values noised(const Values & clean, const Values & noise, double abar) {
    Values out(clean.size());
    for (size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<float>(std::sqrt(abar) * clean[i] + std::sqrt(1 - abar) * noise[i]);
    return out;
}

bool run_compvis(const Json & test) {
    const auto options = options_of(test);
    const auto solver = ls::make_solver(options);
    const auto table = ls::make_noise_table(options.noise_schedule, ls::TableArithmetic::float64, ls::TerminalSnr::zero);
    const Values x_T = fixtures::formula("input:x_T", fixtures::latent_size),
                 x0 = scaled(fixtures::formula("input:x_0", fixtures::latent_size), 0.8);
    const auto mask = fixtures::formula_bytes("mask", 64);

    Values x = x_T, input(x.size());
    if (options.image_to_image) solver->start_from_image(x0, fixtures::formula("noise:encode", x.size()), x);
    if (test.value("start_timestep", 999) < 999) x = noised(x0, x_T, table.abar(test.at("start_timestep")));
    FormulaNoise formula_noise;
    latent::SeededNoise torch_noise(latent::RngKind::mt19937, test.value("torch_cpu_seed", 0), 1);
    latent::NoiseSource & noise =
        test.contains("torch_cpu_seed") ? static_cast<latent::NoiseSource &>(torch_noise) : formula_noise;

    fixtures::Trajectory trajectory("samplers_compvis", test);
    trajectory.add(x);
    bool ok = solver->evaluations().size() == test.at("model_timesteps").size();
    for (size_t i = 0; ok && i < solver->evaluations().size(); ++i) {
        const ls::Evaluation & at = solver->evaluations()[i];
        ok = std::fabs(at.timestep - test.at("model_timesteps")[i].get<double>()) < 1e-3;
        const bool first_of_step = i == 0 || solver->evaluations()[i - 1].ends_step;
        if (test.value("mask", false) && first_of_step) {
            const Values kept = noised(x0, fixtures::formula("noise:mask:" + std::to_string(at.step), x.size()),
                                       table.abar(static_cast<int>(at.timestep)));
            for (size_t j = 0; j < x.size(); ++j)
                if (mask[j % 64] >= 128) x[j] = kept[j];
        }
        solver->prepare(i, x, noise);
        solver->scale_input(i, x, input);
        solver->advance(i, fixtures::guided_network(test, table, at.timestep, input, options.prediction), x, noise);
        if (at.ends_step) trajectory.add(x);
    }
    return ok && trajectory.check();
}

}  // namespace

TEST(samplers_compvis) {
    fixtures::for_cases("samplers_compvis", fixtures::json("samplers_compvis").at("cases"), {}, run_compvis);
}
