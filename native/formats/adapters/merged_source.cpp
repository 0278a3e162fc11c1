#include "formats/adapters/merged_source.h"

#include <cstring>
#include <map>

#include "formats/adapters/deltas.h"
#include "formats/adapters/match.h"
#include "formats/convert/quantise.h"

namespace latent::formats {
namespace {

/// The adapters of one tensor, in the order in which they are applied.
struct Edit {
    bool bias = false;
    std::vector<AdaptedLayer> layers;
};
using Edits = std::map<std::string, Edit>;  // by canonical name of the tensor

class MergedSource final : public TensorSource {
public:
    MergedSource(TensorSourcePtr source, Edits edits, std::vector<AdapterFilePtr> files, networks::DeclaredNetworks networks,
                 const JobContext & job)
        : source_(std::move(source)),
          edits_(std::move(edits)),
          files_(std::move(files)),
          networks_(std::move(networks)),
          job_(job) {
        name_ = source_->name();
        std::vector<TensorInfo> infos = source_->tensors();
        for (TensorInfo & info : infos) {
            if (!edits_.count(info.name)) continue;
            info.dtype = DType::f32, info.scaled_from.reset();
            info.bytes = static_cast<uint64_t>(info.elements()) * sizeof(float);
        }
        set_tensors(std::move(infos));
    }

    Span<const uint8_t> view(const TensorInfo & tensor) const override {
        return edits_.count(tensor.name) ? Span<const uint8_t>() : source_->view(source_->tensors()[tensor.index]);
    }
    void read(const TensorInfo & tensor, void * destination) const override {
        const auto edit = edits_.find(tensor.name);
        if (edit == edits_.end()) return source_->read(source_->tensors()[tensor.index], destination);
        const std::vector<float> merged = numbers(source_->tensors()[tensor.index], edit->second);
        std::memcpy(destination, merged.data(), merged.size() * sizeof(float));
    }
    std::vector<FileRange> places(const TensorInfo & tensor) const override {
        return source_->places(source_->tensors()[tensor.index]);
    }
    void check_files() const override { source_->check_files(); }
    std::string metadata_json() const override { return source_->metadata_json(); }

private:
    std::vector<float> stored(const TensorInfo & tensor) const {
        Span<const uint8_t> bytes = source_->view(tensor);
        std::vector<uint8_t> copy;
        if (bytes.size() != tensor.bytes) {
            copy.resize(static_cast<size_t>(tensor.bytes));
            source_->read(tensor, copy.data());
            bytes = copy;
        }
        std::vector<float> out(static_cast<size_t>(tensor.elements()));
        dequantise(tensor.dtype, bytes.data(), out.data(), tensor.elements());
        return out;
    }

    std::vector<float> numbers(const TensorInfo & tensor, const Edit & edit) const {
        const std::vector<float> own = stored(tensor);
        std::vector<float> out = own;
        for (const AdaptedLayer & layer : edit.layers) {
            if (edit.bias) {
                change_bias(layer, out);
            } else {
                change_weight(
                    layer, [&]() -> const std::vector<float> & { return own; }, [&] { job_.check(); }, out);
            }
        }
        return out;
    }

    TensorSourcePtr source_;
    Edits edits_;
    std::vector<AdapterFilePtr> files_;    // the edits point into these
    networks::DeclaredNetworks networks_;  // the edits change parameters of these
    JobContext job_;
};

}  // namespace

MergedModel merge_adapters(OpenedModel model, const AdapterUses & adapters, const JobContext & job) {
    MergedModel merged;
    const LayerNames names(model.networks, model.spec);
    Edits edits;
    std::vector<AdapterFilePtr> files;
    for (const AdapterUse & use : adapters) {
        MatchedAdapter matched = match_adapter(AdapterFile::open(use.path), names, model.spec);
        files.push_back(matched.file);
        for (const MatchedAdapter::Layer & layer : matched.layers) {
            const networks::DeclaredTensor weight = networks::find_declared(*model.networks, layer.canonical + ".weight");
            if (!weight.parameter || !model.tensors->has(weight.parameter->name)) continue;
            const double strength = weight.part == ModelPart::text_encoder ? use.text_weight : use.weight;
            if (strength == 0) continue;
            const AdaptedLayer adapted{files.back().get(), layer.layer, weight.parameter, strength, layer.part, layer.parts};
            if (changes_weight(*layer.layer)) edits[weight.parameter->name].layers.push_back(adapted);
            if (!changes_bias(*layer.layer)) continue;
            const std::string bias = layer.canonical + ".bias";
            if (!model.tensors->has(bias)) {
                matched.skipped.push_back(layer.layer->name + " (a bias that the model does not have)");
                continue;
            }
            edits[bias].bias = true;
            edits[bias].layers.push_back(adapted);
        }
        merged.adapters.push_back(matched.report(use.path));
    }
    model.tensors = std::make_shared<MergedSource>(model.tensors, std::move(edits), std::move(files), model.networks, job);
    merged.model = std::move(model);
    return merged;
}

}  // namespace latent::formats
