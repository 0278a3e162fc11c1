#include "check.h"
#include "checks.h"
#include "formats/model_files.h"
#include "models/unet.h"

// U-Nets whose blocks differ within a level and between the halves, from both namings of their files. What the names do not say
// (heads, schedule, scale) is given, as these small ones are in no table.

using namespace latent;

namespace {

struct Shape {
    const char * name;
    const char * middle;
    std::vector<int> depth, input, output;  // per level; per entry where a level does not say it
    bool reads_context_twice;
};

std::vector<Shape> shapes() {
    return {{"unet-ssd1b", "res_block", {0, 2, 4}, {}, {4, 4, 6, 2, 1, 1, 0, 0, 0}, false},
            {"unet-vega", "res_block", {0, 1, 2}, {}, {}, false},
            {"unet-koala700m", "none", {0, 2, 5}, {}, {}, false},
            {"unet-koala1b", "full", {0, 2, 6}, {}, {}, false},
            {"unet-sdxs09", "none", {1}, {}, {}, true},
            {"unet-sdxs-dreamshaper", "none", {1}, {}, {}, false},
            {"unet-bksdm-small", "none", {1}, {}, {}, false}};
}

formats::OpenedModel open_unet(const golden::Case & c, const std::string & layout, const std::string & folder) {
    formats::ModelParts parts;
    parts.model = golden::write_layout(c, layout, folder);
    const Json & config = c.config().at("unet");
    Json unet = Json::object();
    if (config.contains("num_heads")) unet["numHeads"] = config["num_heads"];
    if (config.contains("num_head_channels")) unet["numHeadChannels"] = config["num_head_channels"];
    parts.spec = {{"schedule", {{"betaStart", 0.00085}, {"betaEnd", 0.012}}}, {"scaleFactor", 0.18215}};
    if (layout == "compvis") parts.spec["unet"] = unet;  // diffusers' folders say it themselves
    return open_model(parts);
}

void check_eps(const golden::Case & c, const formats::OpenedModel & model, const std::string & what) {
    const golden::Values x = golden::input(c, "x"), context = golden::input(c, "context"), t = golden::input(c, "t");
    const std::vector<double> timesteps(t.data.begin(), t.data.end());
    models::DenoisingInput input;
    input.shape = {x.shape[0], x.shape[2], x.shape[3], context.shape[1]};
    input.x = x.data;
    input.timesteps = timesteps;
    input.context = context.data;
    golden::Values vector;
    if (model.spec.unet->class_embedding == "vector") vector = golden::input(c, "vector");
    input.vector = vector.data;
    models::UNet unet(*model.spec.unet, cpu());
    unet.weights().plan(model.tensors, exact);
    unet.weights().load({});
    const golden::Tensor expected = expected_of(c, "eps");
    std::vector<float> out(expected.data.size());
    unet.forward(input, out, JobContext{});
    within(what, golden::max_difference(out, expected), expected.atol);
}

}  // namespace

TEST(distilled_unets_by_their_names) {
    for (const Shape & shape : shapes()) {
        const golden::Case c = golden::load(shape.name);
        for (const std::string layout : {"compvis", "diffusers"}) {
            const golden::TempFolder folder;
            const formats::OpenedModel model = open_unet(c, layout, folder.path());
            const UNetConfig & unet = *model.spec.unet;
            CHECK(unet.middle == shape.middle);
            CHECK(unet.transformer_depth == shape.depth);
            CHECK(unet.transformer_depth_input == shape.input);
            CHECK(unet.transformer_depth_output == shape.output);
            CHECK(unet.self_attends(0) == !shape.reads_context_twice && unet.self_attends(1));
            check_eps(c, model, std::string(shape.name) + ' ' + layout);
        }
    }
}

TEST(a_distilled_unet_survives_its_specification) {
    const golden::Case c = golden::load("unet-ssd1b");
    const golden::TempFolder folder;
    const formats::OpenedModel model = open_unet(c, "compvis", folder.path());
    const ModelSpec back = spec_from_json(to_json(model.spec));
    CHECK(to_json(back) == to_json(model.spec) && back.unet->output_depth(2, 2) == 6 && !back.unet->output_depth(0, 0));
    Json short_list = to_json(model.spec);
    short_list["unet"]["transformerDepthOutput"].erase(0);
    CHECK_THROWS(spec_from_json(short_list), ErrorCode::model_format);
    Json middle = to_json(model.spec);
    middle["unet"]["middle"] = "half";
    CHECK_THROWS(spec_from_json(middle), ErrorCode::model_format);
}
