#include <set>

#include "formats/naming/canonical.h"
#include "formats/naming/canonical_layout.h"

namespace latent::formats {

namespace {

std::vector<int64_t> squeezed(std::vector<int64_t> shape) {
    while (shape.size() > 1 && shape.back() == 1) shape.pop_back();
    return shape;
}

std::string shape_text(const std::vector<int64_t> & shape) {
    std::string text = "[";
    for (const int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    return text + "]";
}

/// A network in a sentence, and the option of a load that gives it where it lies in a file of its own.
struct NetworkName {
    std::string what, option;
};

NetworkName conditioner_name(const std::string & kind) {
    if (kind == "clip_text" || kind == "bert_text") return {"the text encoder", "textEncoder"};
    if (kind == "clip_vision") return {"the image encoder", "imageEncoder"};
    return {kind == "class" ? "the class embedder" : "the conditioner", ""};
}

/// "a", "a and b", "a, b and c".
std::string enumerated(const std::vector<std::string> & items) {
    std::string text;
    for (size_t i = 0; i < items.size(); ++i) text += (i == 0 ? "" : i + 1 == items.size() ? " and " : ", ") + items[i];
    return text;
}

class Check {
public:
    Check(const TensorSource & source) : source_(source) {}

    void need(const std::vector<LayoutEntry> & entries, const NetworkName & network) {
        const int before = faults_;
        const bool found = need_each(entries);
        if (!found && faults_ > before) absent_.push_back(network);
    }

    /// `what`: the network that has every tensor below `prefix`.
    void refuse_rest(const std::string & prefix, const char * what, const char * nearest) const {
        std::set<std::string> known(names_.begin(), names_.end());
        known.insert(unused_.begin(), unused_.end());
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
    bool need_each(const std::vector<LayoutEntry> & entries) {
        bool found = false;
        for (const LayoutEntry & entry : entries) {
            const TensorInfo * tensor = source_.find(entry.name);
            found = found || tensor;
            if (entry.unused) {
                unused_.push_back(entry.name);
                continue;
            }
            const bool fits = tensor && squeezed(tensor->shape) == squeezed(entry.shape);
            if (fits) names_.push_back(entry.name);
            if (fits || entry.optional) continue;
            if (++faults_ > kNamedFaults) continue;
            report_ +=
                (report_.empty() ? "" : "; ") + entry.name +
                (tensor ? " has shape " + shape_text(tensor->shape) + " in place of " + shape_text(entry.shape) : " is missing");
        }
        return found;
    }

    /// What is missing as a whole, and how to give it.
    std::string absence() const {
        std::vector<std::string> networks, apart;
        for (const NetworkName & network : absent_) {
            networks.push_back(network.what);
            if (!network.option.empty()) apart.push_back(network.what + " as " + network.option);
        }
        return enumerated(networks) + (networks.size() == 1 ? " is" : " are") +
               " not in what was given. Give the file that holds all of the model as model" +
               (apart.empty() ? "" : ", or " + enumerated(apart)) +
               " (of a file that is given as one part, that part alone is taken)";
    }

    const TensorSource & source_;
    std::vector<std::string> names_, unused_;
    std::vector<NetworkName> absent_;
    std::string report_;
    int faults_ = 0;
};

}  // namespace

std::vector<std::string> check_layout(const ModelSpec & spec, const TensorSource & source) {
    Check check(source);
    if (spec.unet) check.need(unet_layout(*spec.unet), {"the U-Net", "unet"});
    if (spec.first_stage) check.need(first_stage_layout(*spec.first_stage), {"the first stage", "vae"});
    for (const ConditionerConfig & c : spec.conditioners) check.need(conditioner_layout(c), conditioner_name(c.kind));
    check.finish();
    if (spec.unet) check.refuse_rest(unet_prefix, "U-Net", "latent diffusion U-Net");
    if (spec.first_stage) {
        check.refuse_rest(std::string(stage_prefix) + "encoder.", "first stage", "KL-f8");
        check.refuse_rest(std::string(stage_prefix) + "decoder.", "first stage", "KL-f8");
    }
    for (const ConditionerConfig & c : spec.conditioners) {
        if (c.kind == "bert_text" || c.kind == "layout")
            check.refuse_rest(c.prefix, "text encoder", "BERTEmbedder of txt2img-1p4B");
    }
    return check.names();
}

}  // namespace latent::formats
