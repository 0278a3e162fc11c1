#include "models/class_embedder.h"

namespace latent::models {

using graph::Ops;

ClassEmbedder::ClassEmbedder(const ClassConfig & config, graph::DevicePtr device, const std::string & prefix)
    : TokenEncoder(device, ModelPart::conditioner),
      config_(class_config(to_json(config))),
      table_(networks::declare_class_table(config, weights_.declared(), prefix)) {}

void ClassEmbedder::build(Ops & ops, int64_t batch) const {
    ops.output("context", ops.embed(ops.input_ids("ids", 1, batch), table_));
}

void ClassEmbedder::forward(Span<const int32_t> ids, int64_t batch, int64_t length, int clip_skip, Span<float> context,
                            const JobContext & job) {
    if (clip_skip != 0)
        throw Error(ErrorCode::invalid_argument, "clip skip is for CLIP text encoders; this model is conditioned on classes");
    check(ids, batch, length, context.size());
    graph::Graph & graph = runner_.prepare(std::to_string(batch), [&](Ops & ops) { build(ops, batch); });
    graph.set_input("ids", ids);
    graph.compute(*job.cancel);
    graph.get_output("context", context);
}

graph::GraphMeasure ClassEmbedder::measure(int64_t batch, int64_t) const {
    return runner_.measure([&](Ops & ops) { build(ops, batch); });
}

}  // namespace latent::models
