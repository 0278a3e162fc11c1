#include "pipeline/pipeline.h"
#include "pipeline/stages.h"

namespace latent::pipeline {
namespace {

Json inspect_model(const formats::OpenedModel & opened, const std::string & path) {
    Json out_parts = Json::object();
    uint64_t bytes = 0;
    for (const TensorInfo & tensor : opened.tensors->tensors()) {
        Json & part = out_parts[part_name(networks::find_declared(*opened.networks, tensor.name).part)];
        if (part.is_null()) part = {{"tensors", 0}, {"parameters", 0}, {"bytes", 0}, {"dtypes", Json::object()}};
        part["tensors"] = part["tensors"].get<uint64_t>() + 1;
        part["parameters"] = part["parameters"].get<uint64_t>() + static_cast<uint64_t>(tensor.elements());
        part["bytes"] = part["bytes"].get<uint64_t>() + tensor.stored_bytes();
        Json & count = part["dtypes"][dtype_name(tensor.stored_type())];
        count = (count.is_null() ? 0 : count.get<uint64_t>()) + 1;
        bytes += tensor.stored_bytes();
    }
    return {{"source", path},
            {"kind", opened.spec.kind},
            {"name", opened.spec.name},
            {"spec", to_json(opened.spec)},
            {"parts", out_parts},
            {"tensors", opened.tensors->tensors().size()},
            {"bytes", bytes},
            {"hasTokenizer", !opened.tokenizer.empty()},
            {"metadata", parse_json(opened.tensors->metadata_json(), "metadata")},
            {"files", opened.files}};
}

}  // namespace

Json inspect(const LoadRequest & request) {
    const OpenedModelPtr model = open_request(request);
    Json out = inspect_model(*model, request.model);
    if (model->refiner) out["refiner"] = inspect_model(*model->refiner, request.refiner);
    return out;
}

}  // namespace latent::pipeline
