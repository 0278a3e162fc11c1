#include <cmath>

#include "core/error.h"
#include "diffusers_options.h"

using fixtures::FormulaNoise;
using fixtures::Json;
using fixtures::Values;
using latent::ErrorCode;
namespace ls = latent::samplers;

namespace {

std::vector<double> timesteps_of(const ls::Solver & solver) {
    std::vector<double> out;
    for (const auto & at : solver.evaluations()) out.push_back(at.timestep);
    return out;
}

// The case's own schedule, or its timesteps as an explicit list: the same run.
bool run_few_steps(const Json & test, bool listed) {
    const std::vector<double> timesteps = fixtures::numbers(test.at("timesteps"));
    ls::SolverOptions options = fixtures::diffusers_options(test.at("class"), test.at("config"));
    options.steps = static_cast<int>(timesteps.size());
    options.prediction = fixtures::prediction(test);
    options.extra.erase("prediction_type");
    if (listed) options.timesteps = timesteps;
    if (test.contains("step_args")) options.eta = test.at("step_args").at("eta");
    const auto solver = ls::make_solver(options);
    bool ok = solver->evaluations().size() == timesteps.size();
    for (size_t i = 0; ok && i < timesteps.size(); ++i) ok = std::fabs(solver->evaluations()[i].timestep - timesteps[i]) < 1e-3;
    const double init = test.at("init_noise_sigma");
    ok = ok && std::fabs(solver->init_noise_sigma() - init) <= 1e-5 * init;

    const auto table = fixtures::diffusers_table(options);
    Values x = fixtures::formula("input:x_T", fixtures::latent_size), input(x.size());
    for (float & v : x) v = static_cast<float>(v * solver->init_noise_sigma());
    FormulaNoise noise;
    fixtures::Trajectory trajectory("fewstep", test);
    for (size_t i = 0; ok && i < timesteps.size(); ++i) {
        solver->prepare(i, x, noise);
        solver->scale_input(i, x, input);
        solver->advance(i, fixtures::guided_network(test, table, timesteps[i], input, options.prediction), x, noise);
        trajectory.add(x);
    }
    // The reference's Euler ancestral draws for its last step too, and multiplies by 0.
    const int unused = options.sampler == "euler_a" ? 1 : 0;
    return ok && trajectory.check() && noise.drawn + unused == test.at("injected_noises").get<int>();
}

// Sampler and schedule of a hand-over row.
ls::SolverOptions handover_options(const Json & row) {
    static const std::map<std::string, std::pair<std::string, std::string>> names = {
        {"euler_leading", {"euler", "leading"}}, {"euler_trailing", {"euler", "trailing"}},
        {"ddim", {"ddim", "leading"}},           {"dpmpp_2m_karras", {"dpm_solver", "karras"}},
        {"heun", {"heun", "leading"}},           {"kdpm2", {"dpm2", "leading"}}};
    const auto & [sampler, schedule] = names.at(row.at("schedule"));
    ls::SolverOptions options;
    options.sampler = sampler;
    options.dialect = "diffusers";
    options.schedule = schedule;
    options.steps = row.at("steps");
    return options;
}

bool near(const std::vector<double> & actual, const std::vector<double> & expected) {
    bool ok = actual.size() == expected.size();
    for (size_t i = 0; ok && i < actual.size(); ++i) ok = std::fabs(actual[i] - expected[i]) <= 0.02;
    return ok;
}

bool check_handover(const Json & row) {
    const double split = row.at("split");
    std::vector<double> base = fixtures::numbers(row.at("base"));
    const std::vector<double> refiner = fixtures::numbers(row.at("refiner"));
    // The reference's base begins a step of second order that it does not finish, and its refiner takes the step again.
    const bool second_order = row.at("schedule") == "heun" || row.at("schedule") == "kdpm2";
    if (second_order && !refiner.empty() && base.back() == refiner.front() && base.size() % 2 == 1) base.pop_back();

    ls::SolverOptions options = handover_options(row);
    const auto whole = ls::make_solver(options);
    options.denoising_end = split;
    const auto early = ls::make_solver(options);
    bool ok = near(timesteps_of(*early), base);
    options.denoising_end = 1;
    options.denoising_start = split;
    if (refiner.empty()) {
        CHECK_THROWS(ls::make_solver(options), ErrorCode::invalid_argument);
        return ok;
    }
    const auto late = ls::make_solver(options);
    ok = ok && near(timesteps_of(*late), refiner) && early->steps() + late->steps() == whole->steps();
    ok = ok && std::fabs(early->sigmas().back() - late->sigmas().front()) < 1e-9;
    return ok && late->sigmas().back() == whole->sigmas().back();
}

}  // namespace

TEST(fewstep) {
    const Json & cases = fixtures::json("fewstep").at("cases");
    // These three have no schedule of their own: their timesteps are given.
    std::map<std::string, std::string> lists_only;
    for (const char * id : {"dmd2_4", "dmd2_1", "hyper_1"}) lists_only[id] = "timesteps are given";
    fixtures::for_cases("fewstep", cases, lists_only, [](const Json & test) { return run_few_steps(test, false); });
    fixtures::for_cases("fewstep, explicit timesteps", cases, {}, [](const Json & test) { return run_few_steps(test, true); });
}

TEST(fewstep_grids) {
    const Json & grids = fixtures::json("fewstep").at("grids");
    for (const char * sampler : {"lcm", "tcd"})
        for (const auto & [steps, list] : grids.at("tcd_and_lcm").items()) {
            ls::SolverOptions options;
            options.sampler = sampler;
            options.steps = std::stoi(steps);
            CHECK(timesteps_of(*ls::make_solver(options)) == fixtures::numbers(list));
        }
    for (const char * sampler : {"euler", "ddim", "ddpm", "lcm", "tcd"})
        for (const auto & [steps, list] : grids.at("trailing").items()) {
            ls::SolverOptions options;
            options.sampler = sampler;
            options.schedule = "trailing";
            options.steps = std::stoi(steps);
            CHECK(timesteps_of(*ls::make_solver(options)) == fixtures::numbers(list));
        }
}

TEST(refiner_handover) {
    int rows = 0;
    for (const Json & row : fixtures::json("refiner_handover").at("rows")) {
        ++rows;
        const std::string label = row.at("schedule").get<std::string>() + " " + std::to_string(row.at("steps").get<int>()) + " " +
                                  std::to_string(row.at("split").get<double>());
        if (!check_handover(row)) check::fail("refiner_handover", 0, label);
    }
    CHECK(rows == 36);
}

TEST(parts_of_a_schedule_make_the_whole_run) {
    // Deterministic solvers without a memory of earlier steps: two parts are the whole run, bit by bit.
    for (const char * sampler : {"euler", "ddim", "heun", "dpm2"}) {
        ls::SolverOptions options;
        options.sampler = sampler;
        options.schedule = "trailing";
        options.dialect = "diffusers";
        options.steps = 10;
        const auto table = fixtures::diffusers_table(options);
        const auto run = [&](ls::Solver & solver, Values x) {
            FormulaNoise noise;
            Values input(x.size());
            for (size_t i = 0; i < solver.evaluations().size(); ++i) {
                solver.scale_input(i, x, input);
                const double t = solver.evaluations()[i].timestep;
                solver.advance(i, fixtures::guided_network(Json::object(), table, t, input, options.prediction), x, noise);
            }
            return x;
        };
        const auto whole = ls::make_solver(options);
        Values x = fixtures::formula("input:x_T", fixtures::latent_size);
        for (float & v : x) v = static_cast<float>(v * whole->init_noise_sigma());
        options.denoising_end = 0.6;
        const auto first = ls::make_solver(options);
        options.denoising_start = 0.6;
        options.denoising_end = 1;
        const auto second = ls::make_solver(options);
        CHECK(run(*second, run(*first, x)) == run(*whole, x));
    }
}

TEST(parts_of_a_schedule_that_are_refused) {
    const auto refuse = [](auto change) {
        ls::SolverOptions options;
        change(options);
        CHECK_THROWS(ls::make_solver(options), ErrorCode::invalid_argument);
    };
    refuse([](auto & o) { o.denoising_start = 0.5, o.denoising_end = 0.5; });
    refuse([](auto & o) { o.denoising_end = 1.5; });
    refuse([](auto & o) { o.denoising_start = -0.5; });
    refuse([](auto & o) { o.denoising_end = 0.001; });
    refuse([](auto & o) { o.denoising_end = 0.5, o.image_to_image = true, o.strength = 0.5; });
    refuse([](auto & o) { o.denoising_end = 0.5, o.prediction = latent::Prediction::edm; });
    refuse([](auto & o) { o.denoising_end = 0.5, o.sampler = "dpm_adaptive"; });
    refuse([](auto & o) { o.denoising_start = 0.5, o.sampler = "dpm_fast"; });
}

TEST(prediction_types) {
    const Json & file = fixtures::json("prediction_types");
    const auto & arrays = fixtures::arrays("prediction_types");
    fixtures::for_cases("prediction_types", file.at("cases"), {}, [&](const Json & test) {
        const std::string kind = test.at("prediction"), id = test.at("id");
        const double sigma = test.at("sigma");
        ls::SolverOptions options;
        options.sigmas = {sigma};
        if (kind == "edm") options.prediction = latent::Prediction::edm;
        if (kind == "v" || kind == "edm_vpred") options.prediction = latent::Prediction::v;
        options.extra = {{"sigma_data", test.at("sigma_data")}};
        if (kind != "eps" && kind != "v") options.extra["timestep_type"] = "continuous";
        const auto solver = ls::make_solver(options);
        const size_t count = 24;
        Values x = fixtures::formula("pred:x", count), input(count), clean(count), back(count);
        const Values output = fixtures::formula("pred:m", count);
        for (float & v : x) v = static_cast<float>(v * sigma);
        solver->scale_input(0, x, input);
        solver->to_denoised(0, output, x, clean);
        solver->from_denoised(0, clean, x, back);
        const auto same = [](const Values & actual, const Values & expected) {
            double largest = 0, error = 0;
            for (size_t i = 0; i < expected.size(); ++i) {
                largest = std::max(largest, std::fabs(static_cast<double>(expected[i])));
                error = std::max(error, std::fabs(static_cast<double>(actual[i]) - expected[i]));
            }
            return error <= 1e-5 * largest;
        };
        bool ok = same(input, arrays.at(id + ".in")) && same(clean, arrays.at(id + ".x0"));
        if (test.contains("time")) ok = ok && std::fabs(solver->evaluations()[0].timestep - test.at("time").get<double>()) < 1e-6;
        // Through the estimate, whose rounding is amplified by x0's share in the output.
        for (size_t i = 0; ok && i < count; ++i) ok = std::fabs(back[i] - output[i]) < 2e-4 * std::max(1.0, 1 / sigma);
        return ok;
    });
}
