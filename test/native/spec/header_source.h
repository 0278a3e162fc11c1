#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "formats/naming/check_parameters.h"
#include "formats/spec/detect.h"
#include "networks/encoders.h"
#include "networks/first_stage.h"
#include "networks/unet.h"

// Models without weights: the names and shapes of their files.

using Shape = std::vector<int64_t>;
using List = std::vector<std::pair<std::string, Shape>>;

/// A list of names and shapes without weights: what the header of a file says. `read` gives zeros, and of the tensors in `values`
/// that value everywhere.
class HeaderSource : public latent::TensorSource {
public:
    explicit HeaderSource(const List & list, std::map<std::string, float> values = {}) : values_(std::move(values)) {
        std::vector<latent::TensorInfo> tensors;
        for (const auto & item : list) {
            latent::TensorInfo info;
            info.name = item.first;
            info.dtype = latent::DType::f16;
            info.shape = item.second;
            info.bytes = static_cast<uint64_t>(info.elements()) * 2;
            tensors.push_back(std::move(info));
        }
        name_ = "header";
        set_tensors(std::move(tensors));
    }
    latent::Span<const uint8_t> view(const latent::TensorInfo &) const override { return {}; }
    void read(const latent::TensorInfo & tensor, void * destination) const override {
        const auto found = values_.find(tensor.name);
        const uint16_t bits = latent::float_to_half(found == values_.end() ? 0.0f : found->second);
        std::fill_n(static_cast<uint16_t *>(destination), tensor.elements(), bits);
    }

private:
    std::map<std::string, float> values_;
};

/// What files of such a network hold.
inline void append(List & list, const latent::ParameterList & parameters) {
    for (const auto & parameter : parameters.all()) list.push_back({parameter->name, parameter->shape});
    for (const auto & parameter : parameters.unread()) list.push_back({parameter.name, parameter.shape});
}

/// One network by its declaration: declared(declare_unet, config, "model.diffusion_model.").
template <typename Declare, typename Config>
List declared(const Declare & declare, const Config & config, const std::string & prefix) {
    latent::ParameterList parameters;
    declare(config, parameters, prefix);
    List list;
    append(list, parameters);
    return list;
}

inline void append(List & list, const List & more) {
    list.insert(list.end(), more.begin(), more.end());
}

/// The averaged copies of the U-Net's weights.
inline void append_ema(List & list) {
    const std::string root = "model.";
    const size_t count = list.size();
    for (size_t i = 0; i < count; ++i) {
        if (list[i].first.compare(0, root.size(), root) != 0) continue;
        std::string key = list[i].first.substr(root.size());
        key.erase(std::remove(key.begin(), key.end(), '.'), key.end());
        list.push_back({"model_ema." + key, list[i].second});
    }
}

inline int64_t elements(const List & list) {
    int64_t count = 0;
    for (const auto & item : list) {
        int64_t product = 1;
        for (const int64_t size : item.second) product *= size;
        count += product;
    }
    return count;
}

/// What opening such a file would find, with every check that it would make.
inline latent::formats::Detection detect_list(const List & list, const std::map<std::string, float> & values = {}) {
    const auto source = std::make_shared<HeaderSource>(list, values);
    latent::formats::refuse_other_kinds(*source);
    const latent::formats::CanonicalModel model = latent::formats::canonicalise({{source, latent::formats::Part::whole}});
    latent::formats::Detection found = latent::formats::detect(model);
    require_known(found, latent::Json(), "header");
    validate(found.spec);
    latent::formats::check_parameters(*latent::networks::declare_networks(found.spec), *model.tensors);
    return found;
}
