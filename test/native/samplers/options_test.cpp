#include <cmath>
#include <limits>

#include "core/error.h"
#include "fixtures.h"
#include "samplers/noise_table.h"
#include "samplers/schedules.h"

using fixtures::Json;
using fixtures::Values;
using latent::ErrorCode;
namespace ls = latent::samplers;

namespace {

ls::SolverOptions named(const std::string & sampler, int steps = 10) {
    ls::SolverOptions options;
    options.sampler = sampler;
    options.steps = steps;
    return options;
}

// A run on the closed-form network from x_T.
Values sample(ls::Solver & solver, const ls::SolverOptions & options, size_t begin, size_t end, Values x,
              latent::NoiseSource & noise) {
    const auto table = ls::make_noise_table(options.noise_schedule, ls::TableArithmetic::float64, ls::TerminalSnr::sigma_4096);
    Values input(x.size());
    for (size_t i = begin; i < (solver.adaptive() ? solver.evaluations().size() : end); ++i) {
        solver.prepare(i, x, noise);
        solver.scale_input(i, x, input);
        const double sigma = solver.evaluations()[i].sigma, a = 1 / std::sqrt(1 + sigma * sigma);
        solver.advance(i, fixtures::network({}, input, a, sigma * a, options.prediction), x, noise);
    }
    return x;
}

Values start(const ls::Solver & solver) {
    Values x = fixtures::formula("input:x_T", fixtures::latent_size);
    for (float & v : x) v = static_cast<float>(v * solver.init_noise_sigma());
    return x;
}

}  // namespace

TEST(every_sampler_schedule_and_step_count_is_sound) {
    int runs = 0;
    for (const auto & sampler : ls::list_samplers())
        for (const std::string & dialect : sampler.dialects)
            for (const auto & schedule : ls::list_schedules())
                for (const int steps : {1, 2, 7, 50, 1000})
                    for (const double strength : {-1.0, 0.6}) {
                        ls::SolverOptions options = named(sampler.name, steps);
                        options.dialect = dialect;
                        options.schedule = schedule.name;
                        options.image_to_image = strength > 0;
                        options.strength = std::fabs(strength);
                        std::unique_ptr<ls::Solver> solver;
                        try {
                            solver = ls::make_solver(options);
                        } catch (const latent::Error & e) {
                            CHECK(e.code() ==
                                  ErrorCode::invalid_argument);  // the pair does not go together, or nothing would be run
                            continue;
                        }
                        ++runs;
                        bool sound = solver->steps() > 0 && std::isfinite(solver->init_noise_sigma()) &&
                                     solver->sigmas().size() == static_cast<size_t>(solver->steps()) + 1 &&
                                     solver->evaluations().back().ends_step;
                        if (solver->adaptive()) sound = sound && solver->steps() == 1;  // the rest is found by running
                        for (const auto & at : solver->evaluations())
                            sound = sound && at.timestep >= 0 && at.timestep <= 999 && at.sigma > 0 && std::isfinite(at.sigma);
                        if (!sound)
                            check::fail("sound", 0,
                                        sampler.name + " " + dialect + " " + schedule.name + " " + std::to_string(steps));
                    }
    std::printf("    %d combinations made\n", runs);
    CHECK(runs > 5000);
}

TEST(every_run_stays_finite) {
    // One latent pixel, so that long schedules with every pair of neighbours are cheap.
    for (const auto & sampler : ls::list_samplers())
        for (const std::string & dialect : sampler.dialects)
            for (const auto & schedule : ls::list_schedules())
                for (const int steps : {1, 3, 1000}) {
                    ls::SolverOptions options = named(sampler.name, steps);
                    options.dialect = dialect;
                    options.schedule = schedule.name;
                    std::unique_ptr<ls::Solver> solver;
                    try {
                        solver = ls::make_solver(options);
                    } catch (const latent::Error &) {
                        continue;
                    }
                    latent::SeededNoise noise(latent::RngKind::philox, 1, 1);
                    Values x = {0.3f, -1.2f, 0.9f, 0.1f};
                    for (float & v : x) v = static_cast<float>(v * solver->init_noise_sigma());
                    x = sample(*solver, options, 0, solver->evaluations().size(), x, noise);
                    bool finite = true;
                    for (const float v : x) finite = finite && std::fabs(v) < 100;
                    if (!finite)
                        check::fail("finite", 0,
                                    sampler.name + " " + dialect + " " + schedule.name + " " + std::to_string(steps));
                }
}

TEST(zero_terminal_snr) {
    for (const auto & sampler : ls::list_samplers()) {
        ls::SolverOptions options = named(sampler.name, 10);
        options.noise_schedule.zero_terminal_snr = true;
        options.prediction = latent::Prediction::v;
        if (sampler.dialects.front() == "diffusers" && sampler.name != "lcm" && sampler.name != "tcd")
            options.schedule = "trailing";
        if (sampler.name == "plms") {
            CHECK_THROWS(ls::make_solver(options), ErrorCode::invalid_argument);
            continue;
        }
        const auto solver = ls::make_solver(options);
        Values x = start(*solver), out(x.size());
        solver->to_denoised(0, x, x, out);
        for (const float v : out) CHECK(std::isfinite(v));
        // At the very first evaluation x is noise alone, from which eps says nothing of the picture.
        const bool exact = sampler.name == "ddim" || sampler.name == "ddpm" || sampler.name == "lcm" || sampler.name == "tcd";
        CHECK(exact == (solver->evaluations()[0].sigma == ls::zero_snr_sigma && solver->init_noise_sigma() == 1));
        if (exact) {
            options.prediction = latent::Prediction::eps;
            CHECK_THROWS(ls::make_solver(options), ErrorCode::invalid_argument);
        }
    }
}

TEST(every_sampler_reaches_the_data) {
    // Twenty steps on the exact denoiser end near one of the four means (deviation 0.4).
    for (const auto & sampler : ls::list_samplers()) {
        if (sampler.name == "ddim_inverse") continue;
        for (const std::string & dialect : sampler.dialects)
            for (const auto kind : {latent::Prediction::eps, latent::Prediction::v, latent::Prediction::sample}) {
                ls::SolverOptions options = named(sampler.name, 20);
                options.dialect = dialect;
                options.prediction = kind;
                const auto solver = ls::make_solver(options);
                latent::SeededNoise noise(latent::RngKind::philox, 7, 1);
                const Values x = sample(*solver, options, 0, solver->evaluations().size(), start(*solver), noise);
                double largest = 0;
                for (size_t j = 0; j < x.size(); ++j) largest = std::max(largest, std::fabs(static_cast<double>(x[j])));
                if (!(largest > 0.5 && largest < 4))
                    check::fail(sampler.name.c_str(), 0, dialect + " ends at " + std::to_string(largest));
            }
    }
}

TEST(clones_continue_the_run) {
    for (const auto & sampler : ls::list_samplers()) {
        const ls::SolverOptions options = named(sampler.name, 8);
        const auto solver = ls::make_solver(options);
        if (solver->adaptive()) continue;  // has a test of its own
        const size_t n = solver->evaluations().size(), half = n / 2;
        latent::SeededNoise noise(latent::RngKind::mt19937, 3, 1);
        const Values middle = sample(*solver, options, 0, half, start(*solver), noise);
        const auto copy = solver->clone();
        latent::SeededNoise same = noise;
        const Values first = sample(*solver, options, half, n, middle, noise),
                     second = sample(*copy, options, half, n, middle, same);
        CHECK(first == second);
    }
}

TEST(clones_of_adaptive_runs_continue_them) {
    const ls::SolverOptions options = named("dpm_adaptive", 8);
    const auto solver = ls::make_solver(options);
    latent::SeededNoise noise(latent::RngKind::mt19937, 3, 1);
    Values x = start(*solver), input(x.size());
    const auto go = [&](ls::Solver & one, size_t i, Values & at) {
        one.scale_input(i, at, input);
        const double sigma = one.evaluations()[i].sigma, a = 1 / std::sqrt(1 + sigma * sigma);
        one.advance(i, fixtures::network({}, input, a, sigma * a, options.prediction), at, noise);
    };
    for (size_t i = 0; i < 7; ++i) go(*solver, i, x);  // inside the third step
    const auto copy = solver->clone();
    Values y = x;
    for (size_t i = 7; i < solver->evaluations().size(); ++i) go(*solver, i, x);
    for (size_t i = 7; i < copy->evaluations().size(); ++i) go(*copy, i, y);
    CHECK(x == y && solver->evaluations().size() == copy->evaluations().size() && solver->steps() > 5);
    CHECK(solver->sigmas().size() == static_cast<size_t>(solver->steps()) + 1);
}

TEST(adaptive_runs_end_whatever_the_network_says) {
    for (const float value : {0.0f, 1e30f, NAN, INFINITY}) {
        const auto solver = ls::make_solver(named("dpm_adaptive", 8));
        latent::SeededNoise noise(latent::RngKind::philox, 3, 1);
        Values x(16, 1.0f);
        const Values output(16, value);
        bool ended = true;
        try {
            for (size_t i = 0; i < solver->evaluations().size(); ++i) solver->advance(i, output, x, noise);
        } catch (const latent::Error & e) {
            ended = e.code() == ErrorCode::invalid_argument;
        }
        CHECK(ended);
    }
}

TEST(refused_edm) {
    const auto refuse = [](auto change) {
        ls::SolverOptions options;
        options.prediction = latent::Prediction::edm;
        change(options);
        CHECK_THROWS(ls::make_solver(options), ErrorCode::invalid_argument);
    };
    refuse([](auto & o) { o.sampler = "ddim"; });
    refuse([](auto & o) { o.sampler = "unipc"; });
    refuse([](auto & o) { o.schedule = "normal"; });
    refuse([](auto & o) { o.timesteps = {999, 499}; });
    for (const char * dialect : {"k", "comfy", "diffusers", "sgm"}) {
        ls::SolverOptions options;
        options.prediction = latent::Prediction::edm;
        options.dialect = dialect;
        const auto solver = ls::make_solver(options);
        CHECK_NEAR(solver->sigmas().front(), 80, 1e-9);
        CHECK_NEAR(solver->evaluations()[0].timestep, std::log(80) / 4, 1e-9);
        CHECK_NEAR(solver->sigmas()[solver->sigmas().size() - 2], 0.002, 1e-9);
    }
}

// ComfyUI's beta schedule picks from a thousand levels, even in ln sigma, for networks without training timesteps.
TEST(beta_schedule_of_continuous_noise_levels) {
    ls::SolverOptions options;
    options.prediction = latent::Prediction::edm;
    options.schedule = "beta";
    options.dialect = "comfy";
    options.steps = 6;
    options.noise_schedule.edm = latent::EdmSchedule{0.01, 50, 0.5};
    const std::vector<double> sigmas = ls::make_solver(options)->sigmas();
    CHECK(sigmas.size() == 7 && sigmas.back() == 0);
    for (size_t i = 0; i < 6; ++i) {
        const double index = std::nearbyint(ls::beta_quantile(1 - static_cast<double>(i) / 6, 0.6, 0.6) * 999);
        CHECK_NEAR(std::log(sigmas[i]), std::log(0.01) + (std::log(50) - std::log(0.01)) * index / 999, 1e-6);
    }
    CHECK_NEAR(sigmas.front(), 50, 1e-6);
    // A range of the caller's own.
    options.extra = {{"sigma_max", 20.0}};
    CHECK_NEAR(ls::make_solver(options)->sigmas().front(), 20, 1e-6);
}

TEST(continuous_noise_levels_from_an_image) {
    // Image to image starts at the noise level where its part of the schedule starts: the image plus so much noise.
    ls::SolverOptions options;
    options.prediction = latent::Prediction::edm;
    options.noise_schedule.edm = latent::EdmSchedule{0.01, 50, 0.5};
    options.steps = 8;
    const std::vector<double> whole = ls::make_solver(options)->sigmas();
    options.image_to_image = true;
    for (const char * dialect : {"k", "comfy", "sgm", "diffusers"}) {
        for (const double strength : {0.25, 0.5, 1.0}) {
            options.dialect = dialect, options.strength = strength;
            const auto solver = ls::make_solver(options);
            const size_t steps = solver->sigmas().size() - 1;
            if (options.dialect == "comfy") {  // as many steps as requested, of a longer schedule
                CHECK(steps == 8 && (strength == 1 || solver->sigmas().front() < 30));
            } else {
                CHECK(steps == static_cast<size_t>(8 * strength) || steps == static_cast<size_t>(8 * strength) + 1);
                CHECK_NEAR(solver->sigmas().front(), whole[8 - steps], 1e-6);
            }
            const std::vector<float> clean = {1.5f, -2}, noise = {0.25f, 1};
            std::vector<float> x(2);
            solver->start_from_image(clean, noise, x);
            for (size_t i = 0; i < 2; ++i) CHECK_NEAR(x[i], clean[i] + solver->sigmas().front() * noise[i], 1e-4);
        }
    }
}

TEST(continuous_noise_levels) {
    // A range of the model's own, with v-prediction; a solver parameter goes before it.
    ls::SolverOptions options;
    options.prediction = latent::Prediction::v;
    options.noise_schedule.edm = latent::EdmSchedule{0.01, 120, 1.0};
    const auto solver = ls::make_solver(options);
    CHECK_NEAR(solver->sigmas().front(), 120, 1e-9);
    CHECK_NEAR(solver->sigmas()[solver->sigmas().size() - 2], 0.01, 1e-9);
    CHECK_NEAR(solver->evaluations()[3].timestep, std::log(solver->sigmas()[3]) / 4, 1e-9);
    const std::vector<float> x(1, 2.0f), output(1, 0.25f);
    std::vector<float> input(1), clean(1);
    solver->scale_input(0, x, input);
    solver->to_denoised(0, output, x, clean);
    CHECK_NEAR(input[0], 2 / std::sqrt(120.0 * 120 + 1), 1e-6);
    CHECK_NEAR(clean[0], 2 / (120.0 * 120 + 1) - 0.25 * 120 / std::sqrt(120.0 * 120 + 1), 1e-6);
    options.extra = {{"sigma_max", 30.0}};
    CHECK_NEAR(ls::make_solver(options)->sigmas().front(), 30, 1e-9);
    options.sampler = "ddim", options.extra = nullptr;
    CHECK_THROWS(ls::make_solver(options), ErrorCode::invalid_argument);
}

TEST(denoised_round_trip) {
    for (const auto & sampler : ls::list_samplers())
        for (const auto kind : {latent::Prediction::eps, latent::Prediction::v, latent::Prediction::sample}) {
            ls::SolverOptions options = named(sampler.name, 5);
            options.prediction = kind;
            const auto solver = ls::make_solver(options);
            const Values x = start(*solver), wanted = fixtures::formula("input:x_0", x.size());
            Values output(x.size()), back(x.size());
            solver->from_denoised(0, wanted, x, output);
            solver->to_denoised(0, output, x, back);
            for (size_t j = 0; j < x.size(); ++j) CHECK_NEAR(back[j], wanted[j], 2e-4);
        }
}

TEST(guidance) {
    const Values uncond = {1, 2, 3, 4}, cond = {2, 0, 3, 8};
    Values out(4);
    ls::apply_guidance(uncond, cond, 3, 0, 0, out);
    CHECK((out == Values{4, -4, 3, 16}));
    ls::apply_guidance(uncond, cond, 1, 0, 0, out);
    CHECK(out == cond);
    // Full rescale gives every row the deviation of the conditional output.
    Values in_place = cond;
    ls::apply_guidance(uncond, in_place, 3, 1, 2, in_place);
    CHECK_NEAR(in_place[0] - in_place[1], cond[0] - cond[1], 1e-5);
    CHECK_NEAR(in_place[3] - in_place[2], cond[3] - cond[2], 1e-5);
}

TEST(thresholding_is_per_picture) {
    ls::SolverOptions options = named("ddim", 5);
    options.prediction = latent::Prediction::sample;
    options.extra = {{"thresholding", true}, {"dynamic_thresholding_ratio", 1.0}, {"sample_max_value", 100}};
    options.row = 4;
    const auto solver = ls::make_solver(options);
    const Values output = {4, -2, 1, 0, 8, -2, 1, 0}, x(8, 0.0f);
    Values clean(8);
    solver->to_denoised(0, output, x, clean);
    CHECK((clean == Values{1, -0.5f, 0.25f, 0, 1, -0.25f, 0.125f, 0}));
}

TEST(custom_levels) {
    ls::SolverOptions options = named("dpmpp_2m");
    options.sigmas = {10, 3, 1};
    CHECK((ls::make_solver(options)->sigmas() == std::vector<double>{10, 3, 1, 0}));
    options.sigmas = {10, 3, 1, 0};
    CHECK(ls::make_solver(options)->steps() == 3);
    options = named("ddim");
    options.timesteps = {900, 500, 20};
    CHECK(ls::make_solver(options)->evaluations()[1].timestep == 500);
    options.timesteps = {1000, 500};
    CHECK_THROWS(ls::make_solver(options), ErrorCode::invalid_argument);
    options = named("lcm");
    options.timesteps = {999, 499};
    CHECK(ls::make_solver(options)->steps() == 2);
    options = named("deis");
    options.sigmas = {12, 4, 0.5};
    CHECK(ls::make_solver(options)->steps() == 3);
}

TEST(refused_options) {
    const auto refuse = [](auto change) {
        ls::SolverOptions options;
        change(options);
        CHECK_THROWS(ls::make_solver(options), ErrorCode::invalid_argument);
    };
    const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
    refuse([](auto & o) { o.sampler = "eular"; });
    refuse([](auto & o) { o.schedule = "karas"; });
    refuse([](auto & o) { o.dialect = "web"; });
    refuse([](auto & o) { o.sampler = "unipc", o.dialect = "k"; });
    refuse([](auto & o) { o.steps = 0; });
    refuse([](auto & o) { o.steps = 1001; });
    refuse([&](auto & o) { o.eta = nan; });
    refuse([&](auto & o) { o.eta = inf; });
    refuse([&](auto & o) { o.strength = nan; });
    refuse([](auto & o) { o.strength = 1.5; });
    refuse([](auto & o) { o.image_to_image = true, o.strength = 0, o.dialect = "diffusers"; });
    refuse([](auto & o) { o.sigmas = {1, 2}; });
    refuse([&](auto & o) { o.sigmas = {inf, 2}; });
    refuse([&](auto & o) { o.sigmas = {nan}; });
    refuse([](auto & o) { o.sigmas = {0}; });
    refuse([](auto & o) { o.sigmas = std::vector<double>(1002, 1); });
    refuse([](auto & o) { o.sigmas = {3}, o.timesteps = {3}; });
    refuse([](auto & o) { o.schedule = "custom"; });
    refuse([](auto & o) { o.extra = {{"s_chrun", 1}}; });
    refuse([](auto & o) { o.extra = {{"s_churn", "1"}}; });
    refuse([](auto & o) { o.extra = {{"s_churn", -1}}; });
    refuse([](auto & o) { o.extra = Json::array({1}); });
    refuse([](auto & o) { o.extra = {{"sigma_min", 20.0}, {"sigma_max", 10.0}}; });
    refuse([](auto & o) { o.sampler = "unipc", o.extra = {{"solver_order", 1.5}}; });
    refuse([](auto & o) { o.sampler = "unipc", o.extra = {{"solver_type", "bh3"}}; });
    refuse([](auto & o) { o.sampler = "unipc", o.extra = {{"disable_corrector", Json::array({-1})}}; });
    refuse([](auto & o) {
        o.sampler = "dpm_solver", o.extra = {{"algorithm_type", "dpmsolver"}, {"final_sigmas_type", "zero"}};
    });
    refuse([](auto & o) { o.sampler = "unipc", o.extra = {{"solver_type", "bh1"}, {"final_sigmas_type", "zero"}}; });
    refuse([](auto & o) { o.sampler = "ddim", o.noise_schedule.timesteps = 5; });
    refuse([](auto & o) { o.dialect = "comfy", o.steps = 1000, o.image_to_image = true, o.strength = 0.001; });
    refuse([](auto & o) { o.sampler = "plms", o.eta = 1; });
    refuse([](auto & o) { o.sampler = "tcd", o.steps = 4, o.eta = 1.5; });
    refuse([](auto & o) { o.sampler = "lcm", o.steps = 51; });
    refuse([](auto & o) { o.noise_schedule.beta_schedule = "cosine-ish"; });
    refuse([](auto & o) { o.noise_schedule.timesteps = 1; });
    refuse([](auto & o) { o.noise_schedule.timesteps = 2000000000; });
    refuse([&](auto & o) { o.noise_schedule.beta_start = nan; });
    refuse([](auto & o) { o.noise_schedule.betas = {0.1, 1.5}; });
    refuse([](auto & o) { o.noise_schedule.betas = {0.1}; });
}

TEST(unknown_names_list_the_known_ones) {
    try {
        ls::make_solver(named("eular"));
        CHECK(false);
    } catch (const latent::Error & e) {
        CHECK(std::string(e.what()).find("euler_a") != std::string::npos);
    }
    CHECK(ls::list_samplers().size() == 24);
    for (const auto & sampler : ls::list_samplers()) CHECK(!sampler.parameters.empty());
}
