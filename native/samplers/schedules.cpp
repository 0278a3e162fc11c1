#include "samplers/schedules.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "core/error.h"
#include "samplers/parameters.h"

namespace latent::samplers {

namespace {

constexpr double unset = std::numeric_limits<double>::quiet_NaN();

struct Request {
    ScheduleDialect dialect;
    const NoiseTable & table;
    int steps;
    const ScheduleRange & range;
    double low() const { return std::isnan(range.sigma_min) ? table.sigma_min() : range.sigma_min; }
    double high() const { return std::isnan(range.sigma_max) ? table.sigma_max() : range.sigma_max; }
    double rho(double fallback) const { return std::isnan(range.rho) ? fallback : range.rho; }
    bool comfy() const { return dialect == ScheduleDialect::comfy; }
};

using Sigmas = std::vector<double>;

// numpy.linspace; a single value is the start.
Sigmas linspace(double first, double last, int n, bool endpoint = true) {
    Sigmas out(static_cast<size_t>(n));
    const int parts = endpoint ? n - 1 : n;
    for (int i = 0; i < n; ++i) out[static_cast<size_t>(i)] = parts > 0 ? first + (last - first) / parts * i : first;
    if (endpoint && n > 1) out.back() = last;
    return out;
}

Sigmas with_zero(Sigmas sigmas) {
    sigmas.push_back(0);
    return sigmas;
}

Sigmas karras(const Request & r) {
    const double rho = r.rho(7), first = std::pow(r.high(), 1 / rho), last = std::pow(r.low(), 1 / rho);
    Sigmas out = linspace(0, 1, r.steps);
    for (double & s : out) s = std::pow(first + s * (last - first), rho);
    return with_zero(out);
}

Sigmas exponential(const Request & r) {
    Sigmas out = linspace(std::log(r.high()), std::log(r.low()), r.steps);
    for (double & s : out) s = std::exp(s);
    return with_zero(out);
}

Sigmas polyexponential(const Request & r) {
    Sigmas out = linspace(1, 0, r.steps);
    for (double & s : out) s = std::exp(std::pow(s, r.rho(1)) * (std::log(r.high()) - std::log(r.low())) + std::log(r.low()));
    return with_zero(out);
}

// Song et al. 2021, variance preserving SDE with k-diffusion's defaults.
Sigmas vp(const Request & r) {
    Sigmas out = linspace(1, 1e-3, r.steps);
    // The reference computes the exponential in float32, which determines the small levels.
    for (double & s : out) s = std::sqrt(static_cast<float>(std::exp(19.9 * s * s / 2 + 0.1 * s)) - 1.0f);
    return with_zero(out);
}

double last_timestep(const Request & r) {
    return r.table.timesteps() - 1;
}

Sigmas normal(const Request & r) {
    Sigmas out = linspace(last_timestep(r), 0, r.steps);
    for (double & s : out) s = r.table.sigma_at(s);
    return with_zero(out);
}

Sigmas sgm_uniform(const Request & r) {
    Sigmas out = linspace(last_timestep(r), 0, r.steps + 1);
    out.pop_back();
    for (double & s : out) s = r.table.sigma_at(s);
    return with_zero(out);
}

// generative-models LegacyDDPMDiscretization.
Sigmas legacy_ddpm(const Request & r) {
    Sigmas out = linspace(last_timestep(r), 0, r.steps, false);
    for (double & s : out) s = r.table.sigmas[static_cast<size_t>(s)];
    return with_zero(out);
}

// The SDXL-Turbo demo: every hundredth entry of the thousand from the top.
Sigmas turbo(const Request & r) {
    Sigmas out;
    for (int i = 0; i < r.steps && 100 * i < r.table.timesteps(); ++i)
        out.push_back(r.table.sigmas[static_cast<size_t>(r.table.timesteps() - 1 - 100 * i)]);
    return with_zero(out);
}

Sigmas simple(const Request & r) {
    const double stride = static_cast<double>(r.table.timesteps()) / r.steps;
    Sigmas out;
    for (int i = 0; i < r.steps; ++i) out.push_back(r.table.sigmas[r.table.sigmas.size() - 1 - static_cast<size_t>(i * stride)]);
    return with_zero(out);
}

Sigmas ddim_uniform(const Request & r) {
    const int stride = std::max(r.table.timesteps() / r.steps, 1);
    Sigmas out;
    for (int t = 1; t < r.table.timesteps(); t += stride) out.push_back(r.table.sigmas[static_cast<size_t>(t)]);
    std::reverse(out.begin(), out.end());
    return with_zero(out);
}

// The level of an integer timestep. ComfyUI gives networks without training timesteps a thousand levels, even in ln sigma.
double comfy_level(const Request & r, double share) {
    constexpr double last = 999;
    if (!r.range.continuous) return r.table.sigmas[static_cast<size_t>(std::nearbyint(share * last_timestep(r)))];
    const double low = std::log(r.low()), high = std::log(r.high());
    return std::exp(low + (high - low) * std::nearbyint(share * last) / last);
}

// Lee et al. 2024. ComfyUI spreads timesteps by the beta distribution, the web UI and diffusers the sigmas themselves.
Sigmas beta(const Request & r) {
    Sigmas out = linspace(0, 1, r.steps, !r.comfy());
    for (double & s : out) {
        const double q = beta_quantile(1 - s, r.range.beta_alpha, r.range.beta_beta);
        s = r.comfy() ? comfy_level(r, q) : r.low() + q * (r.high() - r.low());
    }
    return with_zero(out);
}

// Sabour et al. 2024, section 4. The web UI ends at sigma_min, ComfyUI appends 0.
Sigmas kl_optimal(const Request & r) {
    Sigmas out = linspace(0, 1, r.comfy() ? r.steps : r.steps + 1);
    for (double & s : out) s = std::tan(s * std::atan(r.low()) + (1 - s) * std::atan(r.high()));
    return r.comfy() ? with_zero(out) : out;
}

// Sabour et al. 2024, published noise levels for ten steps, stretched to others by linear interpolation of ln sigma.
const Sigmas ays_sd1_web = {14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029};
const Sigmas ays_sdxl_web = {14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029};
const Sigmas ays_sd1_comfy = {14.6146412293, 6.4745760956, 3.8636745985, 2.6946151520, 1.8841921177, 1.3943805092,
                              0.9642583904,  0.6523686016, 0.3977456272, 0.1515232662, 0.0291671582};
const Sigmas ays_sdxl_comfy = {14.6146412293, 6.3184485287, 3.7681790315, 2.1811480769, 1.3405244945, 0.8620721141,
                               0.5550693289,  0.3798540708, 0.2332364134, 0.1114188177, 0.0291671582};

Sigmas stretch(const Sigmas & levels, int n) {
    Sigmas out = linspace(0, static_cast<double>(levels.size() - 1), n);
    for (double & s : out) {
        const auto i = std::min(static_cast<size_t>(s), levels.size() - 2);
        const double w = s - static_cast<double>(i);
        s = std::exp((1 - w) * std::log(levels[i]) + w * std::log(levels[i + 1]));
    }
    return out;
}

Sigmas align_your_steps(const Request & r, const Sigmas & web, const Sigmas & comfy) {
    if (!r.comfy()) return with_zero(r.steps == 1 ? Sigmas{web.back()} : stretch(web, r.steps));
    Sigmas out = stretch(comfy, r.steps + 1);
    out.back() = 0;
    return out;
}

Sigmas ays(const Request & r) {
    return align_your_steps(r, ays_sd1_web, ays_sd1_comfy);
}
Sigmas ays_sdxl(const Request & r) {
    return align_your_steps(r, ays_sdxl_web, ays_sdxl_comfy);
}

// ComfyUI's linear-quadratic ramp with threshold 0.025: half the steps linear, the rest quadratic, as a share of sigma_max.
Sigmas linear_quadratic(const Request & r) {
    if (r.steps == 1) return {r.high(), 0};
    const double threshold = 0.025;
    const int linear = r.steps / 2, quadratic = r.steps - linear;
    const double gap = linear - threshold * r.steps;
    const double a = gap / (linear * static_cast<double>(quadratic) * quadratic);
    const double b = threshold / linear - 2 * gap / (static_cast<double>(quadratic) * quadratic), c = a * linear * linear;
    Sigmas out;
    for (int i = 0; i < r.steps; ++i)
        out.push_back(r.high() * (1 - (i < linear ? i * threshold / linear : a * i * i + b * i + c)));
    return with_zero(out);
}

using Formula = Sigmas (*)(const Request &);

const std::map<std::string, Formula> & formulas() {
    static const std::map<std::string, Formula> all = {
        {"normal", normal},
        {"karras", karras},
        {"exponential", exponential},
        {"polyexponential", polyexponential},
        {"vp", vp},
        {"sgm_uniform", sgm_uniform},
        {"simple", simple},
        {"ddim_uniform", ddim_uniform},
        {"beta", beta},
        {"kl_optimal", kl_optimal},
        {"ays", ays},
        {"ays_sdxl", ays_sdxl},
        {"turbo", turbo},
        {"linear_quadratic", linear_quadratic},
        {"legacy_ddpm", legacy_ddpm},
    };
    return all;
}

// Continued fraction of the incomplete beta function (modified Lentz).
double beta_fraction(double x, double a, double b) {
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (std::fabs(d) < tiny ? tiny : d);
    double f = d;
    for (int m = 1; m < 500; ++m) {
        const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double change = 1;
        for (const double term : {even, odd}) {
            d = 1 + term * d;
            d = 1 / (std::fabs(d) < tiny ? tiny : d);
            c = 1 + term / c;
            if (std::fabs(c) < tiny) c = tiny;
            change = c * d;
            f *= change;
        }
        if (std::fabs(change - 1) < 1e-15) break;
    }
    return f;
}

// `log_beta`: logarithm of the beta function of a and b, negative.
double beta_cdf(double x, double a, double b, double log_beta) {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    const double front = std::exp(log_beta + a * std::log(x) + b * std::log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * beta_fraction(x, a, b) / a : 1 - front * beta_fraction(1 - x, b, a) / b;
}

}  // namespace

ScheduleRange::ScheduleRange() : sigma_min(unset), sigma_max(unset), rho(unset) {}

double beta_quantile(double p, double a, double b) {
    if (p <= 0) return 0;
    if (p >= 1) return 1;
    if (a == b && p == 0.5) return 0.5;  // by symmetry; rounded timesteps depend on it being exact
    const double log_beta = std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b);
    double low = 0, high = 1;
    for (int i = 0; i < 200 && low < high; ++i) {
        const double middle = low + (high - low) / 2;
        if (middle == low || middle == high) break;
        (beta_cdf(middle, a, b, log_beta) < p ? low : high) = middle;
    }
    return low + (high - low) / 2;
}

bool is_sigma_schedule(const std::string & name) {
    return formulas().count(name) != 0;
}

std::vector<double> make_sigmas(const std::string & name, ScheduleDialect dialect, const NoiseTable & table, int steps,
                                const ScheduleRange & range) {
    const auto formula = formulas().find(name);
    if (formula == formulas().end()) {
        std::vector<std::string> known;
        for (const auto & entry : formulas()) known.push_back(entry.first);
        throw Error(ErrorCode::invalid_argument, "Unknown schedule \"" + name + "\": known are " + join_names(known));
    }
    return formula->second({dialect, table, steps, range});
}

std::vector<double> make_full_sigmas(const std::string & name, ScheduleDialect dialect, const NoiseTable & table, int steps,
                                     const ScheduleRange & range) {
    std::vector<double> sigmas = make_sigmas(name, dialect, table, steps, range);
    if (sigmas.size() <= static_cast<size_t>(steps))
        throw Error(ErrorCode::invalid_argument, "The schedule \"" + name + "\" has " + std::to_string(sigmas.size() - 1) +
                                                     " steps at most, got " + std::to_string(steps));
    return sigmas;
}

std::vector<double> make_levels(const std::string & name, ScheduleDialect dialect, const NoiseTable & table, int steps,
                                const ScheduleRange & range) {
    // The web UI's list ends with a level where ComfyUI's has 0 after `steps` levels.
    std::vector<double> sigmas =
        make_full_sigmas(name, name == "kl_optimal" ? ScheduleDialect::comfy : dialect, table, steps, range);
    sigmas.pop_back();
    return sigmas;
}

}  // namespace latent::samplers
