#include <algorithm>
#include <cmath>

#include "samplers/sigma_solver.h"
#include "samplers/solvers/factories.h"

namespace latent::samplers {

namespace {

// Chooses the size of the next step from the error of this one: a PID controller on ln(error), as in k-diffusion.
class StepControl {
public:
    StepControl(double width, double p, double i, double d, double order, double safety)
        : width_(width), b1_((p + i + d) / order), b2_(-(p + 2 * d) / order), b3_(d / order), safety_(safety) {}

    double width() const { return width_; }

    /// True if the step is accepted. A NaN error is accepted too, because no step size can help.
    bool propose(double error) {
        if (!std::isfinite(error)) return true;
        const double inverse = 1 / (error + 1e-8);
        if (errors_.empty()) errors_.assign(3, inverse);
        errors_[0] = inverse;
        const double factor =
            1 + std::atan(std::pow(errors_[0], b1_) * std::pow(errors_[1], b2_) * std::pow(errors_[2], b3_) - 1);
        const bool keep = factor >= safety_;
        if (keep) {
            errors_[2] = errors_[1];
            errors_[1] = errors_[0];
        }
        width_ *= factor;
        return keep;
    }

private:
    double width_, b1_, b2_, b3_, safety_;
    std::vector<double> errors_;  // inverse, newest first
};

// DPM-Solver-12 and -23, Lu et al. 2022a, appendix C: singlestep solvers of two orders on the same evaluations, whose difference
// determines the step size in lambda = -ln sigma (k-diffusion sample_dpm_adaptive). A rejected step is repeated with a smaller
// size; evaluations() grows by one step at a time.
class DpmAdaptiveSolver : public Cloneable<DpmAdaptiveSolver, SigmaSolver> {
public:
    struct Settings {
        int order = 3;
        double rtol = 0.05, atol = 0.0078, eta = 0, s_noise = 1;
    };

    DpmAdaptiveSolver(const SigmaPlan & plan, Prediction prediction, const Settings & settings, const StepControl & control)
        : Cloneable(plan, prediction), plan_(plan), settings_(settings), control_(control) {
        at_ = -std::log(plan.sigmas.front());
        end_ = -std::log(plan.sigma_low);
        if (at_ >= end_ - slack)
            throw Error(ErrorCode::invalid_argument, "dpm_adaptive has nothing to do: the run starts at or below \"sigma_min\"");
        sigmas_.clear();
        begin_step();
        sigmas_.push_back(std::exp(-end_));
    }

    bool adaptive() const override { return true; }

    void advance(size_t i, Span<const float> output, Span<float> x, NoiseSource & source) override {
        const auto & denoised = denoise(i, output, x);
        std::vector<float> & eps = stage_ == 0 ? first_ : stage_ == 1 ? second_ : third_;
        eps.resize(x.size());
        for (size_t j = 0; j < x.size(); ++j)
            eps[j] = static_cast<float>((static_cast<double>(x[j]) - denoised[j]) / evaluations_[i].sigma);
        if (stage_ == 0) {
            base_.assign(x.begin(), x.end());
            if (previous_.empty()) previous_ = base_;
        }
        if (++stage_ == settings_.order) return finish(x, source);
        const double r = stage_share(stage_), part = r * h_, sigma = std::exp(-(at_ + part));
        const double bend = stage_ == 2 ? r / stage_share(1) * (std::expm1(part) / part - 1) : 0;
        const double grow = std::expm1(part);
        for (size_t j = 0; j < x.size(); ++j) {
            double value = base_[j] - sigma * grow * first_[j];
            if (bend != 0) value -= sigma * bend * (static_cast<double>(second_[j]) - first_[j]);
            x[j] = static_cast<float>(value);
        }
    }

private:
    static constexpr double slack = 1e-5;

    double stage_share(int stage) const { return stage / static_cast<double>(settings_.order); }

    // Plans the next step: its target and its evaluations.
    void begin_step() {
        if (evaluations_.size() > 30000)
            throw Error(ErrorCode::invalid_argument, "dpm_adaptive does not finish: raise \"rtol\" or \"atol\"");
        target_ = std::min(end_, at_ + control_.width());
        down_ = target_;
        up_ = 0;
        if (settings_.eta > 0) {
            const double sigma = std::exp(-target_);
            const AncestralStep split = ancestral_step(std::exp(-at_), sigma, settings_.eta);
            down_ = split.down > 0 ? std::min(end_, -std::log(split.down)) : end_;
            up_ = std::sqrt(std::max(sigma * sigma - std::exp(-2 * down_), 0.0));
        }
        h_ = down_ - at_;
        stage_ = 0;
        const int step = evaluations_.empty() ? 0 : evaluations_.back().step + 1;
        sigmas_.push_back(std::exp(-at_));
        for (int stage = 0; stage < settings_.order; ++stage) {
            const double sigma = std::exp(-(at_ + stage_share(stage) * h_));
            add_evaluation(plan_, sigma, plan_.timestep_of(sigma), step, stage + 1 == settings_.order);
        }
    }

    void finish(Span<float> x, NoiseSource & source) {
        const double sigma = std::exp(-down_), grow = std::expm1(h_), linear = grow / h_ - 1;
        std::vector<float> low(x.size());
        double sum = 0;
        for (size_t j = 0; j < x.size(); ++j) {
            const double euler = base_[j] - sigma * grow * first_[j], bend = static_cast<double>(second_[j]) - first_[j];
            if (settings_.order == 2) {
                low[j] = static_cast<float>(euler);
                x[j] = static_cast<float>(euler - sigma * grow * bend);  // the middle's weight, 1 / (2 r) at r = 1/2
            } else {
                low[j] = static_cast<float>(euler - sigma * 1.5 * grow * bend);
                x[j] = static_cast<float>(euler - sigma * 1.5 * linear * (static_cast<double>(third_[j]) - first_[j]));
            }
            const double largest = std::max(std::fabs(static_cast<double>(low[j])), std::fabs(static_cast<double>(previous_[j])));
            const double error = (static_cast<double>(low[j]) - x[j]) / std::max(settings_.atol, settings_.rtol * largest);
            sum += error * error;
        }
        sigmas_.pop_back();  // the final level, which is appended again
        if (control_.propose(std::sqrt(sum / static_cast<double>(x.size())))) {
            const auto & noise = draw(source, x.size(), std::exp(-at_), std::exp(-target_));
            for (size_t j = 0; j < x.size(); ++j) x[j] = static_cast<float>(x[j] + up_ * settings_.s_noise * noise[j]);
            previous_ = std::move(low);
            at_ = target_;
        } else {
            std::copy(base_.begin(), base_.end(), x.begin());
        }
        if (at_ < end_ - slack) begin_step();
        sigmas_.push_back(std::exp(-end_));
    }

    SigmaPlan plan_;
    Settings settings_;
    StepControl control_;
    double at_ = 0, end_ = 0;                        // lambda
    double target_ = 0, down_ = 0, up_ = 0, h_ = 0;  // of the current step
    int stage_ = 0;
    std::vector<float> base_, previous_, first_, second_, third_;
};

}  // namespace

std::unique_ptr<Solver> make_dpm_adaptive(Setup & setup) {
    Parameters & p = setup.parameters;
    const SigmaPlan plan = plan_sigmas(setup);
    DpmAdaptiveSolver::Settings settings;
    settings.order = p.integer("order", 3, 2, 3);
    settings.rtol = p.number("rtol", 0.05, 1e-6, 10);
    settings.atol = p.number("atol", 0.0078, 1e-6, 10);
    settings.eta = eta_or(setup.options, 0);
    settings.s_noise = read_s_noise(p);
    const double width = p.number("h_init", 0.05, 1e-4, 10), safety = p.number("accept_safety", 0.81, 0.01, 1);
    const double proportional = p.number("pcoeff", 0, -10, 10), integral = p.number("icoeff", 1, -10, 10),
                 differential = p.number("dcoeff", 0, -10, 10);
    const double order = settings.eta > 0 ? 1.5 : settings.order;
    return std::make_unique<DpmAdaptiveSolver>(plan, setup.options.prediction, settings,
                                               StepControl(width, proportional, integral, differential, order, safety));
}

}  // namespace latent::samplers
