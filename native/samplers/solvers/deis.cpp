#include <algorithm>
#include <cmath>

#include "samplers/dpm_plan.h"
#include "samplers/solvers/factories.h"

namespace latent::samplers {

namespace {

// Integral over rho in [from, to] of the Lagrange polynomial in ln rho that is 1 at nodes[0] and 0 at the others (up to two).
// At third order the differences cancel heavily, so the result depends on the precision: float32, as in the reference.
float log_lagrange_integral(const std::vector<float> & nodes, float from, float to) {
    const auto antiderivative = [&](float rho) {
        const float l = std::log(rho);
        if (nodes.size() == 1) return rho;
        const float b = std::log(nodes[0]), c = std::log(nodes[1]);
        if (nodes.size() == 2) return rho * (-c + l - 1) / (b - c);
        const float d = std::log(nodes[2]);
        return rho * (c * (d - l + 1) - d * l + d + l * l - 2 * l + 2) / ((b - c) * (b - d));
    };
    return antiderivative(to) - antiderivative(from);
}

// sigma / alpha of the variance-preserving level, with every operation rounded to float32.
float float_ratio(Level level) {
    const float sigma = static_cast<float>(level.ratio()), alpha = 1 / std::sqrt(sigma * sigma + 1);
    return sigma * alpha / alpha;
}

// DEIS, Zhang & Chen 2022, logarithmic polynomials: diffusers DEISMultistepScheduler.
class DeisSolver : public Cloneable<DeisSolver, DpmFamilySolver> {
public:
    DeisSolver(const SolverOptions & options, const DpmPlan & plan, const Clip & clip, size_t order, bool lower_order_final)
        : Cloneable(options, plan, clip, false), order_(order), lower_order_final_(lower_order_final) {}

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource &) override {
        convert(i, output, x, order_);
        const size_t k = index(i), left = plan_.steps() - k;
        size_t order = std::min(order_, history_.size());
        if (lower_order_final_ && plan_.steps() < 15) order = std::min(order, left);
        if (plan_.levels[k + 1].sigma == 0) order = 1;

        const Level from = plan_.levels[k], to = plan_.levels[k + 1];
        std::vector<double> weights;
        for (size_t j = 0; j < order; ++j) {
            std::vector<float> nodes;
            for (size_t m = 0; m < order; ++m) nodes.push_back(float_ratio(plan_.levels[k - (j + m) % order]));
            weights.push_back(log_lagrange_integral(nodes, float_ratio(from), float_ratio(to)));
        }
        for (size_t j = 0; j < x.size(); ++j) {
            double value = x[j] / from.alpha;
            for (size_t m = 0; m < order; ++m) value += weights[m] * history_[m][j];
            x[j] = static_cast<float>(to.alpha * value);
        }
    }

private:
    size_t order_;
    bool lower_order_final_;
};

}  // namespace

std::unique_ptr<Solver> make_deis(Setup & setup) {
    const auto order = static_cast<size_t>(setup.parameters.integer("solver_order", 2, 1, 3));
    const bool lower_order_final = setup.parameters.flag("lower_order_final", true);
    const DpmPlan plan = plan_dpm(setup, false, true);
    return std::make_unique<DeisSolver>(setup.options, plan, Clip::read(setup.parameters), order, lower_order_final);
}

}  // namespace latent::samplers
