#include <cmath>

#include "samplers/sigma_solver.h"
#include "samplers/solvers/factories.h"

namespace latent::samplers {

namespace {

// Singlestep DPM-Solver++ of second order in sigma space (Lu et al. 2022b). lambda = -ln sigma.
// 2S a: k-diffusion sample_dpmpp_2s_ancestral; the midpoint lies between the current and the ancestral level. SDE: k-diffusion
// sample_dpmpp_sde; noise is added at the midpoint as well, whose position is r.
class SinglestepSolver : public Cloneable<SinglestepSolver, SigmaSolver> {
public:
    SinglestepSolver(const SigmaPlan & plan, Prediction prediction, bool sde, double eta, double s_noise, double r)
        : Cloneable(plan, prediction), sde_(sde), eta_(eta), s_noise_(s_noise), r_(r) {
        for (size_t k = 0; k < plan.timesteps.size(); ++k) {
            const double sigma = plan.sigmas[k], next = plan.sigmas[k + 1];
            const double target = sde ? next : ancestral_step(sigma, next, eta).down;
            const int step = static_cast<int>(k);
            add_evaluation(plan, sigma, plan.timesteps[k], step, target <= 0);
            middle_.push_back(false);
            if (target <= 0) continue;
            const double at = std::exp((1 - r) * std::log(sigma) + r * std::log(target));
            add_evaluation(plan, at, plan.timestep_of(at), step, true);
            middle_.push_back(true);
        }
    }

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource & source) override {
        const auto & denoised = denoise(i, output, x);
        const int k = evaluations_[i].step;
        const double sigma = sigmas_[k], next = sigmas_[k + 1];
        if (middle_[i]) return finish(sigma, next, denoised, x, source);
        if (evaluations_[i].ends_step) {
            const AncestralStep split = ancestral_step(sigma, next, eta_);
            const double slope = (split.down - sigma) / sigma;
            for (size_t j = 0; j < x.size(); ++j)
                x[j] = static_cast<float>(x[j] + (static_cast<double>(x[j]) - denoised[j]) * slope);
            return;
        }
        base_.assign(x.begin(), x.end());
        first_.assign(denoised.begin(), denoised.end());
        const double at = evaluations_[i + 1].sigma;
        if (!sde_) return move(x, base_, denoised, at / sigma);
        const AncestralStep split = ancestral_step(sigma, at, eta_);
        move(x, base_, denoised, split.down / sigma);
        inject(x, draw(source, x.size(), sigma, at), split.up);
    }

private:
    // x = ratio * base + (1 - ratio) * denoised, the exact step for a constant estimate.
    static void move(Span<float> x, const std::vector<float> & base, const std::vector<float> & denoised, double ratio) {
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(ratio * base[j] + (1 - ratio) * denoised[j]);
    }

    void inject(Span<float> x, const std::vector<float> & noise, double up) const {
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(x[j] + s_noise_ * up * noise[j]);
    }

    void finish(double sigma, double next, const std::vector<float> & denoised, Span<float> x, NoiseSource & source) {
        const AncestralStep split = ancestral_step(sigma, next, eta_);
        std::vector<float> estimate = denoised;
        if (sde_) {
            const double weight = 1 / (2 * r_);
            for (size_t j = 0; j < x.size(); ++j)
                estimate[j] = static_cast<float>((1 - weight) * first_[j] + weight * denoised[j]);
        }
        move(x, base_, estimate, split.down / sigma);
        if (next > 0) inject(x, draw(source, x.size(), sigma, next), split.up);
    }

    bool sde_;
    double eta_, s_noise_, r_;
    std::vector<bool> middle_;
    std::vector<float> base_, first_;
};

}  // namespace

std::unique_ptr<Solver> make_dpmpp_2s_a(Setup & setup) {
    const SigmaPlan plan = plan_sigmas(setup);
    return std::make_unique<SinglestepSolver>(plan, setup.options.prediction, false, eta_or(setup.options, 1),
                                              read_s_noise(setup.parameters), 0.5);
}

std::unique_ptr<Solver> make_dpmpp_sde(Setup & setup) {
    const SigmaPlan plan = plan_sigmas(setup);
    const double s_noise = read_s_noise(setup.parameters), r = setup.parameters.number("r", 0.5, 0.01, 1);
    return std::make_unique<SinglestepSolver>(plan, setup.options.prediction, true, eta_or(setup.options, 1), s_noise, r);
}

}  // namespace latent::samplers
