#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "fixtures.h"

using fixtures::Values;
using latent::ErrorCode;
using latent::Prediction;
namespace ls = latent::samplers;

namespace {

std::string label_of(const ls::SolverOptions & options) {
    return options.sampler + " " + options.dialect + " " + options.schedule + " " + std::to_string(options.steps) +
           (options.prediction == Prediction::eps ? " eps" : " v") +
           (options.noise_schedule.zero_terminal_snr ? " zero SNR" : "");
}

bool all_finite(const std::vector<double> & values) {
    for (const double value : values)
        if (!std::isfinite(value)) return false;
    return true;
}

bool all_finite(const Values & values) {
    return all_finite(std::vector<double>(values.begin(), values.end()));
}

// A whole run on a network whose estimate of the clean latents is always 0.5. Every number on the way is looked at.
bool runs_soundly(ls::Solver & solver) {
    if (!all_finite(solver.sigmas()) || !std::isfinite(solver.init_noise_sigma())) return false;
    latent::SeededNoise noise(latent::RngKind::philox, 1, 1);
    Values x = {0.3f, -1.2f, 0.9f, 0.1f}, input(4), output(4);
    const Values clean(4, 0.5f);
    for (float & v : x) v = static_cast<float>(v * solver.init_noise_sigma());
    for (size_t i = 0; i < solver.evaluations().size(); ++i) {
        const ls::Evaluation & at = solver.evaluations()[i];
        if (!std::isfinite(at.sigma) || !std::isfinite(at.timestep) || at.sigma <= 0) return false;
        solver.prepare(i, x, noise);
        solver.scale_input(i, x, input);
        solver.from_denoised(i, clean, x, output);
        solver.advance(i, output, x, noise);
        if (!all_finite(input) || !all_finite(output) || !all_finite(x)) return false;
    }
    return true;
}

// Either an error that says that the choices do not go together, or as many steps as asked for (dpm_fast: evaluations;
// dpm_adaptive finds its steps by itself).
bool sound(const ls::SolverOptions & options, int & made) {
    std::unique_ptr<ls::Solver> solver;
    try {
        solver = ls::make_solver(options);
    } catch (const latent::Error & e) {
        return e.code() == ErrorCode::invalid_argument;
    }
    ++made;
    const int steps = options.sampler == "dpm_fast" ? static_cast<int>(solver->evaluations().size()) : solver->steps();
    return (solver->adaptive() || steps == options.steps) && runs_soundly(*solver) &&
           solver->sigmas().size() == static_cast<size_t>(solver->steps()) + 1;
}

}  // namespace

TEST(every_combination_is_finite_and_has_its_steps) {
    int made = 0;
    for (const auto & sampler : ls::list_samplers())
        for (const std::string & dialect : sampler.dialects)
            for (const auto & schedule : ls::list_schedules())
                for (const bool zero_snr : {false, true})
                    for (const Prediction prediction : {Prediction::eps, Prediction::v})
                        for (const int steps : {1, 2, 3, 5, 50}) {
                            ls::SolverOptions options;
                            options.sampler = sampler.name;
                            options.dialect = dialect;
                            options.schedule = schedule.name;
                            options.steps = steps;
                            options.prediction = prediction;
                            options.noise_schedule.zero_terminal_snr = zero_snr;
                            if (!sound(options, made)) check::fail("matrix", 0, label_of(options));
                        }
    std::printf("    %d combinations run\n", made);
    CHECK(made > 15000);
}

TEST(noise_levels_never_rise) {
    // Some curves end below the table's lowest level, at which several samplers end where they are told to, or always.
    int made = 0;
    for (const auto & sampler : ls::list_samplers())
        for (const std::string & dialect : sampler.dialects)
            for (const auto & schedule : ls::list_schedules())
                for (const int steps : {1, 2, 3, 10, 40})
                    for (const char * parameters :
                         {"{}", R"({"final_sigmas_type":"sigma_min"})",
                          R"({"final_sigmas_type":"sigma_min","lower_order_final":false})",
                          R"({"final_sigmas_type":"sigma_min","solver_order":3,"lower_order_final":false})",
                          R"({"final_sigmas_type":"sigma_min","solver_type":"heun"})"}) {
                        if (sampler.name == "ddim_inverse") continue;  // goes from the picture to the noise
                        ls::SolverOptions options;
                        options.sampler = sampler.name;
                        options.dialect = dialect;
                        options.schedule = schedule.name;
                        options.steps = steps;
                        options.extra = latent::Json::parse(parameters);
                        std::unique_ptr<ls::Solver> solver;
                        try {
                            solver = ls::make_solver(options);
                        } catch (const latent::Error &) {
                            continue;
                        }
                        ++made;
                        const std::vector<double> sigmas = solver->sigmas();
                        if (!std::is_sorted(sigmas.rbegin(), sigmas.rend()) || !runs_soundly(*solver))
                            check::fail("rising", 0, label_of(options) + " " + parameters);
                    }
    CHECK(made > 4000);
}

TEST(schedules_of_zero_snr_that_are_given_as_betas) {
    // Lin et al. 2023 as a list: the last beta is 1.
    latent::NoiseSchedule named;
    named.zero_terminal_snr = true;
    latent::NoiseSchedule listed;
    listed.betas = ls::make_noise_table(named, ls::TableArithmetic::float64, ls::TerminalSnr::zero).betas;
    CHECK(listed.betas.back() == 1);
    for (const char * sampler : {"ddim", "ddpm", "euler", "dpmpp_2m", "unipc", "lcm"}) {
        ls::SolverOptions options;
        options.sampler = sampler;
        options.schedule = "trailing";
        if (!std::strcmp(sampler, "dpmpp_2m")) options.schedule = "karras";
        options.steps = 5;
        options.prediction = Prediction::v;
        options.noise_schedule = listed;
        int made = 0;
        if (!sound(options, made) || made == 0) check::fail("betas", 0, label_of(options));
    }
}

TEST(noise_schedules_without_usable_levels_are_refused) {
    const auto refuse = [](std::vector<double> betas) {
        for (const char * sampler : {"ddim", "euler", "dpm_solver", "lcm"}) {
            ls::SolverOptions options;
            options.sampler = sampler;
            options.steps = 2;
            options.noise_schedule.betas = betas;
            options.noise_schedule.timesteps = static_cast<int>(betas.size());
            CHECK_THROWS(ls::make_solver(options), ErrorCode::invalid_argument);
        }
    };
    refuse(std::vector<double>(1000, 0.5));    // abar is 0 in float32 long before the end
    refuse(std::vector<double>(1000, 1e-12));  // abar stays 1: no noise at all
    refuse({0.1, 1, 0.1});
    refuse({0.1, 0});
}

TEST(schedules_with_too_few_steps_say_so) {
    ls::SolverOptions options;
    options.schedule = "turbo";
    for (const char * sampler : {"euler", "ddim", "dpm_solver"}) {
        options.sampler = sampler;
        options.steps = 10;
        CHECK(ls::make_solver(options)->steps() == 10);
        options.steps = 11;
        CHECK_THROWS(ls::make_solver(options), ErrorCode::invalid_argument);
    }
}

TEST(ddpm_steps_to_the_next_timestep_of_its_list) {
    // The posterior of Ho et al. 2020, equation 7, between consecutive timesteps of the list.
    for (const char * schedule : {"leading", "trailing", "linspace", "karras", "quad"})
        for (const int steps : {4, 7, 30}) {
            ls::SolverOptions options;
            options.sampler = "ddpm";
            options.dialect = "diffusers";
            options.schedule = schedule;
            options.steps = steps;
            options.prediction = Prediction::sample;
            options.extra = {{"temperature", 0}};
            const auto solver = ls::make_solver(options);
            const auto table = ls::make_noise_table({}, ls::TableArithmetic::float32, ls::TerminalSnr::zero);
            const auto & list = solver->evaluations();
            latent::SeededNoise noise(latent::RngKind::philox, 1, 1);
            for (size_t i = 0; i < list.size(); ++i) {
                const double abar = table.abar(static_cast<int>(list[i].timestep));
                const double next = i + 1 < list.size() ? table.abar(static_cast<int>(list[i + 1].timestep)) : 1;
                const double beta = 1 - abar / next;
                const double mean =
                    std::sqrt(next) * beta / (1 - abar) * 0.5 + std::sqrt(abar / next) * (1 - next) / (1 - abar) * 2;
                Values x = {2.0f};
                const Values clean = {0.5f};
                solver->advance(i, clean, x, noise);
                CHECK_NEAR(x[0], mean, 1e-5);
            }
        }
}
