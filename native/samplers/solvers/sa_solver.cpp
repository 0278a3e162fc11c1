#include <algorithm>
#include <cmath>

#include "samplers/dpm_plan.h"
#include "samplers/solvers/factories.h"

namespace latent::samplers {

namespace {

// Integrals over u in [-h, 0] of exp(k u) u^p, p = 0 .. count - 1, by parts.
std::vector<double> exponential_moments(double k, double h, size_t count) {
    std::vector<double> moments = {-std::expm1(-k * h) / k};
    for (size_t p = 1; p < count; ++p)
        moments.push_back((-std::exp(-k * h) * std::pow(-h, static_cast<double>(p)) - static_cast<double>(p) * moments.back()) /
                          k);
    return moments;
}

// The Lagrange polynomial that is 1 at nodes[k] and 0 at the others, ascending powers.
std::vector<double> lagrange_polynomial(const std::vector<double> & nodes, size_t k) {
    std::vector<double> polynomial = {1};
    for (size_t j = 0; j < nodes.size(); ++j) {
        if (j == k) continue;
        std::vector<double> product(polynomial.size() + 1, 0);
        const double scale = 1 / (nodes[k] - nodes[j]);
        for (size_t p = 0; p < polynomial.size(); ++p) {
            product[p] -= polynomial[p] * nodes[j] * scale;
            product[p + 1] += polynomial[p] * scale;
        }
        polynomial = std::move(product);
    }
    return polynomial;
}

// SA-Solver, Xue et al. 2023, "Stochastic Adams solver": a stochastic Adams-Bashforth predictor and an Adams-Moulton corrector
// that repeats the step with the new evaluation and the same noise. diffusers SASolverScheduler.
class SaSolver : public Cloneable<SaSolver, DpmFamilySolver> {
public:
    struct Settings {
        size_t predictor = 2, corrector = 2;  // orders; corrector 0: off
        bool predict_x0 = true, lower_order_final = true;
        double tau = 1, low = 200, high = 800;  // noise only between these timesteps
    };

    SaSolver(const SolverOptions & options, const DpmPlan & plan, const Clip & clip, const Settings & settings)
        : Cloneable(options, plan, clip, settings.predict_x0), settings_(settings) {}

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource & source) override {
        const size_t k = index(i), before = history_.size();
        convert(i, output, x, std::max(settings_.predictor, settings_.corrector));
        if (before > 0 && settings_.corrector > 0) {
            std::copy(last_.begin(), last_.end(), x.begin());
            update(x, k - 1, k, corrector_, true);
        }
        const size_t left = plan_.steps() - k;
        size_t predictor = settings_.predictor, corrector = settings_.corrector;
        if (settings_.lower_order_final) {
            predictor = std::min(predictor, left);
            corrector = std::min(corrector, left + 1);
        }
        const size_t kept = std::min(before, std::max(settings_.predictor, std::max<size_t>(settings_.corrector, 1) - 1));
        corrector_ = std::min(corrector, kept + 2);
        last_.assign(x.begin(), x.end());
        draw(source, x.size());
        tau_ = evaluations_[i].timestep >= settings_.low && evaluations_[i].timestep <= settings_.high ? settings_.tau : 0;
        update(x, k, k + 1, std::min(predictor, kept + 1), false);
    }

private:
    // Moves x from level `from` to level `to`. The corrector also interpolates through `to`, whose output is the newest.
    void update(Span<float> x, size_t from, size_t to, size_t order, bool corrector) const {
        const Level start = plan_.levels[from], end = plan_.levels[to];
        const double h = end.lambda() - start.lambda(), square = tau_ * tau_;
        std::vector<double> nodes;  // lambda relative to the end of the step
        for (size_t m = 0; m < order; ++m) nodes.push_back(plan_.levels[(corrector ? to : from) - m].lambda() - end.lambda());
        const double k = settings_.predict_x0 ? 1 + square : -1;
        const std::vector<double> moments = exponential_moments(k, h, order);
        std::vector<double> weights;
        for (size_t m = 0; m < order; ++m) {
            double weight = 0;
            const std::vector<double> polynomial = lagrange_polynomial(nodes, m);
            for (size_t p = 0; p < order; ++p) weight += polynomial[p] * moments[p];
            weights.push_back(weight);
        }
        if (settings_.predict_x0 && order == 2) {  // the reference's term of third order
            const double rest = (h * k - 1 + std::exp(-k * h)) / (k * k);
            const double extra = corrector ? h / 2 - rest / h : (h * h / 2 - rest) / (nodes[0] - nodes[1]);
            weights[0] += extra;
            weights[1] -= extra;
        }
        const double keep = settings_.predict_x0 ? std::exp(-square * h) * end.sigma / start.sigma : end.alpha / start.alpha;
        const double gain = settings_.predict_x0 ? (1 + square) * end.alpha : -(1 + square) * end.sigma;
        const double fresh = settings_.predict_x0 ? end.sigma * std::sqrt(-std::expm1(-2 * square * h))
                                                  : tau_ * end.sigma * std::sqrt(std::expm1(2 * h));
        for (size_t j = 0; j < x.size(); ++j) {
            double value = keep * x[j] + fresh * noise_[j];
            for (size_t m = 0; m < order; ++m) value += gain * weights[m] * history_[m][j];
            x[j] = static_cast<float>(value);
        }
    }

    Settings settings_;
    size_t corrector_ = 1;     // order of the corrector of the last step
    double tau_ = 0;           // of the last step
    std::vector<float> last_;  // the state that the last predictor started from; its noise is noise_
};

}  // namespace

std::unique_ptr<Solver> make_sa_solver(Setup & setup) {
    Parameters & p = setup.parameters;
    SaSolver::Settings settings;
    settings.predictor = static_cast<size_t>(p.integer("predictor_order", 2, 1, 4));
    settings.corrector = static_cast<size_t>(p.integer("corrector_order", 2, 0, 4));
    settings.predict_x0 =
        p.choice("algorithm_type", "data_prediction", {"data_prediction", "noise_prediction"}) == "data_prediction";
    settings.lower_order_final = p.flag("lower_order_final", true);
    settings.tau = setup.options.eta < 0 ? 1 : setup.options.eta;
    settings.low = p.number("tau_low", 200, 0, 1e5);
    settings.high = p.number("tau_high", 800, 0, 1e5);
    const DpmPlan plan = plan_dpm(setup, false, false);
    return std::make_unique<SaSolver>(setup.options, plan, Clip::read(p), settings);
}

}  // namespace latent::samplers
