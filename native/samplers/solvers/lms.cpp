#include <algorithm>
#include <cmath>
#include <deque>

#include "samplers/sigma_solver.h"
#include "samplers/solvers/factories.h"

namespace latent::samplers {

namespace {

// Integral over [from, to] of the Lagrange polynomial that is 1 at nodes[k] and 0 at the others.
double lagrange_integral(const std::vector<double> & nodes, size_t k, double from, double to) {
    std::vector<double> polynomial = {1};  // ascending powers
    for (size_t j = 0; j < nodes.size(); ++j) {
        if (j == k) continue;
        std::vector<double> product(polynomial.size() + 1, 0);
        const double scale = 1 / (nodes[k] - nodes[j]);
        for (size_t p = 0; p < polynomial.size(); ++p) {
            product[p] -= polynomial[p] * nodes[j] * scale;
            product[p + 1] += polynomial[p] * scale;
        }
        polynomial = product;
    }
    double integral = 0;
    for (size_t p = 0; p < polynomial.size(); ++p) {
        const double power = static_cast<double>(p + 1);
        integral += polynomial[p] / power * (std::pow(to, power) - std::pow(from, power));
    }
    return integral;
}

// Linear multistep (Adams-Bashforth on a non-uniform sigma grid): k-diffusion sample_lms, diffusers LMSDiscreteScheduler.
class LmsSolver : public Cloneable<LmsSolver, SigmaSolver> {
public:
    LmsSolver(const SigmaPlan & plan, Prediction prediction, int order)
        : Cloneable(plan, prediction), order_(static_cast<size_t>(order)) {
        if (plan.diffusers) skipped_ = plan.skipped;
        add_grid(plan);
    }

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource &) override {
        const auto & denoised = denoise(i, output, x);
        std::vector<float> slope(x.size());
        for (size_t j = 0; j < x.size(); ++j)
            slope[j] = static_cast<float>((static_cast<double>(x[j]) - denoised[j]) / sigmas_[i]);
        slopes_.push_front(std::move(slope));
        if (slopes_.size() > order_) slopes_.pop_back();

        // Relative to the current level, to keep the powers small.
        std::vector<double> nodes;
        for (size_t k = 0; k < order_ && k <= i + skipped_.size(); ++k) nodes.push_back(level_before(i, k) - sigmas_[i]);
        std::vector<double> weights;
        for (size_t k = 0; k < slopes_.size(); ++k)
            weights.push_back(lagrange_integral(nodes, k, 0, sigmas_[i + 1] - sigmas_[i]));
        for (size_t j = 0; j < x.size(); ++j) {
            double sum = x[j];
            for (size_t k = 0; k < weights.size(); ++k) sum += weights[k] * slopes_[k][j];
            x[j] = static_cast<float>(sum);
        }
    }

private:
    double level_before(size_t i, size_t k) const { return k <= i ? sigmas_[i - k] : skipped_[skipped_.size() - (k - i)]; }

    size_t order_;
    // diffusers takes the order from the position in the whole schedule; after a start inside it, weights of derivatives that
    // were never computed are dropped.
    std::vector<double> skipped_;
    std::deque<std::vector<float>> slopes_;  // newest first
};

}  // namespace

std::unique_ptr<Solver> make_lms(Setup & setup) {
    const SigmaPlan plan = plan_sigmas(setup);
    return std::make_unique<LmsSolver>(plan, setup.options.prediction, setup.parameters.integer("order", 4, 1, 8));
}

}  // namespace latent::samplers
