#include "bindings/solver_wrap.h"

#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/pipeline_state.h"
#include "bindings/values.h"

namespace latent::bindings {
namespace {

constexpr napi_type_tag solver_tag{0x5a1c0f6d2b7e4e11, 0x9d41c2a97a3f0b04};

/// The caller's numbers in place of a generator's.
class GivenNoise : public NoiseSource {
public:
    explicit GivenNoise(Span<const float> values) : values_(values) {}
    void normal(Span<float> out) override { std::copy_n(values_.begin(), std::min(values_.size(), out.size()), out.begin()); }

private:
    Span<const float> values_;
};

/// Keeps what it draws.
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

/// Gives the kept draws again.
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

/// A NoiseSource of the argument, or null where it is absent.
std::unique_ptr<GivenNoise> given_noise(const Napi::Value & value, size_t length) {
    if (value.IsNull() || value.IsUndefined()) return nullptr;
    return std::make_unique<GivenNoise>(floats(value, "noise", length));
}

std::unique_ptr<samplers::Solver> make(const SolverRequest & request) {
    samplers::SolverOptions options = request.options;
    if (request.start_step < 0) return samplers::make_solver(options);
    // A start step is diffusers' way to say it: of `steps` the first `start_step` are left out.
    const int run = options.steps - request.start_step;
    options.image_to_image = true;
    options.start_step = request.start_step;
    auto solver = samplers::make_solver(options);
    if (solver->steps() != run) {
        throw Error(ErrorCode::invalid_argument,
                    "createSolver: " + options.sampler + " cannot begin at a start step, give strength");
    }
    return solver;
}

}  // namespace

Napi::Function SolverWrap::define(Napi::Env env) {
    return DefineClass(env, "NativeSolver",
                       {InstanceMethod<&SolverWrap::info_json>("info"), InstanceMethod<&SolverWrap::scale_input>("scaleInput"),
                        InstanceMethod<&SolverWrap::step>("step")});
}

Napi::Object SolverWrap::make(Napi::Env env, const SolverRequest & request) {
    State state{bindings::make(request), SeededNoise(request.rng, request.seed, 1)};
    return construct(env, EnvData::of(env).solver_class, &state, solver_tag);
}

SolverWrap::SolverWrap(const Napi::CallbackInfo & info)
    : ObjectWrap(info), state_(std::move(*static_cast<State *>(take_constructing(info)))) {}

size_t SolverWrap::evaluation_argument(const Napi::CallbackInfo & info, size_t index) const {
    const Napi::Value value = argument(info, index);
    if (!value.IsNumber()) throw ArgumentTypeError("evaluation must be a number");
    const size_t count = state_.solver->evaluations().size();
    if (next_ >= count) throw Error(ErrorCode::invalid_argument, "All evaluations of this solver are done; make another one");
    if (value.As<Napi::Number>().DoubleValue() != static_cast<double>(next_)) {
        throw Error(ErrorCode::invalid_argument,
                    "Evaluations are taken in order: the next one is " + std::to_string(next_) + " of " + std::to_string(count));
    }
    return next_;
}

void SolverWrap::check_length(size_t length) {
    if (length_ != 0 && length != length_) {
        throw Error(ErrorCode::invalid_argument,
                    "x has " + std::to_string(length) + " values, before it had " + std::to_string(length_));
    }
    length_ = length;
}

/// Adds the evaluation's noise to x (s_churn): the caller's where there is one, else what was drawn at the first call for it.
void SolverWrap::prepare(Span<float> x, NoiseSource * own) {
    if (!own && prepared_) {
        Replay replay(draws_);
        state_.solver->prepare(next_, x, replay);
        return;
    }
    draws_.clear();
    Recorder recorder(own ? *own : static_cast<NoiseSource &>(state_.noise), draws_);
    state_.solver->prepare(next_, x, recorder);
    prepared_ = true;
}

Napi::Value SolverWrap::info_json(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        Json timesteps = Json::array(), evaluations = Json::array();
        for (const samplers::Evaluation & one : state_.solver->evaluations()) {
            timesteps.push_back(one.timestep);
            evaluations.push_back({{"timestep", one.timestep}, {"sigma", one.sigma}, {"step", one.step}});
        }
        return json_to_js(info.Env(), {{"timesteps", timesteps},
                                       {"sigmas", state_.solver->sigmas()},
                                       {"initNoiseSigma", state_.solver->init_noise_sigma()},
                                       {"adaptive", state_.solver->adaptive()},
                                       {"evaluations", evaluations}});
    });
}

Napi::Value SolverWrap::scale_input(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const Span<float> x = floats(argument(info, 0), "x");
        const size_t evaluation = evaluation_argument(info, 1);
        const Span<float> out = floats(argument(info, 2), "out", x.size());
        check_length(x.size());
        const auto own = given_noise(argument(info, 3), x.size());
        std::vector<float> raised(x.begin(), x.end());  // x itself is moved by step() alone
        prepare(raised, own.get());
        state_.solver->scale_input(evaluation, raised, out);
        return info.Env().Undefined();
    });
}

Napi::Value SolverWrap::step(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const Span<float> x = floats(argument(info, 1), "x");
        const Span<float> output = floats(argument(info, 0), "modelOutput", x.size());
        const size_t evaluation = evaluation_argument(info, 2);
        check_length(x.size());
        const auto own = given_noise(argument(info, 3), x.size());
        prepare(x, own.get());
        state_.solver->advance(evaluation, output, x, own ? static_cast<NoiseSource &>(*own) : state_.noise);
        ++next_;
        prepared_ = false;
        draws_.clear();
        return info.Env().Undefined();
    });
}

}  // namespace latent::bindings
