#include "kernels/common/rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/common/scratch.h"

namespace latent::kernels {
namespace {

/// Accepts rows as float32 and stores them in the requested form.
class RowWriter {
public:
    RowWriter(const RowKernels & kernels, const RowFormat & format, void * out)
        : kernels_(kernels),
          format_(format),
          blocks_(format.channels),
          out_(static_cast<uint8_t *>(out)),
          row_bytes_(format.row_bytes()),
          buffer_(static_cast<float *>(scratch(Scratch::float_row, static_cast<size_t>(2 * format.channels) * sizeof(float)))) {}

    /// Where row `index` may be written as float32.
    float * begin(int64_t index) const {
        return format_.form == Form::f32 ? reinterpret_cast<float *>(out_ + index * row_bytes_) : buffer_;
    }
    /// Buffer for a row that is read.
    float * spare() const { return buffer_ + format_.channels; }

    void end(int64_t index, const float * values) const {
        uint8_t * row = out_ + index * row_bytes_;
        switch (format_.form) {
            case Form::f32:
                if (values != reinterpret_cast<float *>(row)) std::memcpy(row, values, static_cast<size_t>(row_bytes_));
                break;
            case Form::bf16: kernels_.tiles->convert_row(values, Element::f32, format_.channels, row_bytes_ / 2, row); break;
            case Form::int8: {
                Int8Scale * scales = reinterpret_cast<Int8Scale *>(out_ + format_.scales_at()) + index * blocks_.count;
                for (int64_t b = 0; b < blocks_.count; ++b) {
                    const int64_t first = b * blocks_.block_lanes * 4,
                                  last = std::min(first + blocks_.block_lanes * 4, blocks_.lanes * 4);
                    scales[b] = kernels_.int8->quantise(values + first, std::min(last, format_.channels) - first, last - first,
                                                        row + first);
                }
                break;
            }
        }
    }

private:
    const RowKernels & kernels_;
    const RowFormat & format_;
    Int8Blocks blocks_;
    uint8_t * out_;
    int64_t row_bytes_;
    float * buffer_;
};

struct Range {
    int64_t first, last;
    Range(int64_t count, Share share)
        : first(count * share.thread / share.threads), last(count * (share.thread + 1) / share.threads) {}
};

/// Combines mean and sum of squared differences of two sets of values (Chan et al.).
struct Moments {
    double count = 0, mean = 0, squares = 0;

    void add(double n, double m, double s) {
        const double total = count + n, difference = m - mean;
        squares += s + difference * difference * count * n / total;
        mean += difference * n / total;
        count = total;
    }
};

}  // namespace

int64_t RowFormat::row_bytes() const {
    switch (form) {
        case Form::f32: return channels * 4;
        case Form::bf16: return (channels + 1) / 2 * 4;
        case Form::int8: return Int8Blocks(channels).row_bytes();
    }
    return 0;
}

int64_t RowFormat::scales_at() const {
    return (rows * row_bytes() + 63) / 64 * 64;
}

int64_t RowFormat::bytes() const {
    if (form != Form::int8) return rows * row_bytes();
    return scales_at() + rows * Int8Blocks(channels).count * static_cast<int64_t>(sizeof(Int8Scale));
}

const float * RowSource::row(const VectorSet & vectors, int64_t index, float * buffer) const {
    if (half) {
        vectors.widen(half + index * ((channels[0] + 1) / 2 * 2), buffer, channels[0]);
        return buffer;
    }
    const float * first = data[0] + index * channels[0];
    if (channels[1] == 0) return first;
    std::memcpy(buffer, first, static_cast<size_t>(channels[0]) * sizeof(float));
    std::memcpy(buffer + channels[0], data[1] + index * channels[1], static_cast<size_t>(channels[1]) * sizeof(float));
    return buffer;
}

void convert_rows(const RowKernels & kernels, const RowSource & x, const RowFormat & format, void * out, Share share) {
    const RowWriter writer(kernels, format, out);
    const Range range(format.rows, share);
    for (int64_t row = range.first; row < range.last; ++row) writer.end(row, x.row(*kernels.vectors, row, writer.begin(row)));
}

int64_t GroupNormShape::chunk() const {
    return std::max<int64_t>(64, (pixels + 255) / 256);
}

void group_moments(const VectorSet & vectors, const GroupNormShape & s, const RowSource & x, float * moments, Share share) {
    const int64_t per_group = s.channels / s.groups;
    std::vector<float> mean(static_cast<size_t>(s.channels)), squares(mean.size());
    for (int64_t task = share.thread; task < s.n * s.chunks(); task += share.threads) {
        const int64_t first = task % s.chunks() * s.chunk(), rows = std::min(s.chunk(), s.pixels - first);
        const int64_t row = task / s.chunks() * s.pixels + first;
        int64_t at = 0;
        for (int i = 0; i < 2; at += x.channels[i++]) {
            if (x.channels[i] == 0) continue;
            vectors.column_moments(x.data[i] + row * x.channels[i], x.channels[i], rows, x.channels[i], mean.data() + at,
                                   squares.data() + at);
        }
        for (int g = 0; g < s.groups; ++g) {
            Moments all;
            for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c)
                all.add(static_cast<double>(rows), mean[static_cast<size_t>(c)], squares[static_cast<size_t>(c)]);
            moments[(task * s.groups + g) * 2] = static_cast<float>(all.mean);
            moments[(task * s.groups + g) * 2 + 1] = static_cast<float>(all.squares);
        }
    }
}

void group_norm(const RowKernels & kernels, const GroupNormShape & s, const RowSource & x, const float * moments,
                const float * weight, const float * bias, const float * scale, const float * shift, Form form, void * out,
                Share share) {
    const int64_t per_group = s.channels / s.groups;
    const RowFormat format{form, s.n * s.pixels, s.channels};
    const RowWriter writer(kernels, format, out);
    const Range range(format.rows, share);
    std::vector<float> factors(static_cast<size_t>(s.channels)), offsets(factors.size());
    int64_t image = -1;
    for (int64_t row = range.first; row < range.last; ++row) {
        if (row / s.pixels != image) {
            image = row / s.pixels;
            for (int g = 0; g < s.groups; ++g) {
                Moments all;
                for (int64_t chunk = 0; chunk < s.chunks(); ++chunk) {
                    const float * m = moments + ((image * s.chunks() + chunk) * s.groups + g) * 2;
                    const int64_t size = std::min(s.chunk(), s.pixels - chunk * s.chunk()) * per_group;
                    all.add(static_cast<double>(size), m[0], m[1]);
                }
                const double factor = 1.0 / std::sqrt(all.squares / all.count + static_cast<double>(s.eps));
                for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c) {
                    const double up = scale ? 1.0 + static_cast<double>(scale[image * s.channels + c]) : 1.0;
                    const double a = factor * weight[c] * up;
                    const double b =
                        bias[c] * up + (shift ? static_cast<double>(shift[image * s.channels + c]) : 0.0) - all.mean * a;
                    factors[static_cast<size_t>(c)] = static_cast<float>(a);
                    offsets[static_cast<size_t>(c)] = static_cast<float>(b);
                }
            }
        }
        float * values = writer.begin(row);
        int64_t at = 0;
        for (int i = 0; i < 2; at += x.channels[i++]) {
            if (x.channels[i] == 0) continue;
            kernels.vectors->affine(x.data[i] + row * x.channels[i], values + at, x.channels[i], factors.data() + at,
                                    offsets.data() + at, s.gate);
        }
        writer.end(row, values);
    }
}

void affine_rows(const RowKernels & kernels, const float * x, int64_t pixels, const float * scale, const float * shift, Gate gate,
                 const RowFormat & format, void * out, Share share) {
    const RowWriter writer(kernels, format, out);
    const Range range(format.rows, share);
    const int64_t channels = format.channels;
    for (int64_t row = range.first; row < range.last; ++row) {
        const int64_t picture = row / pixels * channels;
        float * values = writer.begin(row);
        kernels.vectors->affine(x + row * channels, values, channels, scale + picture, shift + picture, gate);
        writer.end(row, values);
    }
}

void activate_rows(const RowKernels & kernels, const float * x, Gate gate, const RowFormat & format, void * out, Share share) {
    const RowWriter writer(kernels, format, out);
    const Range range(format.rows, share);
    for (int64_t row = range.first; row < range.last; ++row) {
        float * values = writer.begin(row);
        Finishing f;
        f.columns = format.channels, f.sums = x + row * format.channels, f.gate = gate, f.out = values;
        kernels.vectors->finish(f);
        writer.end(row, values);
    }
}

void layer_norm(const RowKernels & kernels, const float * x, float eps, const float * weight, const float * bias,
                const RowFormat & format, void * out, Share share) {
    const RowWriter writer(kernels, format, out);
    const Range range(format.rows, share);
    for (int64_t row = range.first; row < range.last; ++row) {
        const float * in = x + row * format.channels;
        float mean = 0, variance = 0, *values = writer.begin(row);
        kernels.vectors->moments(in, format.channels, &mean, &variance);
        kernels.vectors->normalise(in, values, format.channels, mean, 1.0f / std::sqrt(variance + eps), weight, bias);
        writer.end(row, values);
    }
}

void geglu(const RowKernels & kernels, const float * x, const RowFormat & format, void * out, Share share) {
    const RowWriter writer(kernels, format, out);
    const Range range(format.rows, share);
    for (int64_t row = range.first; row < range.last; ++row) {
        const float * in = x + row * 2 * format.channels;
        float * values = writer.begin(row);
        kernels.vectors->geglu(in, in + format.channels, values, format.channels);
        writer.end(row, values);
    }
}

void planes_to_rows(const float * x, int64_t n, int64_t channels, int64_t pixels, float * out, Share share) {
    const Range range(n * pixels, share);
    for (int64_t c = 0; c < channels; ++c) {
        for (int64_t row = range.first; row < range.last; ++row)
            out[row * channels + c] = x[(row / pixels * channels + c) * pixels + row % pixels];
    }
}

void rows_to_planes(const float * x, int64_t n, int64_t channels, int64_t pixels, float * out, Share share) {
    const Range range(n * pixels, share);
    for (int64_t c = 0; c < channels; ++c) {
        for (int64_t row = range.first; row < range.last; ++row)
            out[(row / pixels * channels + c) * pixels + row % pixels] = x[row * channels + c];
    }
}

void average_pool2(const MapShape & s, const float * x, float * out, Share share) {
    const int64_t width = s.width / 2, height = s.height / 2;
    const Range range(s.n * height * width, share);
    for (int64_t row = range.first; row < range.last; ++row) {
        const int64_t n = row / (width * height), y = row / width % height;
        const float * a = x + ((n * s.height + 2 * y) * s.width + row % width * 2) * s.channels;
        const float * b = a + s.width * s.channels;
        float * to = out + row * s.channels;
        for (int64_t c = 0; c < s.channels; ++c) to[c] = (a[c] + a[c + s.channels] + b[c] + b[c + s.channels]) * 0.25f;
    }
}

void upsample2(const MapShape & s, const float * x, float * out, Share share) {
    const int64_t width = s.width * 2, height = s.height * 2;
    const Range range(s.n * height * width, share);
    for (int64_t row = range.first; row < range.last; ++row) {
        const int64_t n = row / (width * height), y = row / width % height;
        const float * from = x + ((n * s.height + y / 2) * s.width + row % width / 2) * s.channels;
        std::memcpy(out + row * s.channels, from, static_cast<size_t>(s.channels) * sizeof(float));
    }
}

}  // namespace latent::kernels
