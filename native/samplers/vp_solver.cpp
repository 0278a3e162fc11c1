#include "samplers/vp_solver.h"

#include <algorithm>
#include <cmath>

namespace latent::samplers {

Level Level::from_abar(double abar) {
    return {std::sqrt(abar), std::sqrt(1 - abar)};
}

Level Level::from_sigma(double sigma) {
    const double alpha = 1 / std::sqrt(sigma * sigma + 1);
    return {alpha, sigma * alpha};
}

double Level::lambda() const {
    return std::log(alpha) - std::log(sigma);
}

Clip Clip::read(Parameters & parameters, bool clamp_by_default) {
    Clip clip;
    clip.clamp = parameters.flag("clip_sample", clamp_by_default);
    clip.range = parameters.number("clip_sample_range", 1, 1e-6, 1e6);
    clip.threshold = parameters.flag("thresholding", false);
    clip.quantile = parameters.number("dynamic_thresholding_ratio", 0.995, 0, 1);
    clip.maximum = parameters.number("sample_max_value", 1, 1, 1e6);
    return clip;
}

void Clip::apply(Span<float> x0, size_t row) const {
    if (threshold) {
        if (row == 0 || x0.size() % row != 0) row = x0.size();
        for (size_t begin = 0; begin + row <= x0.size() && row > 0; begin += row) {
            const Span<float> part = x0.subspan(begin, row);
            std::vector<float> magnitudes(row);
            for (size_t j = 0; j < row; ++j) magnitudes[j] = std::fabs(part[j]);
            // A NaN from the network sorts last, which keeps the order strict.
            std::sort(magnitudes.begin(), magnitudes.end(),
                      [](float a, float b) { return a < b || (std::isnan(b) && !std::isnan(a)); });
            const double position = quantile * static_cast<double>(row - 1);
            const auto low = static_cast<size_t>(position);
            const double high = magnitudes[std::min(low + 1, row - 1)];
            const double s =
                std::clamp(magnitudes[low] + (position - static_cast<double>(low)) * (high - magnitudes[low]), 1.0, maximum);
            for (float & value : part) value = static_cast<float>(std::clamp<double>(value, -s, s) / s);
        }
    } else if (clamp) {
        for (float & value : x0) value = static_cast<float>(std::clamp<double>(value, -range, range));
    }
}

void refuse_zero_snr(const std::string & sampler) {
    throw Error(ErrorCode::invalid_argument,
                "Sampler \"" + sampler +
                    "\" cannot start at zero signal-to-noise ratio with this prediction: the schedule needs v or sample "
                    "prediction, or a spacing that leaves the last timestep out");
}

void VpSolver::add_evaluation(double timestep, Level level, int step, bool ends_step) {
    if (level.alpha <= 0 && prediction_ == Prediction::eps) refuse_zero_snr(sampler_);
    evaluations_.push_back({timestep, level.ratio(), step, ends_step});
    levels_.push_back(level);
}

void VpSolver::set_sigmas(Level final_level) {
    sigmas_.clear();
    for (size_t i = 0; i < evaluations_.size(); ++i)
        if (i == 0 || evaluations_[i].step != evaluations_[i - 1].step) sigmas_.push_back(evaluations_[i].sigma);
    sigmas_.push_back(final_level.ratio());
}

void VpSolver::scale_input(size_t, Span<const float> x, Span<float> out) const {
    std::copy(x.begin(), x.end(), out.begin());
}

void VpSolver::to_denoised(size_t i, Span<const float> output, Span<const float> x, Span<float> out) const {
    const Level level = levels_[i];
    double a = 1 / level.alpha, b = -level.sigma / level.alpha;
    if (prediction_ == Prediction::v) a = level.alpha, b = -level.sigma;
    if (prediction_ == Prediction::sample) a = 0, b = 1;
    for (size_t j = 0; j < x.size(); ++j) out[j] = static_cast<float>(a * x[j] + b * output[j]);
    if (clip_.active()) clip_.apply(out, row_);
}

void VpSolver::from_denoised(size_t i, Span<const float> denoised, Span<const float> x, Span<float> out) const {
    const Level level = levels_[i];
    double a = 1 / level.sigma, b = -level.alpha / level.sigma;  // eps = (x - alpha x0) / sigma
    if (prediction_ == Prediction::v) a = level.alpha / level.sigma, b = -1 / level.sigma;
    if (prediction_ == Prediction::sample) a = 0, b = 1;
    for (size_t j = 0; j < x.size(); ++j) out[j] = static_cast<float>(a * x[j] + b * denoised[j]);
}

void VpSolver::add_noise(size_t i, Span<const float> clean, Span<const float> noise, Span<float> out) const {
    const Level level = i < levels_.size() ? levels_[i] : Level();
    for (size_t j = 0; j < clean.size(); ++j) out[j] = static_cast<float>(level.alpha * clean[j] + level.sigma * noise[j]);
}

void VpSolver::estimate(size_t i, Span<const float> output, Span<const float> x, bool from_clipped) {
    const Level level = levels_[i];
    x0_.resize(x.size());
    eps_.resize(x.size());
    to_denoised(i, output, x, x0_);
    for (size_t j = 0; j < x.size(); ++j) {
        double eps = output[j];
        if (from_clipped)
            eps = (x[j] - level.alpha * x0_[j]) / level.sigma;
        else if (prediction_ == Prediction::v)
            eps = level.alpha * output[j] + level.sigma * x[j];
        else if (prediction_ == Prediction::sample)
            eps = (x[j] - level.alpha * output[j]) / level.sigma;
        eps_[j] = static_cast<float>(eps);
    }
}

const std::vector<float> & VpSolver::draw(NoiseSource & source, size_t count) {
    noise_.resize(count);
    source.normal(noise_);
    return noise_;
}

}  // namespace latent::samplers
