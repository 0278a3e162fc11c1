#include "models/unet_up_path.h"

#include "models/unet_layers.h"

namespace latent::models {

using graph::Activation;
using graph::Map;
using graph::Ops;

void unet_up_path(Ops & ops, const networks::UNetLayers & layers, const DenoisingShape & shape, const UNetPass & pass,
                  TrunkMaps trunk) {
    const bool outer = pass.kind == UNetPass::Kind::outer;
    Map h = trunk.middle;
    // Output block i takes the i-th skip connection from the end.
    int ahead = static_cast<int>(layers.trunk.skip_channels.size());
    for (const networks::UNetLevel & level : layers.up) {
        for (const networks::UNetEntry & entry : level.entries) {
            const bool seam = --ahead == pass.branch;
            if (outer && ahead > pass.branch) continue;
            const Map skip = trunk.skips.back();
            if (outer && seam) {
                const int64_t channels = entry.res.conv_in.in - skip.channels;
                h = ops.to_map(ops.input_seq("features", channels, skip.width * skip.height, shape.batch), skip.width,
                               skip.height);
            } else if (seam && pass.kind == UNetPass::Kind::keep_features) {
                ops.output("features", ops.to_seq(h));
            }
            h = ops.concat(h, skip);
            trunk.skips.pop_back();
            h = res_block(ops, h, trunk.emb, entry.res);
            if (entry.attention) h = attention(ops, h, shape.tokens, *entry.attention);
        }
        if (level.resample && !(outer && ahead > pass.branch))
            h = resample(ops, h, trunk.emb, *level.resample, trunk.skips.back());
    }

    h = ops.group_norm(h, layers.norm_out, {32, 1e-5f, Activation::silu, {}, {}});
    ops.output("out", ops.conv(h, layers.output, {}));
}

}  // namespace latent::models
