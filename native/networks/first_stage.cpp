#include "networks/first_stage.h"

#include <algorithm>

#include "core/error.h"

namespace latent::networks {

namespace {

void check_config(const AutoencoderConfig & config) {
    const auto fail = [](const std::string & why) {
        throw Error(ErrorCode::model_format, "The autoencoder configuration is invalid: " + why);
    };
    if (config.kind != "kl" && config.kind != "vq") fail("kind must be \"kl\" or \"vq\"");
    if (config.double_z != (config.kind == "kl")) fail("double_z must be true for kind \"kl\" and false for \"vq\"");
    if (config.kind == "vq" && config.codebook_size < 1) fail("codebook_size is below 1");
    if (config.channels < 32 || config.channels % 32 != 0) fail("channels must be a multiple of 32");
    if (config.in_channels < 1 || config.out_channels < 1 || config.num_res_blocks < 1 || config.z_channels < 1 ||
        config.embed_dim < 1) {
        fail("a count is below 1");
    }
    if (config.channel_mult.empty() || config.channel_mult.size() > 10) fail("channel_mult needs 1 to 10 levels");
    for (const int mult : config.channel_mult) {
        if (mult < 1 || mult > 64) fail("a channel_mult is out of range");
    }
    if (!config.quant_conv && config.embed_dim != config.z_channels)
        fail("embed_dim must equal z_channels if there is no quant_conv");
}

StageBlock declare_block(const Scope & scope, int64_t in, int64_t out) {
    StageBlock w;
    w.norm1 = scope.norm("norm1", in);
    w.conv1 = scope.conv("conv1", in, out, 3);
    w.norm2 = scope.norm("norm2", out);
    w.conv2 = scope.conv("conv2", out, out, 3);
    if (in != out) w.shortcut = scope.conv("nin_shortcut", in, out, 1);
    return w;
}

StageAttention declare_attention(const Scope & scope, int64_t channels) {
    const auto linear = [&](const char * name) { return scope.linear(name, channels, channels, true, LinearForm::conv2d); };
    StageAttention w;
    w.norm = scope.norm("norm", channels);
    w.q = linear("q");
    w.k = linear("k");
    w.v = linear("v");
    w.proj_out = linear("proj_out");
    return w;
}

StageMiddle declare_middle(const Scope & scope, int64_t channels, bool attention) {
    StageMiddle w;
    w.block_1 = declare_block(scope / "block_1", channels, channels);
    if (attention) w.attn_1 = declare_attention(scope / "attn_1", channels);
    w.block_2 = declare_block(scope / "block_2", channels, channels);
    return w;
}

/// `channels`: of the input map; changed to those of the output.
StageLevel declare_level(const AutoencoderConfig & config, const Scope & scope, int level, int64_t & channels, int blocks) {
    StageLevel stage;
    const auto & at = config.attention_levels;
    const bool attends = std::find(at.begin(), at.end(), level) != at.end();
    const int64_t out = int64_t{config.channels} * config.channel_mult[static_cast<size_t>(level)];
    for (int i = 0; i < blocks; ++i) {
        stage.blocks.push_back(declare_block(scope / "block" / i, channels, out));
        channels = out;
        if (attends) stage.attentions.push_back(declare_attention(scope / "attn" / i, channels));
    }
    return stage;
}

}  // namespace

StageLayers declare_first_stage(const AutoencoderConfig & config, ParameterList & list, const std::string & prefix) {
    check_config(config);
    StageLayers l;
    const Scope root(list, prefix), rim = root.keeping(16);
    const int levels = static_cast<int>(config.channel_mult.size());
    const int64_t moments = config.kind == "vq" ? 1 : 2;

    const Scope encoder = root / "encoder";
    int64_t channels = config.channels;
    l.encoder_in = encoder.keeping(16).conv("conv_in", config.in_channels, channels, 3);
    for (int level = 0; level < levels; ++level) {
        const Scope scope = encoder / "down" / level;
        StageLevel stage = declare_level(config, scope, level, channels, config.num_res_blocks);
        if (level + 1 < levels) stage.resample = scope.conv("downsample.conv", channels, channels, 3);
        l.down.push_back(std::move(stage));
    }
    l.encoder_middle = declare_middle(encoder / "mid", channels, config.middle_attention);
    l.encoder_norm = encoder.norm("norm_out", channels);
    l.encoder_out = encoder.keeping(16).conv("conv_out", channels, moments * config.z_channels, 3);

    if (config.quant_conv) {
        l.quant = rim.conv("quant_conv", moments * config.z_channels, moments * config.embed_dim, 1);
        l.post_quant = rim.conv("post_quant_conv", config.embed_dim, config.z_channels, 1);
    }
    if (config.kind == "vq") l.codes = root.table("quantize.embedding.weight", {config.codebook_size, config.embed_dim});

    const Scope decoder = root / "decoder";
    l.decoder_in = decoder.keeping(16).conv("conv_in", config.z_channels, channels, 3);
    l.decoder_middle = declare_middle(decoder / "mid", channels, config.middle_attention);
    for (int level = levels - 1; level >= 0; --level) {
        const Scope scope = decoder / "up" / level;
        StageLevel stage = declare_level(config, scope, level, channels, config.num_res_blocks + 1);
        if (level > 0) stage.resample = scope.conv("upsample.conv", channels, channels, 3);
        l.up.push_back(std::move(stage));
    }
    l.decoder_norm = decoder.norm("norm_out", channels);
    l.decoder_out = decoder.keeping(16).conv("conv_out", channels, config.out_channels, 3);
    return l;
}

}  // namespace latent::networks
