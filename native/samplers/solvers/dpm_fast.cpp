#include <algorithm>
#include <cmath>

#include "samplers/sigma_solver.h"
#include "samplers/solvers/factories.h"

namespace latent::samplers {

namespace {

// DPM-Solver-fast, Lu et al. 2022a, appendix D.3: singlestep solvers of orders 1 to 3 that use exactly `steps` evaluations,
// spread evenly in lambda = -ln sigma (k-diffusion sample_dpm_fast).
class DpmFastSolver : public Cloneable<DpmFastSolver, SigmaSolver> {
public:
    struct Part {
        int order;
        double from, down, up;
    };

    DpmFastSolver(const SigmaPlan & plan, Prediction prediction, int evaluations, double eta, double s_noise)
        : Cloneable(plan, prediction), s_noise_(s_noise) {
        const double first = plan.sigmas.front(), last = std::min(plan.sigma_low, first);
        const int parts = evaluations / 3 + 1;
        sigmas_.clear();
        for (int k = 0; k <= parts; ++k) sigmas_.push_back(first * std::pow(last / first, static_cast<double>(k) / parts));
        for (int k = 0; k < parts; ++k) {
            int order = 3;
            if (evaluations % 3 == 0 && k >= parts - 2) order = k == parts - 2 ? 2 : 1;
            if (evaluations % 3 != 0 && k == parts - 1) order = evaluations % 3;
            AncestralStep split = ancestral_step(sigmas_[k], sigmas_[k + 1], eta);
            if (split.down < last) split = {last, std::sqrt(std::max(sigmas_[k + 1] * sigmas_[k + 1] - last * last, 0.0))};
            parts_.push_back({order, sigmas_[k], split.down, split.up});
            for (int s = 0; s < order; ++s) {
                const double at = sigmas_[k] * std::pow(split.down / sigmas_[k], s / static_cast<double>(order));
                stage_.push_back(s);
                add_evaluation(plan, at, plan.timestep_of(at), k, s + 1 == order);
            }
        }
    }

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource & source) override {
        const auto & denoised = denoise(i, output, x);
        const Part & part = parts_[evaluations_[i].step];
        const int stage = stage_[i];
        std::vector<float> eps(x.size());
        for (size_t j = 0; j < x.size(); ++j)
            eps[j] = static_cast<float>((static_cast<double>(x[j]) - denoised[j]) / evaluations_[i].sigma);
        if (stage == 0) {
            base_.assign(x.begin(), x.end());
            first_ = eps;
        }
        const bool last = stage + 1 == part.order;
        const double target = last ? part.down : evaluations_[i + 1].sigma, h = std::log(part.from / target);
        const double r = static_cast<double>(stage) / part.order * (std::log(part.from / part.down) / h), grow = std::expm1(h);
        // Order 2 uses a midpoint weight, order 3 the exact integral of the linear term.
        double slope = 0;
        if (stage > 0 && h > 0) slope = part.order == 2 ? grow / (2 * r) : (grow / h - 1) / r;
        for (size_t j = 0; j < x.size(); ++j)
            x[j] = static_cast<float>(base_[j] - target * (grow * first_[j] + slope * (static_cast<double>(eps[j]) - first_[j])));
        if (!last) return;
        const auto & noise = draw(source, x.size(), part.from, sigmas_[evaluations_[i].step + 1]);
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(x[j] + part.up * s_noise_ * noise[j]);
    }

private:
    double s_noise_;
    std::vector<Part> parts_;
    std::vector<int> stage_;
    std::vector<float> base_, first_;
};

}  // namespace

std::unique_ptr<Solver> make_dpm_fast(Setup & setup) {
    const SigmaPlan plan = plan_sigmas(setup);
    if (setup.options.image_to_image)
        throw Error(ErrorCode::invalid_argument, "dpm_fast does not support image to image: use another sampler");
    return std::make_unique<DpmFastSolver>(plan, setup.options.prediction, setup.options.steps, eta_or(setup.options, 0),
                                           read_s_noise(setup.parameters));
}

}  // namespace latent::samplers
