#include "samplers/schedules.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "diffusers_options.h"
#include "samplers/setup.h"

using fixtures::Json;
namespace ls = latent::samplers;

namespace {

using List = std::vector<double>;

ls::NoiseTable sd_table() {
    return ls::make_noise_table({}, ls::TableArithmetic::float64, ls::TerminalSnr::zero);
}

bool close(const List & actual, const List & expected, double relative, double absolute, std::string & why) {
    if (actual.size() != expected.size()) {
        why = std::to_string(actual.size()) + " values, expected " + std::to_string(expected.size());
        return false;
    }
    for (size_t i = 0; i < actual.size(); ++i) {
        if (std::isnan(expected[i]) && std::isnan(actual[i])) continue;
        if (std::fabs(actual[i] - expected[i]) <= relative * std::fabs(expected[i]) + absolute) continue;
        why = "value " + std::to_string(i) + " is " + std::to_string(actual[i]) + ", expected " + std::to_string(expected[i]);
        return false;
    }
    return true;
}

struct Family {
    const char * name;
    const char * schedule;
    ls::ScheduleDialect dialect;
    double low, high, rho;  // 0: the default
};

// Families whose sigmas are one formula.
const std::vector<Family> & sigma_families() {
    const auto k = ls::ScheduleDialect::k, comfy = ls::ScheduleDialect::comfy, sgm = ls::ScheduleDialect::sgm;
    static const std::vector<Family> all = {
        {"k_karras", "karras", k, 0, 0, 0},
        {"k_karras_rho5", "karras", k, 0, 0, 5},
        {"k_karras_0.1_10", "karras", k, 0.1, 10, 0},
        {"k_exponential", "exponential", k, 0, 0, 0},
        {"k_polyexponential", "polyexponential", k, 0, 0, 0},
        {"k_polyexponential_rho2", "polyexponential", k, 0, 0, 2},
        {"k_vp", "vp", k, 0, 0, 0},
        {"k_discrete", "normal", k, 0, 0, 0},
        {"k_edm_karras", "karras", k, 0.002, 80, 0},
        {"web_uniform", "normal", k, 0, 0, 0},
        {"web_normal", "normal", k, 0, 0, 0},
        {"web_sgm_uniform", "sgm_uniform", k, 0, 0, 0},
        {"web_simple", "simple", k, 0, 0, 0},
        {"web_ddim", "ddim_uniform", k, 0, 0, 0},
        {"web_beta", "beta", k, 0, 0, 0},
        {"web_kl_optimal", "kl_optimal", k, 0, 0, 0},
        {"web_align_your_steps_sd1", "ays", k, 0, 0, 0},
        {"web_align_your_steps_sdxl", "ays_sdxl", k, 0, 0, 0},
        {"comfy_normal", "normal", comfy, 0, 0, 0},
        {"comfy_karras", "karras", comfy, 0, 0, 0},
        {"comfy_exponential", "exponential", comfy, 0, 0, 0},
        {"comfy_sgm_uniform", "sgm_uniform", comfy, 0, 0, 0},
        {"comfy_simple", "simple", comfy, 0, 0, 0},
        {"comfy_ddim_uniform", "ddim_uniform", comfy, 0, 0, 0},
        {"comfy_beta", "beta", comfy, 0, 0, 0},
        {"comfy_linear_quadratic", "linear_quadratic", comfy, 0, 0, 0},
        {"comfy_kl_optimal", "kl_optimal", comfy, 0, 0, 0},
        {"comfy_align_your_steps_sd1", "ays", comfy, 0, 0, 0},
        {"comfy_align_your_steps_sdxl", "ays_sdxl", comfy, 0, 0, 0},
        {"sgm_legacy_ddpm", "legacy_ddpm", sgm, 0, 0, 0},
        {"sgm_edm", "karras", sgm, 0.002, 80, 0},
        {"sgm_turbo_demo", "turbo", sgm, 0, 0, 0},
    };
    return all;
}

bool check_sigma_family(const Family & family, const Json & row, std::string & why) {
    ls::ScheduleRange range;
    if (family.low > 0) range.sigma_min = family.low, range.sigma_max = family.high;
    if (family.rho > 0) range.rho = family.rho;
    const List actual = ls::make_sigmas(family.schedule, family.dialect, sd_table(), row.at("steps"), range);
    const double relative = std::string(family.schedule) == "beta" ? 1e-4 : 5e-5;
    return close(actual, fixtures::numbers(row.at("sigmas")), relative, 1e-9, why);
}

// "diffusers_<class>_<variant>": the evaluations and noise levels of a solver with that configuration.
ls::SolverOptions diffusers_family(const std::string & name, int steps) {
    const size_t split = name.find('_', 10);
    const std::string kind = name.substr(10, split - 10), variant = name.substr(split + 1);
    static const std::map<std::string, std::string> classes = {{"DDIM", "DDIMScheduler"},
                                                               {"DDPM", "DDPMScheduler"},
                                                               {"PNDM", "PNDMScheduler"},
                                                               {"Euler", "EulerDiscreteScheduler"},
                                                               {"EulerAncestral", "EulerAncestralDiscreteScheduler"},
                                                               {"Heun", "HeunDiscreteScheduler"},
                                                               {"LMS", "LMSDiscreteScheduler"},
                                                               {"KDPM2", "KDPM2DiscreteScheduler"},
                                                               {"DPMSolver", "DPMSolverMultistepScheduler"},
                                                               {"UniPC", "UniPCMultistepScheduler"},
                                                               {"DPMSolverSinglestep", "DPMSolverSinglestepScheduler"},
                                                               {"DEIS", "DEISMultistepScheduler"},
                                                               {"LCM", "LCMScheduler"}};
    Json config = Json::object();
    if (variant == "leading") config["steps_offset"] = 1;
    if (variant == "leading" || variant == "trailing" || variant == "linspace") config["timestep_spacing"] = variant;
    if (variant == "karras" || variant == "exponential" || variant == "beta") config["use_" + variant + "_sigmas"] = true;
    if (variant == "lu_lambdas") config["use_lu_lambdas"] = true;
    if (variant == "ztsnr_trailing") config["timestep_spacing"] = "trailing", config["rescale_betas_zero_snr"] = true;
    if (variant == "50" || variant == "100") config["original_inference_steps"] = std::stoi(variant);
    ls::SolverOptions options = fixtures::diffusers_options(classes.at(kind), config);
    if (variant == "ztsnr_trailing") options.prediction = latent::Prediction::v;
    options.steps = steps;
    return options;
}

List without_repeats(List values) {
    values.erase(std::unique(values.begin(), values.end(), [](double a, double b) { return std::fabs(a - b) <= 1e-7 * a; }),
                 values.end());
    return values;
}

bool check_diffusers_family(const std::string & name, const Json & row, std::string & why) {
    const auto solver = ls::make_solver(diffusers_family(name, row.at("steps")));
    List timesteps;
    for (const auto & evaluation : solver->evaluations()) timesteps.push_back(evaluation.timestep);
    const bool whole = name.find("Euler_") == std::string::npos && name.find("Heun") == std::string::npos;
    if (!close(timesteps, fixtures::numbers(row.at("timesteps")), 0,
               whole && name.find("KDPM2") == std::string::npos && name.find("_linspace") == std::string::npos ? 1e-3 : 0.02,
               why))
        return false;
    if (row.contains("init_noise_sigma")) {
        const double init = row.at("init_noise_sigma");
        if (std::fabs(solver->init_noise_sigma() - init) > 1e-5 * init) {
            why = "init_noise_sigma " + std::to_string(solver->init_noise_sigma());
            return false;
        }
    }
    if (!row.contains("sigmas")) return true;
    return close(without_repeats(solver->sigmas()), without_repeats(fixtures::numbers(row.at("sigmas"))),
                 name.find("beta") != std::string::npos ? 1e-4 : 5e-5, 1e-9, why);
}

bool check_row(const std::string & name, const Json & row, std::string & why) {
    if (name == "compvis_ddim_uniform" || name == "compvis_ddim_quad") {
        const auto whole = ls::compvis_timesteps(name == "compvis_ddim_quad", row.at("steps"), 1000);
        return close(List(whole.begin(), whole.end()), fixtures::numbers(row.at("timesteps")), 0, 0, why);
    }
    for (const Family & family : sigma_families())
        if (name == family.name) return check_sigma_family(family, row, why);
    return check_diffusers_family(name, row, why);
}

}  // namespace

TEST(schedule_tables) {
    const auto & arrays = fixtures::arrays("schedule_tables");
    int tables = 0;
    for (const Json & entry : fixtures::json("schedule_tables").at("tables")) {
        const std::string name = entry.at("name");
        latent::NoiseSchedule schedule;
        const size_t end = name.rfind('_');
        if (name == "diffusers_squaredcos_cap_v2") {
            schedule.beta_schedule = "squaredcos_cap_v2";
        } else {
            schedule.beta_end = std::stod(name.substr(end + 1));
            schedule.beta_start = std::stod(name.substr(name.rfind('_', end - 1) + 1));
        }
        if (name.rfind("diffusers_linear", 0) == 0) schedule.beta_schedule = "linear";
        schedule.zero_terminal_snr = name.find("ztsnr") != std::string::npos;
        const bool compvis = name.rfind("compvis", 0) == 0, web = name.rfind("web", 0) == 0;
        const auto table = ls::make_noise_table(schedule, compvis ? ls::TableArithmetic::float64 : ls::TableArithmetic::float32,
                                                web ? ls::TerminalSnr::sigma_4518 : ls::TerminalSnr::zero);
        const double relative = compvis ? 1e-6 : 2e-5, absolute = schedule.zero_terminal_snr ? 1e-6 : 0;
        const auto as_list = [&](const char * part) {
            const auto & values = arrays.at(name + part);
            return List(values.begin(), values.end());
        };
        std::string why;
        // Near zero SNR the last beta is 1 - 0 / abar or amplifies the last bit of abar.
        if (!schedule.zero_terminal_snr && arrays.count(name + ".betas") &&
            !close(table.betas, as_list(".betas"), relative, 1e-9, why))
            check::fail(name.c_str(), 0, "betas: " + why);
        if (!close(table.alphas_cumprod, as_list(".alphas_cumprod"), relative, absolute, why))
            check::fail(name.c_str(), 0, "abar: " + why);
        if (!schedule.zero_terminal_snr && arrays.count(name + ".sigmas") &&
            !close(table.sigmas, as_list(".sigmas"), relative, 0, why))
            check::fail(name.c_str(), 0, "sigmas: " + why);
        if (entry.at("sigma_max") == "inf") CHECK(std::isinf(table.sigma_max()));
        ++tables;
    }
    std::printf("    schedule_tables: %d tables compared\n", tables);
    CHECK(tables == 31);
}

TEST(schedule_steps) {
    int rows = 0, families = 0, refused = 0;
    for (const auto & [name, family] : fixtures::json("schedule_steps").at("families").items()) {
        ++families;
        for (const Json & row : family.at("rows")) {
            const std::string label = name + " " + std::to_string(row.at("steps").get<int>());
            std::string why;
            const bool undefined = row.contains("sigmas") && !row.at("sigmas").empty() && row.at("sigmas")[0] == "nan";
            if (row.contains("error") || undefined) {
                ++refused;  // where the reference fails, a schedule or a typed error are both right
                continue;
            }
            try {
                if (!check_row(name, row, why)) check::fail(label.c_str(), 0, why);
            } catch (const std::exception & e) {
                check::fail(label.c_str(), 0, e.what());
            }
            ++rows;
        }
    }
    std::printf("    schedule_steps: %d rows of %d families compared, %d that the reference refuses left out\n", rows, families,
                refused);
    CHECK(families >= 83);
}

TEST(align_your_steps_in_diffusers) {
    for (const auto & [model, entry] : fixtures::json("schedule_steps").at("diffusers_align_your_steps").items()) {
        std::string why;
        const List published = fixtures::numbers(entry.at("timesteps_list"));
        CHECK(ls::ays_timesteps(model == "StableDiffusionXL") == published);
        ls::SolverOptions options;
        options.sampler = "dpm_solver";
        options.timesteps = published;
        if (!close(ls::make_solver(options)->sigmas(), fixtures::numbers(entry.at("dpmpp_sigmas_from_timesteps")), 5e-5, 0, why))
            check::fail(model.c_str(), 0, why);
        options = {};
        options.sampler = "euler";
        options.dialect = "diffusers";
        options.sigmas = fixtures::numbers(entry.at("sigmas_list"));
        List timesteps;
        const auto solver = ls::make_solver(options);
        for (const auto & evaluation : solver->evaluations()) timesteps.push_back(evaluation.timestep);
        if (!close(timesteps, fixtures::numbers(entry.at("euler_timesteps_from_sigmas")), 0, 0.02, why))
            check::fail(model.c_str(), 0, why);
    }
}

TEST(start_rules) {
    const Json & file = fixtures::json("samplers_start_rules");
    for (const Json & row : file.at("table")) {
        const int steps = row.at("steps");
        const double strength = row.at("strength");
        const auto diffusers = ls::diffusers_start(steps, strength);
        CHECK(diffusers.first == row.at("diffusers").at("t_start"));
        CHECK(steps - diffusers.first == row.at("diffusers").at("steps_run"));
        CHECK(ls::compvis_start(steps, strength).t_enc == row.at("compvis").at("t_enc"));
        for (const bool fixed : {false, true}) {
            const Json & expected = row.at(fixed ? "webui_fixed_steps" : "webui");
            const auto actual = fixed ? ls::webui_fixed_start(steps, strength) : ls::webui_start(steps, strength);
            CHECK(actual.schedule_steps == expected.at("steps") && actual.t_enc == expected.at("t_enc") &&
                  actual.first == expected.at("sigma_slice_from"));
        }
        const auto comfy = ls::comfy_start(steps, strength);
        const Json & expected = row.at("comfy");
        CHECK(expected.at("schedule_steps").is_null()
                  ? comfy.schedule_steps == 0
                  : comfy.schedule_steps == expected.at("schedule_steps") &&
                        comfy.schedule_steps - comfy.first + 1 == expected.at("keep_last_sigmas"));
    }
    for (const Json & row : file.at("lcm")) {
        ls::SolverOptions options;
        options.sampler = "lcm";
        options.steps = row.at("steps");
        options.image_to_image = true;
        options.strength = row.at("strength");
        List timesteps;
        const auto solver = ls::make_solver(options);
        for (const auto & evaluation : solver->evaluations()) timesteps.push_back(evaluation.timestep);
        CHECK(timesteps == fixtures::numbers(row.at("timesteps")));
    }
}

TEST(samplers_wrappers) {
    const Json & file = fixtures::json("samplers_wrappers");
    const auto table = sd_table();
    for (const Json & pair : file.at("conversions").at("t_to_sigma"))
        CHECK_NEAR(table.sigma_at(pair[0]), pair[1].get<double>(), 1e-6 * pair[1].get<double>());
    for (const Json & row : file.at("conversions").at("sigma_to_t")) {
        CHECK_NEAR(table.timestep_at(row[0]), row[1].get<double>(), 0.02);
        CHECK(table.nearest_log(row[0]) == row[2].get<int>());
    }
    fixtures::for_cases("samplers_wrappers", file.at("cases"), {}, [&](const Json & test) {
        const double sigma = test.at("sigma"), t = test.at("t");
        ls::SolverOptions options;
        options.sigmas = {sigma};
        options.prediction = fixtures::prediction(test);
        options.extra = {{"quantize", test.at("quantize")}};
        const auto solver = ls::make_solver(options);
        fixtures::Values x = fixtures::formula("input:x_T", fixtures::latent_size), input(x.size()), denoised(x.size());
        for (float & v : x) v = static_cast<float>(v * sigma);
        solver->scale_input(0, x, input);
        const auto output = fixtures::guided_network(test, table, t, input, options.prediction);
        solver->to_denoised(0, output, x, denoised);
        const auto & arrays = fixtures::arrays("samplers_wrappers");
        const auto expected = arrays.find(test.at("id").get<std::string>());
        bool ok = std::fabs(solver->evaluations()[0].timestep - t) <= 0.02 && expected != arrays.end();
        double largest = 1;
        for (size_t j = 0; ok && j < x.size(); ++j)
            largest = std::max(largest, std::fabs(static_cast<double>(expected->second[j])));
        for (size_t j = 0; ok && j < x.size(); ++j)
            ok = std::fabs(denoised[j] - static_cast<double>(expected->second[j])) <= 2e-5 * std::max(largest, sigma);
        return ok;
    });
}
