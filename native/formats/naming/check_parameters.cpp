#include "formats/naming/check_parameters.h"

#include <set>

#include "core/json.h"
#include "core/text.h"

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

    /// `what`: the network that has every tensor below `prefix`.
    void refuse_rest(const std::string & prefix, const char * what, const char * nearest) const {
        std::set<std::string> known(names_.begin(), names_.end());
        known.insert(unread_.begin(), unread_.end());
        std::string first;
        int count = 0;
        for (const TensorInfo & tensor : source_.tensors()) {
            if (tensor.name.compare(0, prefix.size(), prefix) != 0 || known.count(tensor.name)) continue;
            if (count++ == 0) first = tensor.name;
        }
        if (count == 0) return;
        const Json details = {{"found", first.substr(0, 200)}, {"count", count}, {"nearest", nearest}};
        throw Error(ErrorCode::unsupported_model,
                    source_.name() + ": the " + what + " has " + std::to_string(count) +
                        " tensors that no known architecture explains, first " + first.substr(0, 200),
                    details.dump(-1, ' ', false, Json::error_handler_t::replace));
    }

    /// Throws where something did not fit.
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

    /// Whether any of the tensors is there, of whatever shape.
    bool need_each(const ParameterList & parameters) {
        bool found = false;
        for (const Parameter & parameter : parameters.unread()) {
            found = found || source_.has(parameter.name);
            unread_.push_back(parameter.name);
        }
        for (const auto & parameter : parameters.all()) {
            const TensorInfo * tensor = source_.find(parameter->name);
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

    /// What is missing as a whole, and how to give it.
    std::string absence() const {
        std::vector<std::string> networks, apart;
        for (const networks::DeclaredNetwork * network : absent_) {
            const PartTraits & traits = traits_of(network->part);
            networks.push_back(network->title);
            if (traits.has_own_source) apart.push_back(network->title + " as " + traits.name);
        }
        return enumerated(networks) + (networks.size() == 1 ? " is" : " are") +
               " not in what was given. Give the file that holds all of the model as model" +
               (apart.empty() ? "" : ", or " + enumerated(apart)) +
               " (of a file that is given as one part, that part alone is taken)";
    }

    const TensorSource & source_;
    std::vector<std::string> names_, unread_;
    std::vector<const networks::DeclaredNetwork *> absent_;
    std::string report_;
    int faults_ = 0;
};

}  // namespace

std::vector<std::string> check_parameters(const std::vector<networks::DeclaredNetwork> & networks, const TensorSource & source) {
    Check check(source);
    for (const networks::DeclaredNetwork & network : networks) check.need(network);
    check.finish();
    for (const networks::DeclaredNetwork & network : networks) {
        if (network.part == ModelPart::unet) check.refuse_rest(network.prefix, "U-Net", "latent diffusion U-Net");
        if (network.part == ModelPart::vae) {
            check.refuse_rest(network.prefix + "encoder.", "first stage", "KL-f8");
            check.refuse_rest(network.prefix + "decoder.", "first stage", "KL-f8");
        }
        const bool bert = network.part == ModelPart::text_encoder && !network.parameters.unread().empty();
        if (bert) check.refuse_rest(network.prefix, "text encoder", "BERTEmbedder of txt2img-1p4B");
    }
    return check.names();
}

}  // namespace latent::formats
