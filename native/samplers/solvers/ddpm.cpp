#include <algorithm>
#include <cmath>

#include "samplers/solvers/factories.h"
#include "samplers/vp_solver.h"

namespace latent::samplers {

namespace {

enum class Variance { small, large };

// Ancestral sampling of Ho et al. 2020: diffusers DDPMScheduler, CompVis DDPM.p_sample (one training step at a time).
class DdpmSolver : public Cloneable<DdpmSolver, VpSolver> {
public:
    struct Step {
        int timestep;
        double abar, abar_next;
    };

    DdpmSolver(const SolverOptions & options, const std::vector<Step> & steps, const Clip & clip, Variance variance,
               double temperature)
        : Cloneable(options, clip), steps_(steps), variance_(variance), temperature_(temperature) {
        for (size_t k = 0; k < steps.size(); ++k)
            add_evaluation(steps[k].timestep, Level::from_abar(steps[k].abar), static_cast<int>(k), true);
        set_sigmas(Level::from_abar(steps.back().abar_next));
    }

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource & source) override {
        estimate(i, output, x);
        const double abar = steps_[i].abar, next = steps_[i].abar_next, alpha = abar / next, beta = 1 - alpha;
        const double of_x0 = std::sqrt(next) * beta / (1 - abar), of_x = std::sqrt(alpha) * (1 - next) / (1 - abar);
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(of_x0 * x0_[j] + of_x * x[j]);
        if (steps_[i].timestep == 0) return;
        const double variance = variance_ == Variance::large ? beta : std::max((1 - next) / (1 - abar) * beta, 1e-20);
        const auto & noise = draw(source, x.size());
        const double scale = std::sqrt(variance) * temperature_;
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(x[j] + scale * noise[j]);
    }

private:
    std::vector<Step> steps_;
    Variance variance_;
    double temperature_;
};

}  // namespace

std::unique_ptr<Solver> make_ddpm(Setup & setup) {
    const bool compvis = setup.is("compvis");
    const NoiseTable table = make_noise_table(setup.options.noise_schedule,
                                              compvis ? TableArithmetic::float64 : TableArithmetic::float32, TerminalSnr::zero);
    const StartRule start = setup.start();
    int stride = 0;
    std::vector<int> timesteps = whole_timesteps(setup, table, start.schedule_steps, stride);
    const size_t run = std::min(static_cast<size_t>(start.schedule_steps - start.first), timesteps.size());
    if (setup.options.image_to_image) timesteps.erase(timesteps.begin(), timesteps.end() - static_cast<ptrdiff_t>(run));
    // Every step goes to the next timestep of the list. CompVis runs consecutive timesteps, so each step ends one below.
    const int last =
        compvis && timesteps.front() - timesteps.back() + 1 == static_cast<int>(timesteps.size()) ? timesteps.back() - 1 : -1;
    std::vector<DdpmSolver::Step> steps;
    for (size_t k = 0; k < timesteps.size(); ++k) {
        const int t = timesteps[k], next = k + 1 < timesteps.size() ? timesteps[k + 1] : last;
        steps.push_back({t, table.abar(t), next >= 0 ? table.abar(next) : 1});
    }
    const std::string variance =
        setup.parameters.choice("variance_type", "fixed_small", {"fixed_small", "fixed_small_log", "fixed_large"});
    const double temperature = setup.parameters.number("temperature", 1, 0, 100);
    return std::make_unique<DdpmSolver>(setup.options, steps, Clip::read(setup.parameters),
                                        variance == "fixed_large" ? Variance::large : Variance::small, temperature);
}

}  // namespace latent::samplers
