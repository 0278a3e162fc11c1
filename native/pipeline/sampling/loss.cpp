// The training objective as a measurement: LatentDiffusion.p_losses of ddpm.py, with the l2 loss of the paper's Eq. 1-3.
#include "pipeline/sampling/loss.h"

#include <cmath>

#include "pipeline/messages.h"
#include "samplers/noise_table.h"

namespace latent::pipeline {
namespace {

constexpr size_t kMostTimesteps = 100'000;

struct Level {
    float signal, noise;  // sqrt(abar), sqrt(1 - abar)
};

void check_timesteps(const std::vector<int> & timesteps, int training) {
    if (timesteps.empty() || timesteps.size() > kMostTimesteps) {
        refuse("loss: timesteps must be 1 to " + std::to_string(kMostTimesteps) + " numbers");
    }
    for (const int t : timesteps) {
        if (t >= 0 && t < training) continue;
        refuse("loss: timestep " + std::to_string(t) + " is outside 0.." + std::to_string(training - 1));
    }
}

/// q_sample: x_t of the clean latents.
void noised(const Latents & clean, const std::vector<float> & noise, const Level & level, Latents & out) {
    for (size_t i = 0; i < noise.size(); ++i) out.data[i] = level.signal * clean.data[i] + level.noise * noise[i];
}

/// Mean over all elements of |target - output|^2; the target depends on the prediction type.
double mean_squared_error(Prediction prediction, const Latents & output, const Latents & clean, const std::vector<float> & noise,
                          const Level & level) {
    double sum = 0;
    for (size_t i = 0; i < noise.size(); ++i) {
        const float target = prediction == Prediction::eps      ? noise[i]
                             : prediction == Prediction::sample ? clean.data[i]
                                                                : level.signal * noise[i] - level.noise * clean.data[i];
        const double difference = static_cast<double>(target) - output.data[i];
        sum += difference * difference;
    }
    return sum / static_cast<double>(noise.size());
}

}  // namespace

std::vector<double> denoising_loss(Stages & stages, const MemoryPlanner & planner, const ImageTensor & image,
                                   const LossRequest & request, const JobContext & job) {
    stages.require_all("loss");
    const ModelSpec & spec = stages.spec();
    if (spec.schedule.edm) {
        throw Error(ErrorCode::unsupported_model,
                    "loss: this model was trained on continuous noise levels (EDM), not on timesteps");
    }
    Conditioners & conditioners = *stages.conditioners;
    const auto [n, c, height, width] = image.shape;
    check_timesteps(request.timesteps, spec.schedule.timesteps);
    conditioners.check(request.inputs, n);
    const Frame frame = conditioners.frame(request.inputs, width, height);
    if (frame.padded()) {
        refuse("loss: an image of " + size_text(width, height) + " would need padding; use " +
               size_text(frame.padded_width, frame.padded_height));
    }
    const int64_t factor = spec.downsampling();
    const std::array<int64_t, 4> shape{n, spec.latent_channels(), height / factor, width / factor};
    planner.require_conditioning_fits(width, height);
    const DenoisingPlan plan = stages.denoiser->plan({shape, conditioners.tokens(&request.inputs)});

    // The noise is the seed's first draw, as in createNoise; a posterior sample is the second.
    SeededNoise source(parse_rng_kind(request.rng), request.seed, static_cast<size_t>(n));
    Latents noise{shape, std::vector<float>(elements(shape))};
    source.normal(noise.data);
    const Conditioning conditioning = conditioners.encode(request.inputs, {frame, n, source, job});
    FirstStageRunner & stage = *stages.first_stage;
    const Latents clean = stage.latents_of(stage.encode_raw(image, job), n, &source);

    const Guidance guidance{&conditioning};
    stages.denoiser->check("loss", shape, guidance);
    const auto table = samplers::make_noise_table(spec.schedule, samplers::TableArithmetic::float64, samplers::TerminalSnr::zero);
    Latents x{shape, std::vector<float>(noise.data.size())}, output = x;
    std::vector<double> losses;
    for (const int t : request.timesteps) {
        job.check();
        const double abar = table.abar(t), timestep = t;
        const Level level{static_cast<float>(std::sqrt(abar)), static_cast<float>(std::sqrt(1.0 - abar))};
        noised(clean, noise.data, level, x);
        stages.denoiser->evaluate(x, {&timestep, 1}, guidance, plan, nullptr, output, job);
        losses.push_back(mean_squared_error(spec.prediction, output, clean, noise.data, level));
        job.report(Phase::sample, static_cast<int64_t>(losses.size()), static_cast<int64_t>(request.timesteps.size()));
    }
    stages.residency.refresh_usage();
    return losses;
}

}  // namespace latent::pipeline
