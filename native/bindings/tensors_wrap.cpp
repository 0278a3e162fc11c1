#include "bindings/tensors_wrap.h"

#include "bindings/arguments.h"
#include "bindings/json_fields.h"
#include "bindings/pipeline_state.h"
#include "bindings/values.h"

namespace latent::bindings {
namespace {

constexpr napi_type_tag tensors_tag{0x5a1c0f6d2b7e4e11, 0x9d41c2a97a3f0b06};
constexpr size_t tensors_per_piece = 512;
constexpr int64_t most_at_once = int64_t{1} << 28;  // bytes or elements: TypeScript reads in pieces

using StatePtr = std::shared_ptr<const TensorsWrap::State>;

}  // namespace

Napi::Function TensorsWrap::define(Napi::Env env) {
    return DefineClass(env, "NativeTensors",
                       {InstanceMethod<&TensorsWrap::list>("list"), InstanceMethod<&TensorsWrap::metadata>("metadata"),
                        InstanceMethod<&TensorsWrap::read>("read"), InstanceMethod<&TensorsWrap::dispose>("dispose")});
}

Napi::Value TensorsWrap::open(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const Json request = request_argument(info);
        const std::string path = text_field(request, "path", ""), variant = text_field(request, "variant", "", 64);
        if (path.empty()) refuse("path", "is missing");
        EnvData & data = EnvData::of(info.Env());
        return data.start(data.queue("files"), {}, [path, variant](const JobContext &) -> Completion {
            auto state = std::make_shared<State>();
            state->reader = std::make_shared<formats::TensorReader>(path, variant);
            Json all = state->reader->list();
            Json piece = Json::array();
            for (Json & tensor : all["tensors"]) {
                piece.push_back(std::move(tensor));
                if (piece.size() < tensors_per_piece) continue;
                state->list.push_back(json_text(piece));
                piece = Json::array();
            }
            state->list.push_back(json_text(piece));
            state->metadata = state->reader->source().metadata_json();
            return [state](Napi::Env env) {
                StatePtr held = state;
                return construct(env, EnvData::of(env).tensors_class, &held, tensors_tag);
            };
        });
    });
}

TensorsWrap::TensorsWrap(const Napi::CallbackInfo & info)
    : ObjectWrap(info), state_(std::move(*static_cast<StatePtr *>(take_constructing(info)))) {}

const TensorsWrap::State & TensorsWrap::checked() const {
    if (!state_) throw Error(ErrorCode::disposed, "These tensors have been disposed of");
    return *state_;
}

Napi::Value TensorsWrap::list(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const Napi::Value piece = argument(info, 0);
        const double number = piece.IsNumber() ? piece.As<Napi::Number>().DoubleValue() : -1;
        const std::vector<std::string> & list = checked().list;
        if (!(number >= 0 && number < static_cast<double>(list.size()))) return Napi::String::New(info.Env(), "");
        return Napi::String::New(info.Env(), list[static_cast<size_t>(number)]);
    });
}

Napi::Value TensorsWrap::metadata(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] { return Napi::String::New(info.Env(), checked().metadata); });
}

Napi::Value TensorsWrap::read(const Napi::CallbackInfo & info) {
    return guarded(info.Env(), [&] {
        const std::shared_ptr<formats::TensorReader> reader = checked().reader;
        const Json request = request_argument(info);
        const auto tensor = static_cast<size_t>(int_field(request, "tensor", 0, 0, INT32_MAX));
        const auto offset = static_cast<uint64_t>(int_field(request, "offset", 0, 0, int64_t{1} << 53));
        const auto count = static_cast<uint64_t>(int_field(request, "count", 0, 0, most_at_once));
        const bool floats = one_of(request, "as", "bytes", {"bytes", "float32"}) == "float32";
        EnvData & data = EnvData::of(info.Env());
        return data.start(data.queue("files"), {}, [=](const JobContext &) -> Completion {
            auto bytes = std::make_shared<std::vector<uint8_t>>(floats ? reader->floats(tensor, offset, count)
                                                                       : reader->bytes(tensor, offset, count));
            return [bytes](Napi::Env env) { return bytes_to_js(env, *bytes); };
        });
    });
}

void TensorsWrap::dispose(const Napi::CallbackInfo &) {
    state_.reset();  // a job that is reading keeps the file until it is done
}

}  // namespace latent::bindings
