#include <cmath>

#include "samplers/sigma_solver.h"
#include "samplers/solvers/factories.h"

namespace latent::samplers {

namespace {

// Karras et al. 2022, algorithm 2 without the second-order correction. k-diffusion and generative-models raise the noise before
// the evaluation; diffusers evaluates first and raises it afterwards.
class EulerSolver : public Cloneable<EulerSolver, SigmaSolver> {
public:
    EulerSolver(const SigmaPlan & plan, Prediction prediction, const Churn & churn, bool draw_always)
        : Cloneable(plan, prediction), churn_(churn), after_(plan.diffusers), draw_always_(draw_always) {
        const int steps = plan.diffusers ? plan.whole_steps : static_cast<int>(plan.timesteps.size());
        for (size_t i = 0; i < plan.timesteps.size(); ++i) {
            const double sigma = plan.sigmas[i], raised = churn.raise(sigma, steps);
            raised_.push_back(raised);
            const bool moved = raised != sigma && !after_;
            add_evaluation(plan, moved ? raised : sigma, moved ? plan.timestep_of(raised) : plan.timesteps[i],
                           static_cast<int>(i), true);
        }
    }

    void prepare(size_t i, Span<float> x, NoiseSource & source) override {
        if (!after_) raise(i, x, source);
    }

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource & source) override {
        if (after_) raise(i, x, source);
        const double raised = raised_[i], next = sigmas_[i + 1];
        if (after_ && predicts_eps()) {  // the output is the derivative
            for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(x[j] + (next - raised) * output[j]);
            return;
        }
        const auto & denoised = denoise(i, output, x);
        const double slope = (next - raised) / raised;
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(x[j] + (static_cast<double>(x[j]) - denoised[j]) * slope);
    }

private:
    void raise(size_t i, Span<float> x, NoiseSource & source) {
        const double sigma = sigmas_[i], raised = raised_[i];
        if (raised == sigma && !(draw_always_ && churn_.amount > 0)) return;
        const auto & noise = draw(source, x.size());
        const double scale = churn_.added(sigma, raised);
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(x[j] + scale * noise[j]);
    }

    Churn churn_;
    bool after_, draw_always_;
    std::vector<double> raised_;
};

// k-diffusion sample_euler_ancestral, diffusers EulerAncestralDiscreteScheduler, generative-models EulerAncestralSampler.
class EulerAncestralSolver : public Cloneable<EulerAncestralSolver, SigmaSolver> {
public:
    EulerAncestralSolver(const SigmaPlan & plan, Prediction prediction, double eta, double s_noise)
        : Cloneable(plan, prediction), eta_(eta), s_noise_(s_noise) {
        add_grid(plan);
    }

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource & source) override {
        const auto & denoised = denoise(i, output, x);
        const double sigma = sigmas_[i], next = sigmas_[i + 1];
        const AncestralStep step = ancestral_step(sigma, next, eta_);
        const double slope = (step.down - sigma) / sigma;
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(x[j] + (static_cast<double>(x[j]) - denoised[j]) * slope);
        if (next <= 0) return;
        const auto & noise = draw(source, x.size(), sigma, next);
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(x[j] + s_noise_ * step.up * noise[j]);
    }

private:
    double eta_, s_noise_;
};

}  // namespace

std::unique_ptr<Solver> make_euler(Setup & setup) {
    const SigmaPlan plan = plan_sigmas(setup);
    return std::make_unique<EulerSolver>(plan, setup.options.prediction, Churn::read(setup.parameters),
                                         setup.is("k") || setup.is("comfy"));
}

std::unique_ptr<Solver> make_euler_a(Setup & setup) {
    const SigmaPlan plan = plan_sigmas(setup);
    return std::make_unique<EulerAncestralSolver>(plan, setup.options.prediction, eta_or(setup.options, 1),
                                                  read_s_noise(setup.parameters));
}

}  // namespace latent::samplers
