#include <algorithm>
#include <cmath>

#include "core/text.h"
#include "samplers/solvers/factories.h"
#include "samplers/vp_solver.h"

namespace latent::samplers {

namespace {

struct ConsistencyPlan {
    std::vector<int> timesteps;
    NoiseTable table;
    double last = 1;  // abar after the last step
    double after(size_t i) const { return i + 1 < timesteps.size() ? table.abar(timesteps[i + 1]) : last; }
};

// The distillation grid k * (train / original) - 1, from which `steps` points are taken evenly from the top; strength shortens
// the grid.
ConsistencyPlan plan_consistency(Setup & setup) {
    const SolverOptions & options = setup.options;
    ConsistencyPlan plan;
    plan.table = make_noise_table(options.noise_schedule, TableArithmetic::float32, TerminalSnr::zero);
    const int train = plan.table.timesteps();
    const int original = setup.parameters.integer("original_inference_steps", std::min(50, train), 1, train);
    plan.last = setup.parameters.flag("set_alpha_to_one", true) ? 1 : plan.table.abar(0);
    const auto skip = [&](int first) {
        plan.timesteps.erase(plan.timesteps.begin(),
                             plan.timesteps.begin() + std::min(first, static_cast<int>(plan.timesteps.size()) - 1));
    };
    // The caller's timesteps or schedule replace the grid, since distilled models may need the timesteps of their training.
    if (!options.timesteps.empty() || !options.sigmas.empty() || setup.schedule != "leading") {
        const StartRule start = setup.start();
        int stride = 0;
        plan.timesteps = whole_timesteps(setup, plan.table, start.schedule_steps, stride);
        if (options.image_to_image) skip(start.first);
        return plan;
    }
    const bool from_step = options.image_to_image && options.start_step >= 0;
    const double strength = options.image_to_image && !from_step ? options.strength : 1;
    const int grid = static_cast<int>(original * strength);
    if (options.steps > grid)
        throw Error(ErrorCode::invalid_argument, "\"" + options.sampler + "\" has " + std::to_string(grid) +
                                                     " grid points for strength " + number_text(strength) + ", fewer than the " +
                                                     std::to_string(options.steps) +
                                                     " requested steps: raise \"original_inference_steps\" or use fewer steps");
    for (int i = 0; i < options.steps; ++i) {
        const int skipped = static_cast<int>(std::floor(static_cast<double>(grid) / options.steps * i));
        plan.timesteps.push_back((grid - skipped) * (train / original) - 1);
    }
    if (from_step) skip(setup.start().first);
    return plan;
}

// Latent consistency model, Luo et al. 2023: diffusers LCMScheduler.
class LcmSolver : public Cloneable<LcmSolver, VpSolver> {
public:
    LcmSolver(Setup & setup, const ConsistencyPlan & plan) : Cloneable(setup.options, Clip::read(setup.parameters)), plan_(plan) {
        scaling_ = setup.parameters.number("timestep_scaling", 10, 1e-3, 1e6);
        for (size_t k = 0; k < plan.timesteps.size(); ++k)
            add_evaluation(plan.timesteps[k], Level::from_abar(plan.table.abar(plan.timesteps[k])), static_cast<int>(k), true);
        set_sigmas(Level());
    }

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource & source) override {
        estimate(i, output, x);
        const double data = 0.5, t = scaling_ * plan_.timesteps[i];
        const double skip = data * data / (t * t + data * data), take = t / std::sqrt(t * t + data * data);
        const bool final = i + 1 == plan_.timesteps.size();
        const Level next = final ? Level() : Level::from_abar(plan_.after(i));
        const std::vector<float> * noise = final ? nullptr : &draw(source, x.size());
        for (size_t j = 0; j < x.size(); ++j) {
            const double denoised = take * x0_[j] + skip * x[j];
            x[j] = static_cast<float>(noise ? next.alpha * denoised + next.sigma * (*noise)[j] : denoised);
        }
    }

private:
    ConsistencyPlan plan_;
    double scaling_ = 10;
};

// Trajectory consistency distillation, Zheng et al. 2024, section 4: diffusers TCDScheduler. eta is the paper's gamma.
class TcdSolver : public Cloneable<TcdSolver, VpSolver> {
public:
    TcdSolver(Setup & setup, const ConsistencyPlan & plan)
        : Cloneable(setup.options, Clip::read(setup.parameters)),
          plan_(plan),
          eta_(setup.options.eta < 0 ? 0.3 : setup.options.eta) {
        if (eta_ > 1) throw Error(ErrorCode::invalid_argument, "eta of tcd must lie in 0..1");
        for (size_t k = 0; k < plan.timesteps.size(); ++k)
            add_evaluation(plan.timesteps[k], Level::from_abar(plan.table.abar(plan.timesteps[k])), static_cast<int>(k), true);
        set_sigmas(Level::from_abar(plan.last));
    }

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource & source) override {
        estimate(i, output, x);
        const bool final = i + 1 == plan_.timesteps.size();
        const int next_timestep = final ? 0 : plan_.timesteps[i + 1];
        const double next = plan_.after(i), between = plan_.table.abar(static_cast<int>(std::floor((1 - eta_) * next_timestep)));
        const Level level = Level::from_abar(between);
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(level.alpha * x0_[j] + level.sigma * eps_[j]);
        if (eta_ <= 0 || final) return;
        const Level share = Level::from_abar(next / between);
        const auto & noise = draw(source, x.size());
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(share.alpha * x[j] + share.sigma * noise[j]);
    }

private:
    ConsistencyPlan plan_;
    double eta_;
};

}  // namespace

std::unique_ptr<Solver> make_lcm(Setup & setup) {
    return std::make_unique<LcmSolver>(setup, plan_consistency(setup));
}

std::unique_ptr<Solver> make_tcd(Setup & setup) {
    return std::make_unique<TcdSolver>(setup, plan_consistency(setup));
}

}  // namespace latent::samplers
