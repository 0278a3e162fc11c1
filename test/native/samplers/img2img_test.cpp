#include <cmath>

#include "diffusers_options.h"

using fixtures::FormulaNoise;
using fixtures::Json;
using fixtures::Values;
namespace ls = latent::samplers;

namespace {

struct Inputs {
    Values clean, noise;
    std::vector<int> mask;
    bool keep(size_t j) const { return mask[j % 64] >= 128; }
};

const Inputs & inputs() {
    static const Inputs all = [] {
        Inputs in{fixtures::formula("input:x_0", fixtures::latent_size), fixtures::formula("noise:init", fixtures::latent_size),
                  fixtures::formula_bytes("mask", 64)};
        for (float & v : in.clean) v = static_cast<float>(v * 0.8);
        return in;
    }();
    return all;
}

bool run_diffusers(const Json & test) {
    ls::SolverOptions options = fixtures::diffusers_options(test.at("class"), test.at("config"));
    options.steps = test.at("num_inference_steps");
    options.image_to_image = true;
    options.strength = test.at("strength");
    const auto solver = ls::make_solver(options);
    const auto table = fixtures::diffusers_table(options);
    const auto & evaluations = solver->evaluations();
    bool ok = evaluations.size() == test.at("timesteps").size();
    for (size_t i = 0; ok && i < evaluations.size(); ++i)
        ok = std::fabs(evaluations[i].timestep - test.at("timesteps")[i].get<double>()) < 0.02;

    const Inputs & in = inputs();
    const bool masked = test.at("kind") == "inpaint4";
    Values x(in.clean.size()), input(x.size()), kept(x.size());
    solver->start_from_image(in.clean, in.noise, x);
    if (masked && options.strength == 1)
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(in.noise[j] * solver->init_noise_sigma());
    FormulaNoise noise;
    fixtures::Trajectory trajectory("samplers_img2img", test);
    trajectory.add(x);
    for (size_t i = 0; ok && i < evaluations.size(); ++i) {
        solver->prepare(i, x, noise);
        solver->scale_input(i, x, input);
        solver->advance(i, fixtures::guided_network(test, table, evaluations[i].timestep, input, options.prediction), x, noise);
        if (masked) {
            solver->add_noise(i + 1, in.clean, in.noise, kept);
            for (size_t j = 0; j < x.size(); ++j)
                if (in.keep(j)) x[j] = kept[j];
        }
        trajectory.add(x);
    }
    return ok && trajectory.check();
}

// Web UI and ComfyUI rules, in sigma space; masks edit the estimate through to_denoised and from_denoised.
bool run_sigma(const Json & test) {
    static const std::map<std::string, std::string> names = {
        {"euler", "euler"}, {"dpmpp_2m", "dpmpp_2m"}, {"euler_ancestral", "euler_a"}};
    const std::string kind = test.at("kind");
    const bool comfy = kind == "comfy" || kind == "comfy_mask", masked = kind == "webui_mask" || kind == "comfy_mask";
    ls::SolverOptions options;
    options.sampler = names.at(test.at("sampler"));
    options.dialect = comfy ? "comfy" : "k";
    options.schedule = test.at("schedule");
    options.steps = test.at("steps");
    options.image_to_image = true;
    options.strength = test.at("strength");
    options.prediction = latent::Prediction::eps;
    const auto solver = ls::make_solver(options);
    bool ok = solver->sigmas().size() == test.at("sigmas").size();
    for (size_t i = 0; ok && i < solver->sigmas().size(); ++i)
        ok = std::fabs(solver->sigmas()[i] - test.at("sigmas")[i].get<double>()) <= 5e-5 * solver->sigmas()[i];

    const Inputs & in = inputs();
    Values x(in.clean.size()), point(x.size()), denoised(x.size()), output(x.size());
    solver->start_from_image(in.clean, in.noise, x);
    FormulaNoise noise;
    fixtures::Trajectory trajectory("samplers_img2img", test);
    for (size_t i = 0; ok && i < solver->evaluations().size(); ++i) {
        const double sigma = solver->evaluations()[i].sigma;
        solver->prepare(i, x, noise);
        trajectory.add(x);
        point = x;
        if (kind == "comfy_mask")
            for (size_t j = 0; j < x.size(); ++j)
                if (in.keep(j)) point[j] = static_cast<float>(in.clean[j] + sigma * in.noise[j]);
        denoised = fixtures::guided_denoised(test, sigma, point);
        // The network's output at the point that it saw, and the output that means the edited estimate at x.
        solver->from_denoised(i, denoised, point, output);
        solver->to_denoised(i, output, point, denoised);
        if (masked)
            for (size_t j = 0; j < x.size(); ++j)
                if (in.keep(j)) denoised[j] = in.clean[j];
        solver->from_denoised(i, denoised, x, output);
        solver->advance(i, output, x, noise);
    }
    trajectory.add(x);
    if (kind == "webui_mask") {
        for (size_t j = 0; j < x.size(); ++j)
            if (in.keep(j)) x[j] = in.clean[j];
        trajectory.add(x);
    }
    return ok && trajectory.check();
}

bool run_img2img(const Json & test) {
    return test.contains("class") ? run_diffusers(test) : run_sigma(test);
}

}  // namespace

TEST(samplers_img2img) {
    fixtures::for_cases("samplers_img2img", fixtures::json("samplers_img2img").at("cases"), {}, run_img2img);
}
