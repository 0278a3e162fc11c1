#include <set>

#include "formats/canonical.h"
#include "formats/canonical_layout.h"

namespace latent::formats {

namespace {

std::vector<int64_t> squeezed(std::vector<int64_t> shape) {
    while (shape.size() > 1 && shape.back() == 1) shape.pop_back();
    return shape;
}

std::string shown(const std::vector<int64_t> & shape) {
    std::string text = "[";
    for (const int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    return text + "]";
}

class Check {
public:
    Check(const TensorSource & source) : source_(source) {}

    void need(const std::vector<LayoutEntry> & entries) {
        for (const LayoutEntry & entry : entries) {
            const TensorInfo * tensor = source_.find(entry.name);
            if (entry.unused) {
                unused_.push_back(entry.name);
                continue;
            }
            const bool fits = tensor && squeezed(tensor->shape) == squeezed(entry.shape);
            if (fits) names_.push_back(entry.name);
            if (fits || entry.optional) continue;
            ++faults_;
            if (report_.size() > 600) continue;
            report_ += (report_.empty() ? "" : "; ") + entry.name +
                       (tensor ? " has shape " + shown(tensor->shape) + " in place of " + shown(entry.shape) : " is missing");
        }
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
        throw Error(ErrorCode::model_format,
                    source_.name() + ": " + std::to_string(faults_) + " tensors do not fit the model's specification: " +
                        report_ + ". The file is incomplete, or the configuration belongs to another model",
                    Json{{"faults", faults_}}.dump());
    }

    const std::vector<std::string> & names() const { return names_; }

private:
    const TensorSource & source_;
    std::vector<std::string> names_, unused_;
    std::string report_;
    int faults_ = 0;
};

}  // namespace

std::vector<std::string> check_layout(const ModelSpec & spec, const TensorSource & source) {
    Check check(source);
    if (spec.unet) check.need(unet_layout(*spec.unet));
    if (spec.first_stage) check.need(first_stage_layout(*spec.first_stage));
    for (const ConditionerConfig & c : spec.conditioners) check.need(conditioner_layout(c));
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
