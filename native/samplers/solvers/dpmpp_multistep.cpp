#include <cmath>

#include "samplers/sigma_solver.h"
#include "samplers/solvers/factories.h"

namespace latent::samplers {

namespace {

// Base of the multistep solvers of k-diffusion: keeps the last estimates and step sizes in lambda = -ln sigma.
class HistorySolver : public SigmaSolver {
protected:
    HistorySolver(const SigmaPlan & plan, Prediction prediction) : SigmaSolver(plan, prediction) { add_grid(plan); }

    double width(size_t i) const { return std::log(sigmas_[i]) - std::log(sigmas_[i + 1]); }
    void remember(double width) {
        older_ = std::move(old_);
        old_ = denoised_;
        older_width_ = old_width_;
        old_width_ = width;
    }
    void inject(size_t i, Span<float> x, NoiseSource & source, double scale) {
        const auto & noise = draw(source, x.size(), sigmas_[i], sigmas_[i + 1]);
        for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(x[j] + scale * noise[j]);
    }

    std::vector<float> old_, older_;
    double old_width_ = 0, older_width_ = 0;
};

// DPM-Solver++(2M), Lu et al. 2022b, algorithm 2.
class Dpmpp2mSolver : public Cloneable<Dpmpp2mSolver, HistorySolver> {
public:
    Dpmpp2mSolver(const SigmaPlan & plan, Prediction prediction) : Cloneable(plan, prediction) {}

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource &) override {
        const auto & denoised = denoise(i, output, x);
        const double h = width(i), ratio = sigmas_[i + 1] / sigmas_[i];
        const double lead = old_.empty() || sigmas_[i + 1] == 0 ? 0 : h / (2 * old_width_);
        for (size_t j = 0; j < x.size(); ++j) {
            const double estimate = lead == 0 ? denoised[j] : (1 + lead) * denoised[j] - lead * old_[j];
            x[j] = static_cast<float>(ratio * x[j] + (1 - ratio) * estimate);
        }
        remember(h);
    }
};

// DPM-Solver++(2M) SDE: k-diffusion sample_dpmpp_2m_sde.
class Dpmpp2mSdeSolver : public Cloneable<Dpmpp2mSdeSolver, HistorySolver> {
public:
    Dpmpp2mSdeSolver(const SigmaPlan & plan, Prediction prediction, double eta, double s_noise, bool heun)
        : Cloneable(plan, prediction), eta_(eta), s_noise_(s_noise), heun_(heun) {}

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource & source) override {
        if (stays(i)) return;
        const auto & denoised = denoise(i, output, x);
        const double next = sigmas_[i + 1];
        if (next == 0) {
            std::copy(denoised.begin(), denoised.end(), x.begin());
            return;
        }
        const double h = width(i), h_eta = h * (1 + eta_), gain = -std::expm1(-h_eta);
        const double keep = next / sigmas_[i] * std::exp(-eta_ * h);
        double correction = 0;
        if (!old_.empty()) correction = (heun_ ? 1 - gain / h_eta : 0.5 * gain) * (h / old_width_);
        for (size_t j = 0; j < x.size(); ++j) {
            double value = keep * x[j] + gain * denoised[j];
            if (correction != 0) value += correction * (static_cast<double>(denoised[j]) - old_[j]);
            x[j] = static_cast<float>(value);
        }
        if (eta_ > 0) inject(i, x, source, s_noise_ * next * std::sqrt(-std::expm1(-2 * eta_ * h)));
        remember(h);
    }

private:
    double eta_, s_noise_;
    bool heun_;
};

// DPM-Solver++(3M) SDE: k-diffusion sample_dpmpp_3m_sde.
class Dpmpp3mSdeSolver : public Cloneable<Dpmpp3mSdeSolver, HistorySolver> {
public:
    Dpmpp3mSdeSolver(const SigmaPlan & plan, Prediction prediction, double eta, double s_noise)
        : Cloneable(plan, prediction), eta_(eta), s_noise_(s_noise) {}

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource & source) override {
        if (stays(i)) return;
        const auto & denoised = denoise(i, output, x);
        const double next = sigmas_[i + 1];
        if (next == 0) {
            std::copy(denoised.begin(), denoised.end(), x.begin());
            return;
        }
        const double h = width(i), h_eta = h * (1 + eta_), keep = std::exp(-h_eta), gain = -std::expm1(-h_eta);
        const double phi_2 = 1 - gain / h_eta, phi_3 = phi_2 / h_eta - 0.5;
        const double r0 = old_width_ / h, r1 = older_width_ / h;
        for (size_t j = 0; j < x.size(); ++j) {
            const double now = denoised[j];
            double value = keep * x[j] + gain * now;
            if (!older_.empty()) {
                const double near = (now - old_[j]) / r0, far = (static_cast<double>(old_[j]) - older_[j]) / r1;
                const double first = near + (near - far) * r0 / (r0 + r1), second = (near - far) / (r0 + r1);
                value += phi_2 * first - phi_3 * second;
            } else if (!old_.empty()) {
                value += phi_2 * (now - old_[j]) / r0;
            }
            x[j] = static_cast<float>(value);
        }
        if (eta_ > 0) inject(i, x, source, s_noise_ * next * std::sqrt(-std::expm1(-2 * eta_ * h)));
        remember(h);
    }

private:
    double eta_, s_noise_;
};

}  // namespace

// In the diffusers dialect these names are settings of its DPM-Solver multistep scheduler, except for EDM networks, whose
// scheduler works in sigma space.
std::unique_ptr<Solver> make_dpmpp_2m(Setup & setup) {
    if (setup.is("diffusers") && !setup.options.continuous()) return make_dpm_solver(setup);
    const SigmaPlan plan = plan_sigmas(setup);
    return std::make_unique<Dpmpp2mSolver>(plan, setup.options.prediction);
}

std::unique_ptr<Solver> make_dpmpp_2m_sde(Setup & setup) {
    if (setup.is("diffusers") && !setup.options.continuous()) return make_dpm_solver(setup);
    const SigmaPlan plan = plan_sigmas(setup);
    const bool heun = setup.parameters.choice("solver_type", "midpoint", {"midpoint", "heun"}) == "heun";
    return std::make_unique<Dpmpp2mSdeSolver>(plan, setup.options.prediction, eta_or(setup.options, 1),
                                              read_s_noise(setup.parameters), heun);
}

std::unique_ptr<Solver> make_dpmpp_3m_sde(Setup & setup) {
    const SigmaPlan plan = plan_sigmas(setup);
    return std::make_unique<Dpmpp3mSdeSolver>(plan, setup.options.prediction, eta_or(setup.options, 1),
                                              read_s_noise(setup.parameters));
}

}  // namespace latent::samplers
