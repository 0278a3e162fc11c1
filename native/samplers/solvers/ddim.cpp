#include <algorithm>
#include <cmath>

#include "samplers/solvers/factories.h"
#include "samplers/vp_solver.h"

namespace latent::samplers {

namespace {

// Song et al. 2021, equation 12. CompVis ldm/models/diffusion/ddim.py and diffusers DDIMScheduler differ only in the timestep
// list, the last level and the start of image to image.
class DdimSolver : public Cloneable<DdimSolver, VpSolver> {
public:
    struct Step {
        int timestep;
        double abar, abar_next;
    };

    DdimSolver(Setup & setup, const std::vector<Step> & steps, const Clip & clip)
        : Cloneable(setup.options, clip), steps_(steps), eta_(eta_or_zero(setup.options)) {
        from_clipped_ = setup.parameters.flag("use_clipped_model_output", false);
        temperature_ = setup.parameters.number("temperature", 1, 0, 100);
        for (size_t k = 0; k < steps.size(); ++k)
            add_evaluation(steps[k].timestep, Level::from_abar(steps[k].abar), static_cast<int>(k), true);
        set_sigmas(Level::from_abar(steps.back().abar_next));
    }

    /// CompVis stochastic_encode uses the level one index above the first decoded step.
    void set_encode_level(Level level) {
        encode_ = level;
        has_encode_ = true;
    }

    void start_from_image(Span<const float> clean, Span<const float> noise, Span<float> out) const override {
        if (!has_encode_) return add_noise(0, clean, noise, out);
        for (size_t j = 0; j < clean.size(); ++j)
            out[j] = static_cast<float>(encode_.alpha * clean[j] + encode_.sigma * noise[j]);
    }

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource & source) override {
        estimate(i, output, x, from_clipped_);
        const double abar = steps_[i].abar, next = steps_[i].abar_next;
        const double variance = abar < 1 ? (1 - next) / (1 - abar) * (1 - abar / next) : 0;
        const double deviation = eta_ * std::sqrt(std::max(variance, 0.0));
        const double keep = std::sqrt(next), direction = std::sqrt(std::max(1 - next - deviation * deviation, 0.0));
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(keep * x0_[j] + direction * eps_[j]);
        if (eta_ <= 0) return;
        const auto & noise = draw(source, x.size());
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(x[j] + deviation * temperature_ * noise[j]);
    }

private:
    static double eta_or_zero(const SolverOptions & options) { return options.eta < 0 ? 0 : options.eta; }

    std::vector<Step> steps_;
    double eta_, temperature_ = 1;
    bool from_clipped_ = false, has_encode_ = false;
    Level encode_;
};

NoiseTable whole_table(const Setup & setup) {
    return make_noise_table(setup.options.noise_schedule,
                            setup.is("diffusers") ? TableArithmetic::float32 : TableArithmetic::float64, TerminalSnr::zero);
}

}  // namespace

std::unique_ptr<Solver> make_ddim(Setup & setup) {
    const NoiseTable table = whole_table(setup);
    const StartRule start = setup.start();
    int stride = 0;
    const std::vector<int> timesteps = whole_timesteps(setup, table, start.schedule_steps, stride);
    const double last = setup.parameters.flag("set_alpha_to_one", false) ? 1 : table.abar(0);
    std::vector<DdimSolver::Step> steps;
    for (size_t k = 0; k < timesteps.size(); ++k) {
        const int previous = stride > 0 ? timesteps[k] - stride : k + 1 < timesteps.size() ? timesteps[k + 1] : -1;
        steps.push_back({timesteps[k], table.abar(timesteps[k]), previous >= 0 ? table.abar(previous) : last});
    }
    const size_t run = std::min(static_cast<size_t>(start.schedule_steps - start.first), steps.size());
    const size_t first = setup.options.image_to_image ? steps.size() - run : 0;
    const std::vector<DdimSolver::Step> kept(steps.begin() + static_cast<ptrdiff_t>(first), steps.end());
    auto solver = std::make_unique<DdimSolver>(setup, kept, Clip::read(setup.parameters));
    if (setup.options.image_to_image && setup.is("compvis"))
        solver->set_encode_level(Level::from_abar(steps[first > 0 ? first - 1 : 0].abar));
    return solver;
}

// diffusers DDIMInverseScheduler: the same step, upwards in noise.
std::unique_ptr<Solver> make_ddim_inverse(Setup & setup) {
    const NoiseTable table = whole_table(setup);
    int stride = 0;
    const double first = setup.parameters.flag("set_alpha_to_one", false) ? 1 : table.abar(0);
    std::vector<int> timesteps = whole_timesteps(setup, table, setup.options.steps, stride);
    std::reverse(timesteps.begin(), timesteps.end());
    std::vector<DdimSolver::Step> steps;
    for (size_t k = 0; k < timesteps.size(); ++k) {
        const int current = stride > 0 ? timesteps[k] - stride : k > 0 ? timesteps[k - 1] : -1;
        steps.push_back({timesteps[k], current >= 0 ? table.abar(current) : first, table.abar(timesteps[k])});
    }
    return std::make_unique<DdimSolver>(setup, steps, Clip::read(setup.parameters));
}

}  // namespace latent::samplers
