#include "networks/declared.h"

#include "networks/encoders.h"
#include "networks/first_stage.h"
#include "networks/tiny_stage.h"
#include "networks/unet.h"

namespace latent::networks {

namespace {

DeclaredNetwork network_of(ModelPart part, const std::string & prefix) {
    DeclaredNetwork network;
    network.part = part;
    network.title = traits_of(part).title;
    network.prefix = prefix;
    return network;
}

}  // namespace

DeclaredNetwork declare_conditioner(const ConditionerConfig & c) {
    const bool text = c.kind == "clip_text" || c.kind == "bert_text" || c.kind == "layout";
    DeclaredNetwork network = network_of(text                      ? ModelPart::text_encoder
                                         : c.kind == "clip_vision" ? ModelPart::image_encoder
                                                                   : ModelPart::conditioner,
                                         c.prefix);
    ParameterList & list = network.parameters;
    if (c.kind == "clip_text") {
        declare_clip_text(c.clip, list, c.prefix);
    } else if (c.kind == "bert_text" || c.kind == "layout") {
        declare_bert(bert_config(c.params), list, c.prefix);
    } else if (c.kind == "clip_vision") {
        declare_clip_vision(clip_vision_config(c.params), list, c.prefix);
    } else if (c.kind == "class") {
        network.title = "the class embedder";
        declare_class_table(class_config(c.params), list, c.prefix);
    } else if (c.kind == "spatial_rescaler") {
        declare_rescaler(rescaler_config(c.params), list, c.prefix);
    }
    return network;
}

DeclaredNetworks declare_networks(const ModelSpec & spec) {
    std::vector<DeclaredNetwork> networks;
    if (spec.unet) {
        networks.push_back(network_of(ModelPart::unet, unet_prefix));
        declare_unet(*spec.unet, networks.back().parameters, unet_prefix);
    }
    if (spec.first_stage) {
        networks.push_back(network_of(ModelPart::vae, stage_prefix));
        ParameterList & list = networks.back().parameters;
        if (spec.first_stage->kind == "tiny") {
            declare_tiny_stage(*spec.first_stage, list, stage_prefix);
        } else {
            declare_first_stage(*spec.first_stage, list, stage_prefix);
        }
    }
    for (const ConditionerConfig & c : spec.conditioners) {
        DeclaredNetwork network = declare_conditioner(c);
        if (!network.parameters.all().empty()) networks.push_back(std::move(network));
    }
    return std::make_shared<const std::vector<DeclaredNetwork>>(std::move(networks));
}

DeclaredTensor find_declared(const std::vector<DeclaredNetwork> & networks, const std::string & name) {
    for (const DeclaredNetwork & network : networks) {
        if (const Parameter * parameter = network.parameters.find(name)) return {parameter, network.part};
    }
    return {};
}

}  // namespace latent::networks
