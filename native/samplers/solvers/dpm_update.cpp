#include "samplers/solvers/dpm_update.h"

#include <cmath>

namespace latent::samplers {

// With g = 2h for the SDE forms and h otherwise, the data forms integrate e^-g and the noise forms e^h.
DpmUpdate::Weights DpmUpdate::weights(Level from, Level to, double h) const {
    Weights w{};
    if (plus_plus_) {
        const double g = sde_ ? 2 * h : h, gain = -std::expm1(-g);  // 1 - e^-g
        w.x = to.sigma / from.sigma * (sde_ ? std::exp(-h) : 1);
        w.d0 = to.alpha * gain;
        w.midpoint = 0.5 * w.d0;
        if (std::isfinite(h)) {  // to sigma 0 only the leading term is used
            w.first = to.alpha * (1 - gain / g);
            w.second = to.alpha * ((gain - g) / (g * g) + 0.5);
        }
        w.noise = to.sigma * (sde_ ? std::sqrt(-std::expm1(-2 * h)) : 0);
        return w;
    }
    const double grow = std::expm1(h), twice = sde_ ? 2 : 1;
    w.x = to.alpha / from.alpha;
    w.d0 = -twice * to.sigma * grow;
    w.midpoint = 0.5 * w.d0;
    w.first = -twice * to.sigma * (grow / h - 1);
    w.second = -twice * to.sigma * ((grow - h) / (h * h) - 0.5);
    w.noise = to.sigma * (sde_ ? std::sqrt(std::expm1(2 * h)) : 0);
    return w;
}

void DpmUpdate::multistep(Span<float> x, Level from, Level to, const std::vector<DpmPoint> & p,
                          const std::vector<float> * noise) const {
    const double h = to.lambda() - from.lambda();
    const Weights w = weights(from, to, h);
    const double r0 = p.size() > 1 ? (p[0].lambda - p[1].lambda) / h : 1, r1 = p.size() > 2 ? (p[1].lambda - p[2].lambda) / h : 1;
    const double d1 = heun_ || p.size() > 2 ? w.first : w.midpoint;
    for (size_t j = 0; j < x.size(); ++j) {
        const double now = (*p[0].value)[j];
        double value = w.x * x[j] + w.d0 * now;
        if (p.size() > 1) {
            const double near = (now - (*p[1].value)[j]) / r0;
            if (p.size() == 2) {
                value += d1 * near;
            } else {
                const double far = (static_cast<double>((*p[1].value)[j]) - (*p[2].value)[j]) / r1;
                value += d1 * (near + r0 / (r0 + r1) * (near - far)) + w.second * (near - far) / (r0 + r1);
            }
        }
        if (noise) value += w.noise * (*noise)[j];
        x[j] = static_cast<float>(value);
    }
}

void DpmUpdate::singlestep(Span<float> x, Level from, Level to, const std::vector<DpmPoint> & p,
                           const std::vector<float> * noise) const {
    const double h = to.lambda() - from.lambda();
    const Weights w = weights(from, to, h);
    const DpmPoint & start = p.back();
    const double r0 = (p[0].lambda - start.lambda) / h, r1 = p.size() > 2 ? (p[1].lambda - start.lambda) / h : 0;
    for (size_t j = 0; j < x.size(); ++j) {
        const double base = (*start.value)[j];
        double value = w.x * x[j] + w.d0 * base;
        if (p.size() > 1) {
            const double far = ((*p[0].value)[j] - base) / r0;
            if (p.size() == 2) {
                value += (heun_ ? w.first : w.midpoint) * far;
            } else if (heun_) {
                const double near = ((*p[1].value)[j] - base) / r1;
                value += w.first * (r0 * near - r1 * far) / (r0 - r1) + w.second * 2 * (far - near) / (r0 - r1);
            } else {
                value += w.first * far;
            }
        }
        if (noise) value += w.noise * (*noise)[j];
        x[j] = static_cast<float>(value);
    }
}

}  // namespace latent::samplers
