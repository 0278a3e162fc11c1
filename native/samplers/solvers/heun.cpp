#include <cmath>

#include "samplers/sigma_solver.h"
#include "samplers/solvers/factories.h"

namespace latent::samplers {

namespace {

enum class Second { end, middle };

// Two evaluations per step. Heun's second one is at the end of the step and the derivatives are averaged (Karras et al. 2022,
// algorithm 2); DPM-Solver-2's is at the geometric mean of the levels and its derivative is used alone (k-diffusion sample_dpm_2,
// diffusers KDPM2). With eta above 0 the step goes to the ancestral level and fresh noise follows (sample_dpm_2_ancestral). The
// step to sigma 0 is a single Euler step.
class TwoEvaluationSolver : public Cloneable<TwoEvaluationSolver, SigmaSolver> {
public:
    struct Step {
        double from, to, middle, up;
    };

    TwoEvaluationSolver(const SigmaPlan & plan, Prediction prediction, Second second, const Churn & churn, double eta,
                        double s_noise)
        : Cloneable(plan, prediction), second_(second), churn_(churn), s_noise_(s_noise) {
        const int steps = static_cast<int>(plan.timesteps.size());
        for (int k = 0; k < steps; ++k) {
            const double sigma = plan.sigmas[k], next = plan.sigmas[k + 1];
            const double raised = churn.raise(sigma, steps);
            const AncestralStep split = ancestral_step(sigma, next, eta);
            const Step step = {raised, split.down, std::sqrt(raised * split.down), split.up};
            const bool single = step.to == 0;
            steps_.push_back(step);
            add(raised, raised != sigma ? plan.timestep_of(raised) : plan.timesteps[k], k, single, plan);
            if (single) continue;
            const bool grid_end = second == Second::end && k + 1 < steps;
            const double at = second == Second::end ? step.to : step.middle;
            add(at, grid_end ? plan.timesteps[k + 1] : plan.timestep_of(at), k, true, plan);
        }
    }

    void prepare(size_t i, Span<float> x, NoiseSource & source) override {
        if (churn_.amount <= 0 || second_evaluation_[i]) return;
        const double sigma = sigmas_[evaluations_[i].step], raised = steps_[evaluations_[i].step].from;
        const auto & noise = draw(source, x.size());
        const double scale = churn_.added(sigma, raised);
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(x[j] + scale * noise[j]);
    }

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource & source) override {
        const auto & denoised = denoise(i, output, x);
        const Step & step = steps_[evaluations_[i].step];
        if (!second_evaluation_[i]) {
            const bool single = evaluations_[i].ends_step;
            const double target = single || second_ == Second::end ? step.to : step.middle;
            base_.assign(x.begin(), x.end());
            slope_.resize(x.size());
            for (size_t j = 0; j < x.size(); ++j) {
                slope_[j] = static_cast<float>((static_cast<double>(x[j]) - denoised[j]) / step.from);
                x[j] = static_cast<float>(x[j] + (target - step.from) * slope_[j]);
            }
            return;
        }
        const double at = evaluations_[i].sigma, width = step.to - step.from;
        for (size_t j = 0; j < x.size(); ++j) {
            double slope = (static_cast<double>(x[j]) - denoised[j]) / at;
            if (second_ == Second::end) slope = (slope_[j] + slope) / 2;
            x[j] = static_cast<float>(base_[j] + slope * width);
        }
        if (s_noise_ < 0) return;
        const int k = evaluations_[i].step;
        const auto & noise = draw(source, x.size(), sigmas_[k], sigmas_[k + 1]);
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(x[j] + s_noise_ * step.up * noise[j]);
    }

private:
    void add(double sigma, double timestep, int step, bool ends_step, const SigmaPlan & plan) {
        second_evaluation_.push_back(!evaluations_.empty() && evaluations_.back().step == step);
        add_evaluation(plan, sigma, timestep, step, ends_step);
    }

    Second second_;
    Churn churn_;
    double s_noise_;  // below 0: not an ancestral solver, no noise is drawn
    std::vector<Step> steps_;
    std::vector<bool> second_evaluation_;
    std::vector<float> base_, slope_;
};

std::unique_ptr<Solver> make_churned(Setup & setup, Second second) {
    const SigmaPlan plan = plan_sigmas(setup);
    return std::make_unique<TwoEvaluationSolver>(plan, setup.options.prediction, second, Churn::read(setup.parameters), 0, -1);
}

}  // namespace

std::unique_ptr<Solver> make_heun(Setup & setup) {
    return make_churned(setup, Second::end);
}

std::unique_ptr<Solver> make_dpm2(Setup & setup) {
    return make_churned(setup, Second::middle);
}

std::unique_ptr<Solver> make_dpm2_a(Setup & setup) {
    const SigmaPlan plan = plan_sigmas(setup);
    return std::make_unique<TwoEvaluationSolver>(plan, setup.options.prediction, Second::middle, Churn(),
                                                 eta_or(setup.options, 1), read_s_noise(setup.parameters));
}

}  // namespace latent::samplers
