#include "pipeline/sampling/sampling_run.h"

#include <algorithm>

namespace latent::pipeline {
namespace {

Latents same_shape(const Latents & other) {
    return {other.shape, std::vector<float>(other.data.size())};
}

}  // namespace

samplers::SolverOptions solver_options(const SamplingRequest & request, const ModelSpec & spec, bool image_to_image) {
    samplers::SolverOptions options;
    const bool own = request.sampler.empty() || request.sampler == spec.sampler;
    options.sampler = request.sampler.empty() ? spec.sampler : request.sampler;
    options.schedule = request.schedule;
    options.timesteps = request.timesteps;
    options.sigmas = request.sigmas;
    const bool named = !request.schedule.empty() || !request.sigmas.empty() || !request.timesteps.empty();
    if (request.sampler.empty() && !named) {
        const bool fits = request.steps <= 0 || request.steps == static_cast<int>(spec.sampling_timesteps.size());
        options.schedule = spec.sampling_schedule;
        if (fits) options.timesteps = spec.sampling_timesteps;
    }
    options.dialect = request.dialect;
    options.denoising_start = request.denoising_start;
    options.denoising_end = request.denoising_end;
    options.steps = request.steps > 0 ? request.steps : spec.steps;
    options.eta = request.eta >= 0 ? request.eta : own ? spec.eta : -1.0;
    options.prediction = spec.prediction;
    options.noise_schedule = spec.schedule;
    options.image_to_image = image_to_image;
    options.strength = request.strength;
    options.extra = request.extra;
    return options;
}

SamplingRun::SamplingRun(std::unique_ptr<samplers::Solver> solver, Predict predict, SeededNoise noise, const Latents & start,
                         const Latents * image, const Latents * hole, bool under_way)
    : solver_(std::move(solver)),
      predict_(std::move(predict)),
      noise_(std::move(noise)),
      x_(start),
      input_(same_shape(start)),
      output_(same_shape(start)),
      denoised_(same_shape(start)) {
    if (image == nullptr && !under_way) {
        const float scale = static_cast<float>(solver_->init_noise_sigma());
        for (float & value : x_.data) value *= scale;
    } else if (image != nullptr) {
        Latents clean = same_shape(start);
        const size_t row = start.data.size() / static_cast<size_t>(start.shape[0]);
        const bool rows_fit = image->shape[0] == start.shape[0] || image->shape[0] == 1;
        if (!rows_fit || !std::equal(image->shape.begin() + 1, image->shape.end(), start.shape.begin() + 1)) {
            throw Error(ErrorCode::invalid_argument, "sample: the shapes of the image latents and the noise differ");
        }
        for (size_t at = 0; at < clean.data.size(); at += row) {
            std::copy_n(image->data.data() + (image->data.size() == row ? 0 : at), row, clean.data.data() + at);
        }
        solver_->start_from_image(clean.data, start.data, x_.data);
        denoised_ = clean;
        if (hole != nullptr) {
            clean_ = std::move(clean);
            hole_ = *hole;
        }
    }
}

/// Changes the network's output so that it predicts the image's latents outside the hole.
void SamplingRun::keep_image() {
    const auto [n, c, h, w] = x_.shape;
    const size_t plane = static_cast<size_t>(h * w), channels = static_cast<size_t>(c);
    solver_->to_denoised(evaluation_, output_.data, x_.data, denoised_.data);
    for (size_t row = 0; row < static_cast<size_t>(n); ++row) {
        const float * hole = hole_.data.data() + (hole_.shape[0] == 1 ? 0 : row) * plane;
        for (size_t i = 0; i < channels * plane; ++i) {
            const size_t at = row * channels * plane + i;
            if (hole[i % plane] == 0.0f) denoised_.data[at] = clean_.data[at];
        }
    }
    solver_->from_denoised(evaluation_, denoised_.data, x_.data, output_.data);
}

double SamplingRun::sigma() const {
    const auto & evaluations = solver_->evaluations();
    if (evaluation_ < evaluations.size()) return evaluations[evaluation_].sigma;
    return solver_->sigmas().empty() ? 0.0 : solver_->sigmas().back();
}

void SamplingRun::step(const JobContext & job) {
    do {
        const EvaluationPlace place = begin_evaluation(job);
        predict_(input_, place, output_, job);
    } while (!end_evaluation());
}

EvaluationPlace SamplingRun::begin_evaluation(const JobContext & job) {
    if (pending_)
        throw Error(ErrorCode::invalid_argument, "sample: this run was aborted or failed and cannot continue; start a new one");
    if (done()) throw Error(ErrorCode::invalid_argument, "sample: all steps are done");
    pending_ = true;
    opens_step_ = !mid_step_;
    const samplers::Evaluation evaluation =
        solver_->evaluations()[evaluation_];  // a copy: an adaptive solver may reallocate the list
    ends_step_ = evaluation.ends_step;
    if (opens_step_) timestep_ = evaluation.timestep;
    job.check();
    solver_->prepare(evaluation_, x_.data, noise_);
    solver_->scale_input(evaluation_, x_.data, input_.data);
    const double progress = static_cast<double>(evaluation.step) / static_cast<double>(steps());
    return {evaluation.timestep, evaluation_, progress, timestep_};
}

bool SamplingRun::end_evaluation() {
    if (!hole_.data.empty()) keep_image();
    if (opens_step_) solver_->to_denoised(evaluation_, output_.data, x_.data, denoised_.data);
    solver_->advance(evaluation_, output_.data, x_.data, noise_);
    ++evaluation_;
    mid_step_ = !ends_step_ && !done();
    pending_ = false;
    if (!mid_step_) ++finished_;
    return !mid_step_;
}

}  // namespace latent::pipeline
