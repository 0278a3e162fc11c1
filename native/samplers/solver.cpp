#include "samplers/solver.h"

#include <algorithm>
#include <cmath>

namespace latent::samplers {

void Solver::prepare(size_t, Span<float>, NoiseSource &) {}

void Solver::start_from_image(Span<const float> clean, Span<const float> noise, Span<float> out) const {
    add_noise(0, clean, noise, out);
}

void Solver::end_after(int steps) {
    const auto after =
        std::find_if(evaluations_.begin(), evaluations_.end(), [steps](const Evaluation & at) { return at.step >= steps; });
    evaluations_.erase(after, evaluations_.end());
    sigmas_.resize(std::min(sigmas_.size(), static_cast<size_t>(steps) + 1));
}

bool Solver::stays(size_t i) const {
    const auto step = static_cast<size_t>(evaluations_[i].step);
    return sigmas_[step] == sigmas_[step + 1];
}

namespace {

double deviation(Span<const float> values) {
    if (values.size() < 2) return 0;
    double mean = 0;
    for (const float v : values) mean += v;
    mean /= static_cast<double>(values.size());
    double sum = 0;
    for (const float v : values) sum += (v - mean) * (v - mean);
    return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

/// Rescales a row of results towards `before`, the standard deviation of the conditional output.
void rescale_row(Span<float> row, double before, double rescale) {
    const double after = deviation(Span<const float>(row.data(), row.size()));
    if (after <= 0) return;
    const double factor = rescale * before / after + 1 - rescale;
    for (float & value : row) value = static_cast<float>(value * factor);
}

}  // namespace

void apply_guidance(Span<const float> uncond, Span<const float> cond, double scale, double rescale, size_t row, Span<float> out) {
    if (uncond.size() != cond.size() || out.size() != cond.size())
        throw Error(ErrorCode::internal, "Guidance needs three buffers of one size");
    if (row == 0 || cond.size() % row != 0) row = cond.size();
    for (size_t begin = 0; row > 0 && begin < cond.size(); begin += row) {
        const double before = rescale > 0 ? deviation(cond.subspan(begin, row)) : 0;  // `out` may be `cond`
        const Span<float> part = out.subspan(begin, row);
        for (size_t j = 0; j < row; ++j) {
            const double u = uncond[begin + j];
            part[j] = static_cast<float>(u + scale * (cond[begin + j] - u));
        }
        if (rescale > 0) rescale_row(part, before, rescale);
    }
}

void apply_image_guidance(Span<const float> neither, Span<const float> picture, Span<const float> both, double scale,
                          double image_scale, double rescale, Span<float> out) {
    if (neither.size() != both.size() || picture.size() != both.size() || out.size() != both.size())
        throw Error(ErrorCode::internal, "Image guidance needs four buffers of one size");
    const double before = rescale > 0 ? deviation(both) : 0;  // `out` may be `both`
    for (size_t i = 0; i < both.size(); ++i) {
        const double n = neither[i], p = picture[i];
        out[i] = static_cast<float>(n + image_scale * (p - n) + scale * (both[i] - p));
    }
    if (rescale > 0) rescale_row(out, before, rescale);
}

}  // namespace latent::samplers
