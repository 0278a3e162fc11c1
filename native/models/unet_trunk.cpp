#include "models/unet_trunk.h"

#include "models/unet_layers.h"

namespace latent::models {

using graph::Activation;
using graph::Map;
using graph::Ops;
using graph::Seq;

namespace {

Seq embedding(Ops & ops, const UNetConfig & config, const networks::UNetTrunk & l, int64_t n) {
    Seq emb = ops.input_seq("timestep", config.model_channels, 1, n);
    if (l.guidance)
        emb = ops.linear(ops.input_seq("guidance", config.guidance_embed_dim, 1, n), *l.guidance, {Activation::none, emb});
    emb = ops.linear(emb, l.time_0, {Activation::silu, {}});
    emb = ops.linear(emb, l.time_2, {});
    if (l.class_table) emb = ops.add(emb, ops.embed(ops.input_ids("class", 1, n), *l.class_table));
    if (l.vector_0) {
        const Seq hidden = ops.linear(ops.input_seq("vector", config.vector_dim, 1, n), *l.vector_0, {Activation::silu, {}});
        emb = ops.linear(hidden, *l.vector_2, {Activation::none, emb});
    }
    return ops.activation(emb, Activation::silu);  // the first operation of every ResBlock
}

}  // namespace

TrunkMaps unet_trunk(Ops & ops, const UNetConfig & config, const networks::UNetTrunk & layers, const DenoisingShape & shape,
                     const OnSkip & on_skip) {
    TrunkMaps maps;
    maps.emb = embedding(ops, config, layers, shape.batch);
    Map h = ops.conv(ops.input_map("x", shape.width, shape.height, config.in_channels, shape.batch), layers.input, {});
    // Returns false if the trunk ends.
    const auto keep = [&] {
        const SkipStep step = on_skip(static_cast<int>(maps.skips.size()), h);
        h = step.map;
        maps.skips.push_back(h);
        return !step.last;
    };
    if (!keep()) return maps;
    for (const networks::UNetLevel & level : layers.down) {
        for (const networks::UNetEntry & entry : level.entries) {
            h = res_block(ops, h, maps.emb, entry.res);
            if (entry.attention) h = attention(ops, h, shape.tokens, *entry.attention);
            if (!keep()) return maps;
        }
        if (level.resample) {
            h = resample(ops, h, maps.emb, *level.resample);
            if (!keep()) return maps;
        }
    }
    if (layers.middle_in) h = res_block(ops, h, maps.emb, *layers.middle_in);
    if (layers.middle) h = attention(ops, h, shape.tokens, *layers.middle);
    if (layers.middle_out) h = res_block(ops, h, maps.emb, *layers.middle_out);
    maps.middle = h;
    return maps;
}

}  // namespace latent::models
