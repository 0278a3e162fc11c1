#include "samplers/sigma_solver.h"

#include <algorithm>
#include <cmath>

namespace latent::samplers {

double SigmaPlan::timestep_of(double sigma) const {
    if (continuous) return 0.25 * std::log(sigma);
    if (nearest_denoiser) return table.nearest(sigma);
    if (quantize) return table.nearest_log(sigma);
    return table.timestep_at(sigma);
}

SigmaSolver::SigmaSolver(const SigmaPlan & plan, Prediction prediction)
    : prediction_(prediction), init_(plan.init_noise_sigma), sigma_data_(plan.sigma_data) {
    sigmas_ = plan.sigmas;
}

void SigmaSolver::add_evaluation(const SigmaPlan & plan, double sigma, double timestep, int step, bool ends_step) {
    evaluations_.push_back({timestep, sigma, step, ends_step});
    denoiser_sigmas_.push_back(plan.nearest_denoiser ? plan.table.sigmas[static_cast<size_t>(timestep)] : sigma);
}

void SigmaSolver::add_grid(const SigmaPlan & plan) {
    for (size_t i = 0; i + 1 < plan.sigmas.size(); ++i)
        add_evaluation(plan, plan.sigmas[i], plan.timesteps[i], static_cast<int>(i), true);
}

void SigmaSolver::scale_input(size_t i, Span<const float> x, Span<float> out) const {
    const double sigma = denoiser_sigmas_[i], scale = 1 / std::sqrt(sigma * sigma + sigma_data_ * sigma_data_);
    for (size_t j = 0; j < x.size(); ++j) out[j] = static_cast<float>(x[j] * scale);
}

std::pair<double, double> SigmaSolver::output_weights(size_t i) const {
    const double sigma = denoiser_sigmas_[i];
    if (predicts_eps()) return {1, -sigma};
    if (prediction_ == Prediction::sample) return {0, 1};
    const double data = sigma_data_ * sigma_data_, square = sigma * sigma + data, slope = sigma * sigma_data_ / std::sqrt(square);
    return {data / square, prediction_ == Prediction::edm ? slope : -slope};
}

void SigmaSolver::to_denoised(size_t i, Span<const float> output, Span<const float> x, Span<float> out) const {
    const auto [a, b] = output_weights(i);
    for (size_t j = 0; j < x.size(); ++j) out[j] = static_cast<float>(a * x[j] + b * output[j]);
}

void SigmaSolver::from_denoised(size_t i, Span<const float> denoised, Span<const float> x, Span<float> out) const {
    const auto [a, b] = output_weights(i);
    for (size_t j = 0; j < x.size(); ++j) out[j] = static_cast<float>((denoised[j] - a * x[j]) / b);
}

void SigmaSolver::add_noise(size_t i, Span<const float> clean, Span<const float> noise, Span<float> out) const {
    const double sigma = i < evaluations_.size() ? evaluations_[i].sigma : 0;
    for (size_t j = 0; j < clean.size(); ++j) out[j] = static_cast<float>(clean[j] + sigma * noise[j]);
}

const std::vector<float> & SigmaSolver::denoise(size_t i, Span<const float> model_output, Span<const float> x) {
    denoised_.resize(x.size());
    to_denoised(i, model_output, x, denoised_);
    return denoised_;
}

const std::vector<float> & SigmaSolver::draw(NoiseSource & source, size_t count, double sigma, double sigma_next) {
    noise_.resize(count);
    source.interval(sigma, sigma_next, noise_);
    return noise_;
}

const std::vector<float> & SigmaSolver::draw(NoiseSource & source, size_t count) {
    noise_.resize(count);
    source.normal(noise_);
    return noise_;
}

AncestralStep ancestral_step(double sigma, double sigma_next, double eta) {
    if (eta == 0) return {sigma_next, 0};
    const double share = sigma_next * sigma_next * (sigma * sigma - sigma_next * sigma_next) / (sigma * sigma);
    const double up = std::min(sigma_next, eta * std::sqrt(std::max(share, 0.0)));
    return {std::sqrt(std::max(sigma_next * sigma_next - up * up, 0.0)), up};
}

Churn Churn::read(Parameters & parameters) {
    Churn churn;
    churn.amount = parameters.number("s_churn", 0, 0, 1000);
    churn.low = parameters.number("s_tmin", 0, 0, 1e9);
    churn.high = parameters.number("s_tmax", 1e9, 0, 1e9);
    churn.noise = read_s_noise(parameters);
    return churn;
}

double Churn::raise(double sigma, int steps) const {
    if (amount <= 0 || sigma < low || sigma > high) return sigma;
    return sigma * (1 + std::min(amount / steps, std::sqrt(2.0) - 1));
}

double Churn::added(double sigma, double raised) const {
    return raised > sigma ? noise * std::sqrt(std::max(raised * raised - sigma * sigma, 0.0)) : 0;
}

double eta_or(const SolverOptions & options, double fallback) {
    return options.eta < 0 ? fallback : options.eta;
}

double read_s_noise(Parameters & parameters) {
    return parameters.number("s_noise", 1, 0, 100);
}

}  // namespace latent::samplers
