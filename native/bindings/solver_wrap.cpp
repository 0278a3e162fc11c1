#include "bindings/solver_wrap.h"

#include <algorithm>
#include <cmath>

#include "bindings/arguments.h"
#include "bindings/pipeline_state.h"
#include "bindings/values.h"

namespace latent::bindings {
namespace {

constexpr napi_type_tag solver_tag{0x5a1c0f6d2b7e4e11, 0x9d41c2a97a3f0b04};

/// Noise given by the caller instead of a generator.
class GivenNoise : public NoiseSource {
public:
    explicit GivenNoise(Span<const float> values) : values_(values) {}
    void normal(Span<float> out) override { std::copy_n(values_.begin(), std::min(values_.size(), out.size()), out.begin()); }

private:
    Span<const float> values_;
};

/// Draws noise and records it.
class Recorder : public NoiseSource {
public:
    Recorder(NoiseSource & source, std::vector<std::vector<float>> & draws) : source_(source), draws_(draws) {}
    void normal(Span<float> out) override {
        source_.normal(out);
        draws_.emplace_back(out.begin(), out.end());
    }

private:
    NoiseSource & source_;
    std::vector<std::vector<float>> & draws_;
};

/// Replays recorded noise.
class Replay : public NoiseSource {
public:
    explicit Replay(const std::vector<std::vector<float>> & draws) : draws_(draws) {}
    void normal(Span<float> out) override {
        const std::vector<float> & draw = draws_.at(next_++);
        std::copy_n(draw.begin(), out.size(), out.begin());
    }

private:
    const std::vector<std::vector<float>> & draws_;
    size_t next_ = 0;
};

std::unique_ptr<samplers::Solver> make(const SolverRequest & request) {
    samplers::SolverOptions options = request.options;
    if (request.start_step < 0) return samplers::make_solver(options);
    // A start step, as in diffusers: skips the first `start_step` of `steps`.
    const int run = options.steps - request.start_step;
    options.image_to_image = true;
    options.start_step = request.start_step;
    auto solver = samplers::make_solver(options);
    if (solver->steps() != run) {
        throw Error(ErrorCode::invalid_argument,
                    "createSolver: " + options.sampler + " does not support a start step; use strength");
    }
    return solver;
}

size_t evaluation_argument(const Napi::CallbackInfo & info, size_t index) {
    const Napi::Value value = argument(info, index);
    if (!value.IsNumber()) throw ArgumentTypeError("evaluation must be a number");
    const double number = value.As<Napi::Number>().DoubleValue();
    if (!(number >= 0 && number < 1e9) || number != std::floor(number)) {
        throw Error(ErrorCode::invalid_argument, "evaluation must be a non-negative integer");
    }
    return static_cast<size_t>(number);
}

/// Noise of the caller; empty if it is absent.
Span<const float> noise_argument(const Napi::Value & value, size_t length, EnvData::StartOptions & options) {
    if (value.IsNull() || value.IsUndefined()) return {};
    const Span<float> noise = floats(value, "noise", length);
    options.hold(value);
    return {noise.data(), noise.size()};
}

}  // namespace

class SolverWrap::State {
public:
    explicit State(const SolverRequest & request) : solver_(bindings::make(request)), noise_(request.rng, request.seed, 1) {}

    Json info() const {
        Json timesteps = Json::array(), evaluations = Json::array();
        for (const samplers::Evaluation & one : solver_->evaluations()) {
            timesteps.push_back(one.timestep);
            evaluations.push_back({{"timestep", one.timestep}, {"sigma", one.sigma}, {"step", one.step}});
        }
        return {{"timesteps", timesteps},
                {"sigmas", solver_->sigmas()},
                {"initNoiseSigma", solver_->init_noise_sigma()},
                {"adaptive", solver_->adaptive()},
                {"evaluations", evaluations}};
    }

    void scale_input(size_t evaluation, Span<const float> x, Span<float> out, Span<const float> given) {
        check(evaluation, x.size());
        std::vector<float> raised(x.begin(), x.end());  // only step() changes x itself
        GivenNoise own(given);
        prepare(raised, given.empty() ? nullptr : &own);
        solver_->scale_input(evaluation, raised, out);
    }

    void step(size_t evaluation, Span<const float> output, Span<float> x, Span<const float> given) {
        check(evaluation, x.size());
        GivenNoise own(given);
        prepare(x, given.empty() ? nullptr : &own);
        solver_->advance(evaluation, output, x, given.empty() ? static_cast<NoiseSource &>(noise_) : own);
        ++next_;
        prepared_ = false;
        draws_.clear();
    }

    bool adaptive() const { return solver_->adaptive(); }

private:
    void check(size_t evaluation, size_t length) {
        const size_t count = solver_->evaluations().size();
        if (next_ >= count) {
            throw Error(ErrorCode::invalid_argument, "All evaluations of this solver are done; create a new one");
        }
        if (evaluation != next_) {
            const std::string place = std::to_string(next_) + " of " + std::to_string(count);
            throw Error(ErrorCode::invalid_argument, "Evaluations must be in order: the next one is " + place);
        }
        if (length_ != 0 && length != length_) {
            throw Error(ErrorCode::invalid_argument,
                        "x has " + std::to_string(length) + " values, but had " + std::to_string(length_) + " before");
        }
        length_ = length;
    }

    /// Adds the evaluation's noise to x (s_churn): the caller's if given, else the noise drawn by the first call for it.
    void prepare(Span<float> x, NoiseSource * own) {
        if (!own && prepared_) {
            Replay replay(draws_);
            solver_->prepare(next_, x, replay);
            return;
        }
        draws_.clear();
        Recorder recorder(own ? *own : static_cast<NoiseSource &>(noise_), draws_);
        solver_->prepare(next_, x, recorder);
        prepared_ = true;
    }

    std::unique_ptr<samplers::Solver> solver_;
    SeededNoise noise_;
    size_t next_ = 0;                        // the evaluation whose output is expected next
    bool prepared_ = false;                  // whether its noise has been drawn
    size_t length_ = 0;                      // length of x, fixed by the first call
    std::vector<std::vector<float>> draws_;  // that noise
};

Napi::Function SolverWrap::define(Napi::Env env) {
    return DefineClass(env, "NativeSolver",
                       {InstanceMethod<&SolverWrap::info_json>("info"), InstanceMethod<&SolverWrap::scale_input>("scaleInput"),
                        InstanceMethod<&SolverWrap::step>("step")});
}

Napi::Object SolverWrap::make(Napi::Env env, const SolverRequest & request) {
    auto state = std::make_shared<State>(request);
    return construct(env, EnvData::of(env).solver_class, &state, solver_tag);
}

SolverWrap::SolverWrap(const Napi::CallbackInfo & info)
    : ObjectWrap(info), state_(std::move(*static_cast<std::shared_ptr<State> *>(take_constructing(info)))) {
    info_ = json_text(state_->info());
}

Napi::Value SolverWrap::info_json(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] { return Napi::String::New(info.Env(), info_); });
}

Napi::Value SolverWrap::scale_input(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        EnvData & data = EnvData::of(info.Env());
        EnvData::StartOptions options;
        const Span<float> x = floats(argument(info, 0), "x");
        const size_t evaluation = evaluation_argument(info, 1);
        const Span<float> out = floats(argument(info, 2), "out", x.size());
        options.hold(argument(info, 0));
        options.hold(argument(info, 2));
        const Span<const float> noise = noise_argument(argument(info, 3), x.size(), options);
        return data.start(data.queue("solvers"), std::move(options), [=, state = state_](const JobContext &) -> Completion {
            state->scale_input(evaluation, {x.data(), x.size()}, out, noise);
            return [](Napi::Env env) { return env.Undefined(); };
        });
    });
}

Napi::Value SolverWrap::step(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        EnvData & data = EnvData::of(info.Env());
        EnvData::StartOptions options;
        const Span<float> x = floats(argument(info, 1), "x");
        const Span<float> output = floats(argument(info, 0), "modelOutput", x.size());
        const size_t evaluation = evaluation_argument(info, 2);
        options.hold(argument(info, 0));
        options.hold(argument(info, 1));
        const Span<const float> noise = noise_argument(argument(info, 3), x.size(), options);
        return data.start(data.queue("solvers"), std::move(options), [=, state = state_](const JobContext &) -> Completion {
            state->step(evaluation, {output.data(), output.size()}, x, noise);
            const std::string grown = state->adaptive() ? json_text(state->info()) : "";
            return [grown](Napi::Env env) -> Napi::Value { return Napi::String::New(env, grown); };
        });
    });
}

}  // namespace latent::bindings
