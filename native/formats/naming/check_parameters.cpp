#include "formats/naming/check_parameters.h"

#include <set>

#include "core/json.h"
#include "core/text.h"
#include "formats/naming/scales.h"

namespace latent::formats {

namespace {

std::vector<int64_t> squeezed(std::vector<int64_t> shape) {
    while (shape.size() > 1 && shape.back() == 1) shape.pop_back();
    return shape;
}

class Check {
public:
    Check(const TensorSource & source) : source_(source) {}

    void need(const networks::DeclaredNetwork & network) {
        const int before = faults_;
        const bool found = need_each(network.parameters);
        if (!found && faults_ > before) absent_.push_back(&network);
    }

    /// Throws if a part has tensors that neither its networks nor this list know: they may change the meaning of the weights.
    void refuse_rest(const networks::DeclaredNetwork & network, const std::string & area, const char * nearest) const {
        std::string first;
        int count = 0;
        for (const TensorInfo & tensor : source_.tensors()) {
            if (tensor.name.compare(0, area.size(), area) != 0 || known_.count(tensor.name) || is_harmless(tensor.name)) continue;
            if (count++ == 0) first = tensor.name;
        }
        if (count == 0) return;
        const Json details = {{"found", first.substr(0, 200)}, {"count", count}, {"nearest", nearest}};
        const std::string hint = !is_quantisation_name(first)
                                     ? ""
                                     : ". Quantised weights with separate scales are supported with one scale per tensor or "
                                       "per output channel; convert others to f16 or GGUF";
        throw Error(ErrorCode::unsupported_model,
                    source_.name() + ": " + network.title + " has " + std::to_string(count) +
                        " tensors that belong to no known architecture, first " + first.substr(0, 200) + hint,
                    details.dump(-1, ' ', false, Json::error_handler_t::replace));
    }

    /// Throws if something did not fit.
    void finish() const {
        if (faults_ == 0) return;
        const std::string faults = std::to_string(faults_) + (faults_ == 1 ? " tensor does" : " tensors do") +
                                   " not fit the model's specification: " + report_ + (faults_ > kNamedFaults ? " ..." : "");
        const std::string text = absent_.empty()
                                     ? faults + ". The file is incomplete, or the configuration belongs to another model"
                                     : absence() + ". " + faults;
        throw Error(ErrorCode::model_format, source_.name() + ": " + text, Json{{"faults", faults_}}.dump());
    }

    const std::vector<std::string> & names() const { return names_; }

private:
    static constexpr int kNamedFaults = 3;

    /// Extra tensors of published files that do not matter: CLIP's temperature, a projection that the specification does not use.
    static bool is_harmless(const std::string & name) {
        for (const char * end : {".logit_scale", ".text_projection.weight"}) {
            const std::string text = end;
            if (name.size() > text.size() && name.compare(name.size() - text.size(), text.size(), text) == 0) return true;
        }
        return false;
    }

    /// Whether any of the tensors exists, with any shape.
    bool need_each(const ParameterList & parameters) {
        bool found = false;
        for (const Parameter & parameter : parameters.unread()) {
            found = found || source_.has(parameter.name);
            known_.insert(parameter.name);
        }
        for (const auto & parameter : parameters.all()) {
            const TensorInfo * tensor = source_.find(parameter->name);
            known_.insert(parameter->name);
            found = found || tensor;
            const bool fits = tensor && squeezed(tensor->shape) == squeezed(parameter->shape);
            if (fits) names_.push_back(parameter->name);
            if (fits || parameter->optional) continue;
            if (++faults_ > kNamedFaults) continue;
            report_ += (report_.empty() ? "" : "; ") + parameter->name +
                       (tensor ? " has shape " + shape_text(tensor->shape) + " in place of " + shape_text(parameter->shape)
                               : " is missing");
        }
        return found;
    }

    /// Networks that are missing entirely, and how to provide them.
    std::string absence() const {
        std::vector<std::string> networks, apart;
        for (const networks::DeclaredNetwork * network : absent_) {
            const PartTraits & traits = traits_of(network->part);
            networks.push_back(network->title);
            if (traits.has_own_source) apart.push_back(network->title + " as " + traits.name);
        }
        return enumerated(networks) + (networks.size() == 1 ? " is" : " are") +
               " missing. Give a file with the whole model as model" + (apart.empty() ? "" : ", or " + enumerated(apart)) +
               " (a file given for one part is used only for that part)";
    }

    const TensorSource & source_;
    std::vector<std::string> names_;
    std::set<std::string> known_;
    std::vector<const networks::DeclaredNetwork *> absent_;
    std::string report_;
    int faults_ = 0;
};

/// The prefix that belongs to this network alone.
std::string area_of(const networks::DeclaredNetwork & network) {
    const std::string & prefix = network.prefix;
    for (const char * area : {cond_prefix, image_prefix}) {
        if (prefix.rfind(area, 0) == 0) return area;
    }
    if (prefix.rfind(embedders_prefix, 0) != 0) return prefix;
    return prefix.substr(0, prefix.find('.', std::string(embedders_prefix).size()) + 1);
}

const char * nearest_to(const networks::DeclaredNetwork & network) {
    switch (network.part) {
        case ModelPart::unet: return "latent diffusion U-Net";
        case ModelPart::vae: return "KL-f8";
        case ModelPart::image_encoder: return "CLIP ViT-L/14";
        case ModelPart::text_encoder:
            return network.parameters.unread().empty() ? "CLIP ViT-L/14" : "BERTEmbedder of txt2img-1p4B";
        default: return "ClassEmbedder or SpatialRescaler";
    }
}

}  // namespace

std::vector<std::string> check_parameters(const std::vector<networks::DeclaredNetwork> & networks, const TensorSource & source) {
    Check check(source);
    for (const networks::DeclaredNetwork & network : networks) check.need(network);
    check.finish();
    for (const networks::DeclaredNetwork & network : networks) check.refuse_rest(network, area_of(network), nearest_to(network));
    return check.names();
}

}  // namespace latent::formats
