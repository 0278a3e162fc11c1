#include "bindings/pipeline_wrap.h"

#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/array_arguments.h"
#include "bindings/conditioning_wrap.h"
#include "bindings/latents_wrap.h"
#include "bindings/requests.h"
#include "bindings/sampler_wrap.h"
#include "bindings/values.h"
#include "graph/device.h"
#include "pipeline/image/to_pictures.h"

namespace latent::bindings {
namespace {

constexpr napi_type_tag pipeline_tag{0x5a1c0f6d2b7e4e11, 0x9d41c2a97a3f0b05};

// The size of a pipeline reported to the garbage collector: enough to trigger collections, but not so much that they run all the
// time.
constexpr size_t max_reported_bytes = size_t{256} << 20;

/// Calls on one device use one queue, by whatever name the device was requested.
std::string queue_key(const std::string & device) {
    return "device " + graph::device_name(device);
}

Napi::Value make_latents(Napi::Env env, const std::shared_ptr<pipeline::Latents> & latents, const PipelinePtr & owner) {
    return LatentsWrap::make(env, {latents, nullptr, owner});
}

Completion latents_completion(pipeline::Latents latents, const PipelinePtr & owner) {
    auto shared = std::make_shared<pipeline::Latents>(std::move(latents));
    return [shared, owner](Napi::Env env) { return make_latents(env, shared, owner); };
}

Napi::Value generated_to_js(Napi::Env env, const pipeline::GenerateResult & result) {
    const pipeline::Timings & t = result.timings;
    Napi::Object object = Napi::Object::New(env);
    object.Set("images", pictures_to_js(env, result.images));
    if (!result.tensor.data.empty()) object.Set("tensor", tensor_to_js(env, result.tensor));
    object.Set("summary", json_to_js(env, {{"eta", result.eta},
                                           {"float32Parts", result.float32_parts},
                                           {"adapters", result.adapters},
                                           {"timings",
                                            {{"loadMs", t.load_ms},
                                             {"encodeMs", t.encode_ms},
                                             {"sampleMs", t.sample_ms},
                                             {"decodeMs", t.decode_ms},
                                             {"sharedBy", t.shared_by}}}}));
    return object;
}

/// A request and its arrays, put together on the job's thread.
Later<std::shared_ptr<pipeline::GenerateRequest>> generate_later(const Napi::Value & text, const Napi::Value & arrays,
                                                                 EnvData::StartOptions & options) {
    const Json json = request_of(text);
    auto request = std::make_shared<pipeline::GenerateRequest>(generate_request(json));
    const auto add = input_arrays(arrays, json, options);
    const auto latents = optional_image(arrays, "latents", json, "latentsShape", options);
    const auto image_latents = optional_image(arrays, "imageLatents", json, "imageLatentsShape", options);
    return [request, add, latents, image_latents] {
        add(request->inputs);
        if (image_latents) {
            pipeline::ImageTensor given = image_latents();
            request->image_latents = pipeline::Latents{given.shape, std::move(given.data)};
        }
        if (latents) {
            pipeline::ImageTensor given = latents();
            request->latents = pipeline::Latents{given.shape, std::move(given.data)};
        }
        return request;
    };
}

bool wants_floats(const Json & request) {
    return one_of(request, "output", "image", {"image", "float"}) == "float";
}

/// A decoded image as NativeDecoded.
Completion decoded_completion(pipeline::ImageTensor tensor, bool output_float) {
    struct Decoded {
        pipeline::ImageTensor tensor;
        std::vector<Picture> pictures;
    };
    auto decoded = std::make_shared<Decoded>();
    if (output_float) {
        decoded->tensor = std::move(tensor);
    } else {
        decoded->pictures = pipeline::to_pictures(tensor);
    }
    return [decoded, output_float](Napi::Env env) {
        Napi::Object object = Napi::Object::New(env);
        object.Set("images", pictures_to_js(env, decoded->pictures));
        object.Set("tensor", output_float ? tensor_to_js(env, decoded->tensor) : env.Null());
        return object;
    };
}

Completion conditioning_completion(pipeline::Conditioning conditioning, bool truncated, const PipelinePtr & owner) {
    auto result = std::make_shared<pipeline::Conditioning>(std::move(conditioning));
    result->truncated = result->truncated || truncated;
    return [result, owner](Napi::Env env) { return ConditioningWrap::make(env, {result, owner}); };
}

Completion rows_completion(pipeline::EmbeddingRows rows) {
    auto shared = std::make_shared<pipeline::EmbeddingRows>(std::move(rows));
    return [shared](Napi::Env env) {
        Napi::Object object = Napi::Object::New(env);
        object.Set("shape", shape_to_js<2>(env, {shared->count, shared->dim}));
        object.Set("data", floats_to_js(env, shared->data));
        return object;
    };
}

}  // namespace

Napi::Function PipelineWrap::define(Napi::Env env) {
    return DefineClass(env, "NativePipeline",
                       {InstanceMethod<&PipelineWrap::info_json>("info"),
                        InstanceMethod<&PipelineWrap::tokenizer>("tokenizer"),
                        InstanceMethod<&PipelineWrap::encode_prompt>("encodePrompt"),
                        InstanceMethod<&PipelineWrap::encode_condition>("encodeCondition"),
                        InstanceMethod<&PipelineWrap::embed_images>("embedImages"),
                        InstanceMethod<&PipelineWrap::embed_text>("embedText"),
                        InstanceMethod<&PipelineWrap::encode_image>("encodeImage"),
                        InstanceMethod<&PipelineWrap::create_latents>("createLatents"),
                        InstanceMethod<&PipelineWrap::predict>("predict"),
                        InstanceMethod<&PipelineWrap::start_sampling>("startSampling"),
                        InstanceMethod<&PipelineWrap::decode>("decode"),
                        InstanceMethod<&PipelineWrap::encode_codes>("encodeCodes"),
                        InstanceMethod<&PipelineWrap::decode_codes>("decodeCodes"),
                        InstanceMethod<&PipelineWrap::loss>("loss"),
                        InstanceMethod<&PipelineWrap::generate>("generate"),
                        InstanceMethod<&PipelineWrap::generate_together>("generateTogether"),
                        InstanceMethod<&PipelineWrap::set_adapters>("setAdapters"),
                        InstanceMethod<&PipelineWrap::estimate>("estimate"),
                        InstanceMethod<&PipelineWrap::memory_usage>("memoryUsage"),
                        InstanceMethod<&PipelineWrap::profile>("profile"),
                        InstanceMethod<&PipelineWrap::unload>("unload"),
                        InstanceMethod<&PipelineWrap::dispose>("dispose")});
}

Napi::Object PipelineWrap::make(Napi::Env env, PipelinePtr state) {
    return construct(env, EnvData::of(env).pipeline_class, &state, pipeline_tag);
}

Napi::Value PipelineWrap::load(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        EnvData & data = EnvData::of(info.Env());
        const pipeline::LoadRequest request = load_request(request_argument(info));
        const std::shared_ptr<JobQueue> queue = data.queue(queue_key(request.device));
        EnvData::StartOptions options;
        options.callbacks = callbacks_argument(info, 1);
        return data.start(queue, std::move(options), [request, queue](const JobContext & job) -> Completion {
            auto state = std::make_shared<PipelineState>();
            state->queue = queue;
            state->engine = pipeline::Pipeline::load(request, job);
            state->info = json_text(state->engine->info());
            state->tokenizer = state->engine->tokenizer();
            return [state](Napi::Env env) { return make(env, state); };
        });
    });
}

PipelineWrap::PipelineWrap(const Napi::CallbackInfo & info)
    : ObjectWrap(info), state_(std::move(*static_cast<PipelinePtr *>(take_constructing(info)))) {
    const Json usage = state_->engine->memory_usage();
    const auto total = usage.find("total");
    if (total != usage.end() && total->is_number()) {
        memory_.set(info.Env(), static_cast<size_t>(std::min<double>(total->get<double>(), max_reported_bytes)));
    }
}

void PipelineWrap::Finalize(Napi::BasicEnv env) {
    memory_.set(env, 0);
}

const PipelinePtr & PipelineWrap::checked() const {
    state_->check();
    return state_;
}

Napi::Value PipelineWrap::start(Napi::Env env, EnvData::StartOptions options, Work work) {
    return EnvData::of(env).start(state_->queue, std::move(options), std::move(work));
}

Napi::Value PipelineWrap::info_json(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] { return Napi::String::New(info.Env(), checked()->info); });
}

Napi::Value PipelineWrap::tokenizer(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] { return Napi::String::New(info.Env(), checked()->tokenizer); });
}

Napi::Value PipelineWrap::encode_prompt(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        const Json request = request_argument(info);
        const pipeline::PromptTokens tokens = prompt_tokens(request);
        const bool truncated = bool_field(request, "truncated", false);
        return start(info.Env(), options_argument(info, 1), [state, tokens, truncated](const JobContext & job) -> Completion {
            return conditioning_completion(state->engine->encode_prompt(tokens, job), truncated, state);
        });
    });
}

Napi::Value PipelineWrap::encode_condition(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        const Json json = request_argument(info);
        auto inputs = std::make_shared<pipeline::Inputs>(inputs_request(json));
        EnvData::StartOptions options = options_argument(info, 2);
        const auto add = input_arrays(argument(info, 1), json, options);
        const bool truncated = bool_field(object_field(json, "prompt"), "truncated", false);
        return start(info.Env(), std::move(options), [=](const JobContext & job) -> Completion {
            add(*inputs);
            return conditioning_completion(state->engine->encode_inputs(*inputs, job), truncated, state);
        });
    });
}

Napi::Value PipelineWrap::embed_images(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        EnvData::StartOptions options = options_argument(info, 2);
        const auto pixels = image_argument(shape_field(request_argument(info), "shape"), argument(info, 1), "pixels", options);
        return start(info.Env(), std::move(options), [state, pixels](const JobContext & job) -> Completion {
            return rows_completion(state->engine->embed_images(pixels(), job));
        });
    });
}

Napi::Value PipelineWrap::embed_text(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        const pipeline::PromptTokens tokens = prompt_tokens(request_argument(info));
        return start(info.Env(), options_argument(info, 1), [state, tokens](const JobContext & job) -> Completion {
            return rows_completion(state->engine->embed_text(tokens, job));
        });
    });
}

Napi::Value PipelineWrap::encode_image(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        const ImageRequest request = image_request(request_argument(info));
        EnvData::StartOptions options = options_argument(info, 2);
        const auto image = image_argument(request.shape, argument(info, 1), "image", options);
        return start(info.Env(), std::move(options), [state, request, image](const JobContext & job) -> Completion {
            return latents_completion(state->engine->encode_image(image(), request.mode, request.seed, request.rng, job), state);
        });
    });
}

Napi::Value PipelineWrap::create_latents(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        const LatentsRequest request = latents_request(request_argument(info));
        EnvData & data = EnvData::of(info.Env());
        // Not in the pipeline's queue, where it would wait for images.
        const auto lease = std::make_shared<EngineLease>(state);
        return data.start(data.queue("noise"), {}, [lease, request](const JobContext & job) -> Completion {
            return latents_completion(lease->engine->create_latents(request.width, request.height, request.batch, request.seed,
                                                                    request.rng, job.cancel.get()),
                                      lease->state);
        });
    });
}

Napi::Value PipelineWrap::predict(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        const PredictRequest request = predict_request(request_argument(info));
        const LatentsPtr latents = LatentsWrap::value_of(argument(info, 1), "latents");
        const ConditioningPtr conditioning = ConditioningWrap::value_of(argument(info, 2), "conditioning");
        const ConditioningPtr unconditional = ConditioningWrap::value_of(argument(info, 3), "unconditional");
        const LatentsPtr concat = LatentsWrap::value_of(argument(info, 4), "concat", true);
        return start(info.Env(), {}, [=](const JobContext & job) -> Completion {
            return latents_completion(
                state->engine->predict(*latents, request.timesteps, conditioning.get(), unconditional.get(),
                                       request.guidance_scale, concat.get(), job, request.image_guidance_scale),
                state);
        });
    });
}

// Planning a run reads state that jobs change (loaded weights, live graphs), so it is a job as well.
Napi::Value PipelineWrap::start_sampling(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        const pipeline::SamplingRequest request = sampling_request(request_argument(info));
        const LatentsPtr noise = LatentsWrap::value_of(argument(info, 1), "start");
        const LatentsPtr image = LatentsWrap::value_of(argument(info, 2), "image", true);
        const ConditioningPtr conditioning = ConditioningWrap::value_of(argument(info, 3), "conditioning");
        const ConditioningPtr unconditional = ConditioningWrap::value_of(argument(info, 4), "unconditional");
        return start(info.Env(), {}, [=](const JobContext &) -> Completion {
            auto sampler = std::make_shared<SamplerState>();
            sampler->pipeline = state;
            sampler->sampler =
                state->engine->start_sampling(request, *noise, image.get(), conditioning.get(), unconditional.get());
            return [sampler](Napi::Env env) { return SamplerWrap::make(env, sampler); };
        });
    });
}

Napi::Value PipelineWrap::decode(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        const Json request = request_argument(info);
        const bool output_float = wants_floats(request), quantise = bool_field(request, "quantize", true);
        const LatentsPtr latents = LatentsWrap::value_of(argument(info, 1), "latents");
        return start(info.Env(), options_argument(info, 2), [=](const JobContext & job) -> Completion {
            return decoded_completion(state->engine->decode(*latents, quantise, job), output_float);
        });
    });
}

Napi::Value PipelineWrap::encode_codes(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        EnvData::StartOptions options = options_argument(info, 2);
        const auto image = image_argument(shape_field(request_argument(info), "shape"), argument(info, 1), "image", options);
        return start(info.Env(), std::move(options), [state, image](const JobContext & job) -> Completion {
            auto codes = std::make_shared<pipeline::Codes>(state->engine->encode_codes(image(), job));
            return [codes](Napi::Env env) { return codes_to_js(env, *codes); };
        });
    });
}

Napi::Value PipelineWrap::decode_codes(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        const Json request = request_argument(info);
        const bool output_float = wants_floats(request);
        EnvData::StartOptions options = options_argument(info, 2);
        const auto codes = codes_argument(shape_field(request, "shape"), argument(info, 1), options);
        return start(info.Env(), std::move(options), [state, codes, output_float](const JobContext & job) -> Completion {
            return decoded_completion(state->engine->decode_codes(codes(), job), output_float);
        });
    });
}

Napi::Value PipelineWrap::loss(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        const Json json = request_argument(info);
        auto request = std::make_shared<pipeline::LossRequest>(loss_request(json));
        EnvData::StartOptions options = options_argument(info, 3);
        const auto image = image_argument(shape_field(json, "imageShape"), argument(info, 1), "image", options);
        const auto add = input_arrays(argument(info, 2), object_field(json, "inputs"), options);
        return start(info.Env(), std::move(options), [=](const JobContext & job) -> Completion {
            add(request->inputs);
            const std::vector<double> losses = state->engine->loss(image(), *request, job);
            return [losses](Napi::Env env) {
                Napi::Array numbers = Napi::Array::New(env, losses.size());
                for (size_t i = 0; i < losses.size(); ++i) numbers.Set(static_cast<uint32_t>(i), losses[i]);
                Napi::Object object = Napi::Object::New(env);
                object.Set("losses", numbers);
                return object;
            };
        });
    });
}

Napi::Value PipelineWrap::generate(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        EnvData::StartOptions options = options_argument(info, 2);
        const auto request = generate_later(argument(info, 0), argument(info, 1), options);
        return start(info.Env(), std::move(options), [state, request](const JobContext & job) -> Completion {
            auto result = std::make_shared<pipeline::GenerateResult>(state->engine->generate(*request(), job));
            return [result](Napi::Env env) { return generated_to_js(env, *result); };
        });
    });
}

Napi::Value PipelineWrap::generate_together(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        if (!argument(info, 0).IsArray()) throw ArgumentTypeError("generateTogether takes an array");
        const auto list = argument(info, 0).As<Napi::Array>();
        std::vector<EnvData::StartOptions> options;
        std::vector<std::function<std::shared_ptr<pipeline::GenerateRequest>()>> requests;
        for (uint32_t i = 0; i < list.Length(); ++i) {
            if (!list.Get(i).IsObject()) throw ArgumentTypeError("generateTogether takes an array of objects");
            const auto each = list.Get(i).As<Napi::Object>();
            options.emplace_back().callbacks = callbacks_of(each.Get("callbacks"));
            try {
                requests.push_back(generate_later(each.Get("request"), each.Get("arrays"), options.back()));
            } catch (const Napi::Error &) {
                throw;       // belongs to this thread
            } catch (...) {  // fails this one alone, with its turn
                requests.push_back([error = std::current_exception()]() -> std::shared_ptr<pipeline::GenerateRequest> {
                    std::rethrow_exception(error);
                });
            }
        }
        const auto work = [state, requests = std::move(requests)](Group & group) {
            std::vector<pipeline::TogetherMember> members;
            for (size_t i = 0; i < group.size(); ++i) {
                if (!group.wanted(i)) continue;
                const auto made = [&group, i](pipeline::GenerateResult && result) {
                    auto shared = std::make_shared<pipeline::GenerateResult>(std::move(result));
                    group.finish(i, [shared](Napi::Env env) { return generated_to_js(env, *shared); });
                };
                const auto failed = [&group, i](std::exception_ptr error) { group.fail(i, std::move(error)); };
                try {
                    members.push_back({requests[i](), group.context(i), made, failed});
                } catch (...) {
                    failed(std::current_exception());
                }
            }
            if (!members.empty()) state->engine->generate_together(std::move(members), group.shared());
        };
        return EnvData::of(info.Env()).start_group(state->queue, std::move(options), work);
    });
}

Napi::Value PipelineWrap::set_adapters(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        const pipeline::AdapterUses uses = adapter_uses(request_argument(info));
        return start(info.Env(), {}, [=](const JobContext & job) -> Completion {
            const Json report = state->engine->set_adapters(uses, job);
            return [report](Napi::Env env) { return json_to_js(env, report); };
        });
    });
}

Napi::Value PipelineWrap::estimate(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        const pipeline::EstimateRequest request = estimate_request(request_argument(info));
        return start(info.Env(), {}, [=](const JobContext &) -> Completion {
            const Json estimate = state->engine->estimate(request);
            return [estimate](Napi::Env env) { return json_to_js(env, estimate); };
        });
    });
}

Napi::Value PipelineWrap::memory_usage(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] { return json_to_js(info.Env(), checked()->engine->memory_usage()); });
}

Napi::Value PipelineWrap::profile(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const bool on = info[0].IsBoolean() && info[0].As<Napi::Boolean>().Value();
        return json_to_js(info.Env(), checked()->engine->profile(on));
    });
}

Napi::Value PipelineWrap::unload(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = checked();
        return start(info.Env(), {}, [state](const JobContext &) -> Completion {
            state->engine->unload();
            return [](Napi::Env env) { return env.Undefined(); };
        });
    });
}

Napi::Value PipelineWrap::dispose(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const PipelinePtr state = state_;
        state->disposed = true;
        memory_.set(info.Env(), 0);
        EnvData::StartOptions options;
        options.cancellable = false;
        return EnvData::of(info.Env()).start(state->queue, std::move(options), [state](const JobContext &) -> Completion {
            state->engine.reset();
            return [](Napi::Env env) { return env.Undefined(); };
        });
    });
}

}  // namespace latent::bindings
