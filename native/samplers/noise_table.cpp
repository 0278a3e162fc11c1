#include "samplers/noise_table.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"

namespace latent::samplers {

namespace {

const double abar_of_sigma_4096 = std::ldexp(1.0, -24);

// torch.linspace in float32, which computes the second half from the end.
std::vector<double> linspace32(double first, double last, int n) {
    const float start = static_cast<float>(first), end = static_cast<float>(last);
    const float step = (end - start) / static_cast<float>(n - 1);
    std::vector<double> out(n);
    for (int i = 0; i < n; ++i)
        out[i] = i < n / 2 ? start + step * static_cast<float>(i) : end - step * static_cast<float>(n - 1 - i);
    return out;
}

std::vector<double> linspace64(double first, double last, int n) {
    std::vector<double> out(n);
    for (int i = 0; i < n; ++i) out[i] = first + (last - first) / (n - 1) * i;
    return out;
}

std::vector<double> named_betas(const NoiseSchedule & schedule, bool single) {
    const int n = schedule.timesteps;
    const auto linspace = [&](double a, double b) { return single ? linspace32(a, b, n) : linspace64(a, b, n); };
    if (schedule.beta_schedule == "linear") return linspace(schedule.beta_start, schedule.beta_end);
    if (schedule.beta_schedule == "scaled_linear") {
        std::vector<double> betas = linspace(std::sqrt(schedule.beta_start), std::sqrt(schedule.beta_end));
        for (double & beta : betas) beta = single ? static_cast<float>(beta) * static_cast<float>(beta) : beta * beta;
        return betas;
    }
    if (schedule.beta_schedule == "squaredcos_cap_v2") {  // Nichol & Dhariwal 2021
        const auto abar = [](double t) {
            const double c = std::cos((t + 0.008) / 1.008 * 3.14159265358979323846 / 2);
            return c * c;
        };
        std::vector<double> betas(n);
        for (int i = 0; i < n; ++i)
            betas[i] = std::min(1 - abar(static_cast<double>(i + 1) / n) / abar(static_cast<double>(i) / n), 0.999);
        return betas;
    }
    throw Error(ErrorCode::invalid_argument, "Unknown beta schedule \"" + schedule.beta_schedule +
                                                 "\": known are scaled_linear, linear and squaredcos_cap_v2");
}

std::vector<double> checked_betas(const NoiseSchedule & schedule, bool single) {
    if (!schedule.betas.empty()) {
        if (schedule.betas.size() < 2 || schedule.betas.size() > 100000)
            throw Error(ErrorCode::invalid_argument,
                        "The noise schedule needs 2 to 100000 betas, but has " + std::to_string(schedule.betas.size()));
    } else if (schedule.timesteps < 2 || schedule.timesteps > 100000 || !(schedule.beta_start > 0) || !(schedule.beta_end > 0)) {
        throw Error(ErrorCode::invalid_argument, "The noise schedule needs 2 to 100000 timesteps and betas above 0");
    }
    const std::vector<double> betas = schedule.betas.empty() ? named_betas(schedule, single) : schedule.betas;
    for (size_t i = 0; i < betas.size(); ++i) {
        // Schedules with zero terminal SNR are stored with a last beta of 1.
        const bool ends_at_zero = betas[i] == 1 && i + 1 == betas.size();
        if (!(betas[i] > 0) || !(betas[i] < 1 || ends_at_zero))
            throw Error(ErrorCode::invalid_argument, "Beta " + std::to_string(i) + " of the noise schedule is " +
                                                         std::to_string(betas[i]) + "; betas must be above 0 and below 1");
    }
    return betas;
}

// All formulas assume positive, increasing levels, finite except for a last one at zero SNR. The finite substitute for that one
// may lie below its neighbour.
void check_levels(const NoiseTable & table) {
    for (size_t t = 0; t < table.sigmas.size(); ++t) {
        const double sigma = table.sigmas[t];
        const bool falls = t > 0 && t + 1 < table.sigmas.size() && sigma < table.sigmas[t - 1];
        if (!(sigma > 0) || falls)
            throw Error(ErrorCode::invalid_argument,
                        "The betas of the noise schedule are too small: the noise level at timestep " + std::to_string(t) +
                            " is not distinguishable from the previous one");
        if (std::isinf(sigma) && t + 1 < table.sigmas.size())
            throw Error(ErrorCode::invalid_argument,
                        "The betas of the noise schedule are too large: no signal is "
                        "left at timestep " +
                            std::to_string(t) + ", before the last one");
    }
}

// Lin et al. 2023, algorithm 1: shift sqrt(abar) so that the last is 0, then scale so that the first is unchanged.
void rescale_to_zero_snr(std::vector<double> & abar) {
    const double first = std::sqrt(abar.front()), last = std::sqrt(abar.back());
    for (double & value : abar) {
        const double root = (std::sqrt(value) - last) * (first / (first - last));
        value = root * root;
    }
    abar.back() = 0;
}

}  // namespace

NoiseTable make_noise_table(const NoiseSchedule & schedule, TableArithmetic arithmetic, TerminalSnr terminal) {
    const bool single = arithmetic == TableArithmetic::float32;
    NoiseTable table;
    table.betas = checked_betas(schedule, single);
    double product = 1;
    for (double & beta : table.betas) {
        if (single) beta = static_cast<float>(beta);
        product *= single ? static_cast<double>(1.0f - static_cast<float>(beta)) : 1 - beta;
        table.alphas_cumprod.push_back(product);
    }
    if (schedule.zero_terminal_snr) {
        rescale_to_zero_snr(table.alphas_cumprod);
        for (size_t i = 1; i < table.betas.size(); ++i)
            table.betas[i] = 1 - table.alphas_cumprod[i] / table.alphas_cumprod[i - 1];
    }
    if (static_cast<float>(table.alphas_cumprod.back()) == 0) {
        if (terminal == TerminalSnr::sigma_4096) table.alphas_cumprod.back() = abar_of_sigma_4096;
        if (terminal == TerminalSnr::sigma_4518) table.alphas_cumprod.back() = 4.8973451890853435e-08;
    }
    for (double & abar : table.alphas_cumprod) {
        abar = static_cast<float>(abar);
        // In long schedules the last products may round to 1e-9 or less; they are usable as long as they are positive.
        const auto narrow = static_cast<float>(abar);
        table.sigmas.push_back(std::sqrt((1.0f - narrow) / narrow));
        table.log_sigmas.push_back(static_cast<float>(std::log(table.sigmas.back())));
    }
    check_levels(table);
    return table;
}

NoiseTable NoiseTable::with_finite_end() const {
    NoiseTable table = *this;
    if (!std::isinf(sigma_max())) return table;
    table.alphas_cumprod.back() = abar_of_sigma_4096;
    table.sigmas.back() = zero_snr_sigma;
    table.log_sigmas.back() = static_cast<float>(std::log(zero_snr_sigma));
    return table;
}

double NoiseTable::sigma_at(double timestep) const {
    const double t = std::clamp(timestep, 0.0, static_cast<double>(timesteps() - 1));
    const auto low = std::min(static_cast<size_t>(t), sigmas.size() - 2);
    const double w = t - static_cast<double>(low);
    if (w == 0) return sigmas[low];
    if (w == 1) return sigmas[low + 1];
    return std::exp((1 - w) * std::log(sigmas[low]) + w * std::log(sigmas[low + 1]));
}

double NoiseTable::sigma_linear(double timestep) const {
    const double t = std::clamp(timestep, 0.0, static_cast<double>(timesteps() - 1));
    const auto low = std::min(static_cast<size_t>(t), sigmas.size() - 2);
    const double w = t - static_cast<double>(low);
    if (w == 0) return sigmas[low];
    if (w == 1) return sigmas[low + 1];
    return sigmas[low] + w * (sigmas[low + 1] - sigmas[low]);
}

double NoiseTable::timestep_at(double sigma) const {
    const double target = std::log(std::max(sigma, 1e-10));
    const auto above = std::upper_bound(log_sigmas.begin(), log_sigmas.end(), target);
    size_t low = above == log_sigmas.begin() ? 0 : static_cast<size_t>(above - log_sigmas.begin()) - 1;
    low = std::min(low, log_sigmas.size() - 2);
    const double a = log_sigmas[low], b = log_sigmas[low + 1];
    const double w = std::isfinite(b) && b > a ? std::clamp((a - target) / (a - b), 0.0, 1.0) : 0.0;
    return (1 - w) * static_cast<double>(low) + w * static_cast<double>(low + 1);
}

namespace {

int nearest_in(const std::vector<double> & ascending, double value) {
    const auto above = std::lower_bound(ascending.begin(), ascending.end(), value);
    const auto high =
        static_cast<int>(std::min<ptrdiff_t>(above - ascending.begin(), static_cast<ptrdiff_t>(ascending.size()) - 1));
    const int low = std::max(high - 1, 0);
    return std::fabs(ascending[static_cast<size_t>(high)] - value) < std::fabs(ascending[static_cast<size_t>(low)] - value) ? high
                                                                                                                            : low;
}

}  // namespace

int NoiseTable::nearest_log(double sigma) const {
    return nearest_in(log_sigmas, std::log(std::max(sigma, 1e-10)));
}

int NoiseTable::nearest(double sigma) const {
    return nearest_in(sigmas, sigma);
}

double NoiseTable::abar(int timestep) const {
    if (timestep < 0 || timestep >= timesteps())
        throw Error(ErrorCode::invalid_argument, "Timestep " + std::to_string(timestep) + " lies outside the schedule of " +
                                                     std::to_string(timesteps()) + " timesteps");
    return alphas_cumprod[static_cast<size_t>(timestep)];
}

}  // namespace latent::samplers
