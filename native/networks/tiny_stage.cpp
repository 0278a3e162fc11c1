#include "networks/tiny_stage.h"

#include <algorithm>

#include "core/error.h"

namespace latent::networks {

namespace {

void check_tiny(const AutoencoderConfig & c) {
    const auto fail = [](const std::string & why) {
        throw Error(ErrorCode::model_format, "The tiny autoencoder configuration is invalid: " + why);
    };
    if (c.kind != "tiny") fail("kind must be \"tiny\"");
    if (c.channels < 1 || c.in_channels < 1 || c.out_channels < 1 || c.num_res_blocks < 1) fail("a count is below 1");
    if (c.z_channels < 1 || c.z_channels != c.embed_dim) fail("z_channels and embed_dim must be equal");
    if (c.channel_mult.empty() || c.channel_mult.size() > 10) fail("channel_mult needs 1 to 10 levels");
    for (const int mult : c.channel_mult) {
        if (mult != 1) fail("all levels must have the same channels");
    }
    if (c.double_z || c.quant_conv) fail("double_z and quant_conv must be false");
}

/// Number of blocks of a level; level 0 has the image's resolution.
int blocks_at(const AutoencoderConfig & config, int level) {
    return level == 0 ? 1 : config.num_res_blocks;
}

void declare_blocks(TinyLevel & level, const Scope & half, int & index, int64_t channels, int count) {
    for (int i = 0; i < count; ++i) {
        const Scope at = half / index++ / "conv";
        level.blocks.push_back(
            {at.conv("0", channels, channels, 3), at.conv("2", channels, channels, 3), at.conv("4", channels, channels, 3)});
    }
}

}  // namespace

TinyLayers declare_tiny_stage(const AutoencoderConfig & config, ParameterList & list, const std::string & prefix) {
    check_tiny(config);
    TinyLayers l;
    const Scope root(list, prefix);
    const int64_t channels = config.channels;
    const int levels = static_cast<int>(config.channel_mult.size());
    if (config.encoder) {
        const Scope encoder = root / "encoder", rim = encoder.keeping(16);
        int index = 0;
        l.encoder_in = rim.conv(std::to_string(index++), config.in_channels, channels, 3);
        for (int level = 0; level < levels; ++level) {
            TinyLevel one;
            if (level > 0) one.resample = encoder.conv(std::to_string(index++), channels, channels, 3, false);
            declare_blocks(one, encoder, index, channels, blocks_at(config, level));
            l.down.push_back(std::move(one));
        }
        l.encoder_out = rim.conv(std::to_string(index), channels, config.z_channels, 3);
    }
    const Scope decoder = root / "decoder", rim = decoder.keeping(16);
    int index = 1;  // 0 clamps the latents
    l.decoder_in = rim.conv(std::to_string(index), config.z_channels, channels, 3);
    index += 2;  // a ReLU
    for (int level = levels - 1; level >= 0; --level) {
        TinyLevel one;
        if (level + 1 < levels) {
            ++index;  // the upsampling
            one.resample = decoder.conv(std::to_string(index++), channels, channels, 3, false);
        }
        declare_blocks(one, decoder, index, channels, blocks_at(config, level));
        l.up.push_back(std::move(one));
    }
    l.decoder_out = rim.conv(std::to_string(index), channels, config.out_channels, 3);
    return l;
}

int tiny_stage_halo(const AutoencoderConfig & config) {
    const int levels = static_cast<int>(config.channel_mult.size());
    const int unit = 1 << (levels - 1);  // image pixels in a latent pixel
    int reach = unit + 1;                // image pixels: the first and the last convolution
    for (int level = 0; level < levels; ++level) {
        const int resample = level > 0 ? 1 << (level - 1) : 0;
        reach += (1 << level) * 3 * blocks_at(config, level) + resample;
    }
    return (reach + unit - 1) / unit;
}

}  // namespace latent::networks
