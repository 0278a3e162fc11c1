#include "reference.h"

#include <algorithm>

namespace kernel_tests {

/// Blocks like those of quantised types: what is not read from the start of a block comes out wrong, as values lie in reverse.
template <int64_t kBlock>
static void use_blocks(StoredMatrix & m) {
    float * values = reinterpret_cast<float *>(m.bytes.data());
    for (size_t i = 0; i < m.full.size(); i += kBlock) std::reverse(values + i, values + i + kBlock);
    m.matrix.block = kBlock, m.matrix.block_bytes = kBlock * 4;
    m.matrix.to_float = [](const void * blocks, float * target, int64_t count) {
        for (int64_t i = 0; i < count; ++i)
            target[i] = static_cast<const float *>(blocks)[i / kBlock * kBlock + kBlock - 1 - i % kBlock];
    };
}

StoredMatrix stored(int64_t rows, int64_t k, Element type) {
    StoredMatrix out;
    out.full = random_values(rows * k);
    for (float & value : out.full) value /= std::sqrt(static_cast<float>(k));
    const int64_t size = type == Element::f16 || type == Element::bf16 ? 2 : 4;
    out.bytes.resize(static_cast<size_t>(rows * k * size));
    for (size_t i = 0; i < out.full.size(); ++i) {
        if (size == 2) {
            const uint16_t bits = type == Element::f16 ? float_to_half(out.full[i]) : float_to_bfloat(out.full[i]);
            reinterpret_cast<uint16_t *>(out.bytes.data())[i] = bits;
            out.full[i] = type == Element::f16 ? half_to_float(bits) : bfloat_to_float(bits);
        } else {
            reinterpret_cast<float *>(out.bytes.data())[i] = out.full[i];
        }
    }
    out.matrix = {out.bytes.data(), rows, k, k * size, type};
    if (type == Element::other) k % 256 == 0 ? use_blocks<256>(out) : k % 32 == 0 ? use_blocks<32>(out) : use_blocks<1>(out);
    return out;
}

std::vector<double> reference_attention(const AttentionShape & s, const std::vector<float> & q, const std::vector<float> & k,
                                        const std::vector<float> & v) {
    const int64_t width = s.heads * s.dim;
    std::vector<double> out(q.size()), scores(static_cast<size_t>(s.keys)), sums(static_cast<size_t>(s.dim));
    for (int64_t row = 0; row < s.batch * s.queries * s.heads; ++row) {
        const int64_t h = row % s.heads, batch = row / s.heads / s.queries;
        const float * query = q.data() + row / s.heads * width + h * s.dim;
        const int64_t keys = batch * s.keys * width + h * s.dim;
        const int64_t seen = s.causal ? std::min(s.keys, row / s.heads % s.queries + 1) : s.keys;
        double highest = -INFINITY, total = 0;
        for (int64_t j = 0; j < seen; ++j) {
            double dot = 0;
            for (int64_t d = 0; d < s.dim; ++d)
                dot += static_cast<double>(query[d]) * k[static_cast<size_t>(keys + j * width + d)];
            scores[static_cast<size_t>(j)] = dot / std::sqrt(static_cast<double>(s.dim));
            highest = std::max(highest, scores[static_cast<size_t>(j)]);
        }
        std::fill(sums.begin(), sums.end(), 0.0);
        for (int64_t j = 0; j < seen; ++j) {
            const double p = std::exp(scores[static_cast<size_t>(j)] - highest);
            total += p;
            for (int64_t d = 0; d < s.dim; ++d) sums[static_cast<size_t>(d)] += p * v[static_cast<size_t>(keys + j * width + d)];
        }
        for (int64_t d = 0; d < s.dim; ++d)
            out[static_cast<size_t>(row / s.heads * width + h * s.dim + d)] = sums[static_cast<size_t>(d)] / total;
    }
    return out;
}

ConvShape random_conv(int round, int64_t most_channels) {
    ConvShape s;
    s.n = pick(1, 2), s.in = pick(1, most_channels), s.out = pick(1, 2 * most_channels);
    s.height = pick(2, 13), s.width = pick(2, 21);
    s.kernel = round % 3 == 0 ? 1 : round % 7 == 4 ? 5 : 3;
    s.stride = round % 4 == 1 ? 2 : 1;
    s.upsample = s.stride == 1 && round % 5 == 2;
    s.pad_left = s.pad_top = round % 8 == 5 ? 0 : (s.kernel - 1) / 2;  // 0 with stride 2: padded right and bottom only
    if (s.upsample && round % 2 == 0) s.crop_width = 2 * s.width - 1, s.crop_height = 2 * s.height - 1;
    const int64_t height = s.crop_height ? s.crop_height : s.height * (s.upsample ? 2 : 1);
    const int64_t width = s.crop_width ? s.crop_width : s.width * (s.upsample ? 2 : 1);
    s.out_height = (height - 1) / s.stride + 1, s.out_width = (width - 1) / s.stride + 1;
    return s;
}

std::vector<double> reference_conv(const ConvShape & s, const std::vector<float> & x, const std::vector<float> & w) {
    std::vector<double> out;
    const int scale = s.upsample ? 2 : 1;
    const int64_t height = s.crop_height ? s.crop_height : s.height * scale,
                  width = s.crop_width ? s.crop_width : s.width * scale;
    for (int64_t p = 0; p < s.pixels(); ++p) {
        const int64_t n = p / (s.out_width * s.out_height), y = p / s.out_width % s.out_height, px = p % s.out_width;
        for (int64_t o = 0; o < s.out; ++o) {
            double sum = 0;
            for (int tap = 0; tap < s.taps(); ++tap) {
                const int64_t iy = y * s.stride + tap / s.kernel - s.pad_top, ix = px * s.stride + tap % s.kernel - s.pad_left;
                if (iy < 0 || ix < 0 || iy >= height || ix >= width) continue;
                const float * pixel = x.data() + ((n * s.height + iy / scale) * s.width + ix / scale) * s.in;
                for (int64_t c = 0; c < s.in; ++c)
                    sum += static_cast<double>(pixel[c]) * w[static_cast<size_t>((o * s.in + c) * s.taps() + tap)];
            }
            out.push_back(sum);
        }
    }
    return out;
}

void apply_epilogue(const ConvShape & s, const Epilogue & e, std::vector<double> & out) {
    for (size_t i = 0; i < out.size(); ++i) {
        const int64_t o = static_cast<int64_t>(i) % s.out, n = static_cast<int64_t>(i) / s.out / (s.out_width * s.out_height);
        const double sum = out[i] * (e.gain ? e.gain[o] : 1.0f) + (e.bias ? e.bias[o] : 0.0f) +
                           (e.channel_add ? e.channel_add[n * s.out + o] : 0.0f);
        out[i] = exact_gate(sum, e.activation) + (e.residual ? e.residual[i] : 0.0f);
    }
}

std::vector<uint8_t> in_form(const RowKernels & kernels, const std::vector<float> & x, int64_t channels, Form form) {
    RowSource source;
    source.data[0] = x.data(), source.channels[0] = channels;
    RowFormat format;
    format.form = form, format.channels = channels, format.rows = static_cast<int64_t>(x.size()) / channels;
    std::vector<uint8_t> out(static_cast<size_t>(format.bytes()));
    for (int thread = 0; thread < 3; ++thread) convert_rows(kernels, source, format, out.data(), {thread, 3});
    return out;
}

}  // namespace kernel_tests
