#include <algorithm>
#include <cmath>

#include "samplers/dpm_plan.h"
#include "samplers/solvers/factories.h"

namespace latent::samplers {

namespace {

// Solves the small dense system a y = b by elimination with pivoting.
std::vector<double> solve(std::vector<std::vector<double>> a, std::vector<double> b) {
    const size_t n = b.size();
    for (size_t c = 0; c < n; ++c) {
        size_t pivot = c;
        for (size_t r = c + 1; r < n; ++r)
            if (std::fabs(a[r][c]) > std::fabs(a[pivot][c])) pivot = r;
        std::swap(a[c], a[pivot]);
        std::swap(b[c], b[pivot]);
        for (size_t r = c + 1; r < n; ++r) {
            const double factor = a[r][c] / a[c][c];
            for (size_t k = c; k < n; ++k) a[r][k] -= factor * a[c][k];
            b[r] -= factor * b[c];
        }
    }
    for (size_t c = n; c-- > 0;) {
        for (size_t k = c + 1; k < n; ++k) b[c] -= a[c][k] * b[k];
        b[c] /= a[c][c];
    }
    return b;
}

// UniPC, Zhao et al. 2023: a predictor of order p and a corrector that reuses the next evaluation; diffusers
// UniPCMultistepScheduler.
class UniPcSolver : public Cloneable<UniPcSolver, DpmFamilySolver> {
public:
    struct Settings {
        size_t order = 2;
        bool predict_x0 = true, bh1 = false, lower_order_final = true;
        std::vector<int> disable_corrector;
    };

    UniPcSolver(const SolverOptions & options, const DpmPlan & plan, const Clip & clip, const Settings & settings)
        : Cloneable(options, plan, clip, settings.predict_x0), settings_(settings) {}

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource &) override {
        const size_t k = index(i), before = history_.size();
        convert(i, output, x, settings_.order + 1);
        const auto & off = settings_.disable_corrector;
        if (before > 0 && k > 0 && std::find(off.begin(), off.end(), static_cast<int>(k) - 1) == off.end()) {
            std::copy(last_.begin(), last_.end(), x.begin());
            update(x, k - 1, k, order_, true);
        }
        order_ = settings_.lower_order_final ? std::min(settings_.order, plan_.steps() - k) : settings_.order;
        order_ = std::min(order_, std::min(before, settings_.order) + 1);
        last_.assign(x.begin(), x.end());
        if (!stays(i)) update(x, k, k + 1, order_, false);
    }

private:
    // Moves x from level `from` to level `to` with the outputs at `from` and before; the corrector also uses the one at `to`,
    // then the newest in the history.
    void update(Span<float> x, size_t from, size_t to, size_t order, bool corrector) const {
        const Level start = plan_.levels[from], end = plan_.levels[to];
        const size_t newest = corrector ? 1 : 0;
        const double h = end.lambda() - start.lambda(), hh = settings_.predict_x0 ? -h : h;
        std::vector<double> places;
        std::vector<const std::vector<float> *> values;
        for (size_t k = 1; k < order; ++k) {
            places.push_back((plan_.levels[from - k].lambda() - start.lambda()) / h);
            values.push_back(&history_[newest + k]);
        }
        places.push_back(1);
        if (corrector) values.push_back(&history_[0]);
        const double grow = std::expm1(hh), scale = settings_.bh1 ? hh : grow;
        const std::vector<double> rhos = weights(places, hh, scale, corrector);

        const double lead = settings_.predict_x0 ? end.sigma / start.sigma : end.alpha / start.alpha;
        const double gain = settings_.predict_x0 ? end.alpha : end.sigma;
        const std::vector<float> & base = history_[newest];
        for (size_t j = 0; j < x.size(); ++j) {
            double value = lead * x[j] - gain * grow * base[j];
            for (size_t k = 0; k < values.size(); ++k)
                value -= gain * scale * rhos[k] * ((static_cast<double>((*values[k])[j]) - base[j]) / places[k]);
            x[j] = static_cast<float>(value);
        }
    }

    // Equation 9: the weights that make the differences match the exponential integral up to their order.
    static std::vector<double> weights(const std::vector<double> & places, double hh, double scale, bool corrector) {
        const size_t order = places.size(), n = corrector ? order : order - 1;
        if (n == 0) return {};
        if (corrector ? order == 1 : order == 2) return {0.5};  // simplified first weight, as in the references
        double phi = std::expm1(hh) / hh - 1, factorial = 1;
        std::vector<std::vector<double>> powers;
        std::vector<double> right;
        for (size_t i = 1; i <= n; ++i) {
            std::vector<double> row;
            for (size_t k = 0; k < n; ++k) row.push_back(std::pow(places[k], static_cast<double>(i - 1)));
            powers.push_back(row);
            right.push_back(phi * factorial / scale);
            factorial *= static_cast<double>(i + 1);
            phi = phi / hh - 1 / factorial;
        }
        return solve(powers, right);
    }

    Settings settings_;
    size_t order_ = 1;         // of the last predictor, which its corrector repeats
    std::vector<float> last_;  // the state that the last predictor started from
};

}  // namespace

std::unique_ptr<Solver> make_unipc(Setup & setup) {
    Parameters & p = setup.parameters;
    UniPcSolver::Settings settings;
    settings.order = static_cast<size_t>(p.integer("solver_order", 2, 1, 4));
    settings.predict_x0 = p.flag("predict_x0", true);
    settings.bh1 = p.choice("solver_type", "bh2", {"bh1", "bh2"}) == "bh1";
    settings.lower_order_final = p.flag("lower_order_final", true);
    settings.disable_corrector = p.integers("disable_corrector", 0, 1000);
    // bh1 would divide by an infinite step to sigma 0.
    const bool zero = settings.predict_x0 && !settings.bh1;
    const DpmPlan plan = plan_dpm(setup, zero, zero);
    return std::make_unique<UniPcSolver>(setup.options, plan, Clip::read(p), settings);
}

}  // namespace latent::samplers
