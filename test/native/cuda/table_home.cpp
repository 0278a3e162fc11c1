#include "table_home.h"

namespace cuda_test {

Rows TableHome::input_map(const char * name, int64_t n, int64_t c, int64_t h, int64_t w) {
    Rows y{n, h, w, c, -1, {}};
    ok(table().input_map(program, name, n, c, h, w, &y.id));
    return y;
}
Rows TableHome::input_seq(const char * name, int64_t n, int64_t l, int64_t c) {
    Rows y{n, 1, l, c, -1, {}};
    ok(table().input_seq(program, name, n, l, c, &y.id));
    return y;
}

latent_cuda_tensor * TableHome::tensor(const std::string & name, const std::vector<float> & values,
                                       latent_cuda_tensor_desc desc) {
    latent_cuda_tensor *& t = tensors_[name];
    if (t) return t;
    ok(table().tensor_declare(device_, &desc, &t));
    ok(table().tensor_load(t, values.data(), values.size() * sizeof(float)));
    return t;
}

latent_cuda_tensor * TableHome::vector(const std::string & name, int count) {
    return tensor(name, weights_.vector(name, count), {LATENT_CUDA_F32, LATENT_CUDA_VECTOR, count, 1, 1});
}

latent_cuda_side TableHome::side(const std::string & name, int rows, const Options & o) {
    if (!o.low) return {-1, nullptr, 0};
    const auto & up = weights_.matrix(name + ".up", rows, o.rank);
    return {o.low->id, tensor(name + ".up", up, {LATENT_CUDA_F32, LATENT_CUDA_MATRIX, rows, o.rank, 1}), o.first};
}

Rows TableHome::conv(const Rows & x, const std::string & name, int out, int kernel, const Options & o) {
    const int in = static_cast<int>(x.channels);
    latent_cuda_conv c = {};
    c.x = x.id,
    c.weight = tensor(name, weights_.matrix(name, out, in, kernel), {LATENT_CUDA_F32, LATENT_CUDA_MATRIX, out, in, kernel});
    c.bias = vector(name + ".b", out), c.gain = o.gain ? vector(name + ".g", out) : nullptr;
    c.height = x.height, c.width = x.width, c.stride = o.stride, c.padding = o.padding, c.upsample = o.upsample,
    c.activation = o.activation;
    c.channel_add = o.add ? o.add->id : -1, c.residual = o.residual ? o.residual->id : -1;
    c.side = side(name, out, o);
    Rows y{x.batch, x.height * (o.upsample ? 2 : 1) / o.stride, x.width * (o.upsample ? 2 : 1) / o.stride, out, -1, {}};
    ok(table().conv(program, &c, &y.id));
    return y;
}
Rows TableHome::linear(const Rows & x, const std::string & name, int out, const Options & o) {
    const int in = static_cast<int>(x.channels), rows = o.geglu ? 2 * out : out;
    latent_cuda_linear c = {};
    c.x = x.id, c.weight = tensor(name, weights_.matrix(name, rows, in), {LATENT_CUDA_F32, LATENT_CUDA_MATRIX, rows, in, 1});
    c.bias = vector(name + ".b", rows), c.gain = o.gain ? vector(name + ".g", rows) : nullptr;
    c.activation = o.activation, c.geglu = o.geglu, c.residual = o.residual ? o.residual->id : -1;
    c.side = side(name, rows, o);
    Rows y{x.batch, x.height, x.width, out, -1, {}};
    ok(table().linear(program, &c, &y.id));
    return y;
}
Rows TableHome::group_norm(const Rows & x, const std::string & name, int groups, int activation) {
    const int n = static_cast<int>(x.channels);
    const latent_cuda_tensor_desc d{LATENT_CUDA_F32, LATENT_CUDA_VECTOR, n, 1, 1};
    const latent_cuda_group_norm c{x.id,
                                   tensor(name + ".w", weights_.vector(name + ".w", n), d),
                                   tensor(name + ".b", weights_.vector(name + ".b", n), d),
                                   groups,
                                   1e-5f,
                                   activation,
                                   -1,
                                   -1};
    Rows y{x.batch, x.height, x.width, x.channels, -1, {}};
    ok(table().group_norm(program, &c, &y.id));
    return y;
}
Rows TableHome::layer_norm(const Rows & x, const std::string & name) {
    const int n = static_cast<int>(x.channels);
    const latent_cuda_tensor_desc d{LATENT_CUDA_F32, LATENT_CUDA_VECTOR, n, 1, 1};
    Rows y{x.batch, x.height, x.width, x.channels, -1, {}};
    ok(table().layer_norm(program, x.id, tensor(name + ".w", weights_.vector(name + ".w", n), d),
                          tensor(name + ".b", weights_.vector(name + ".b", n), d), 1e-5f, &y.id));
    return y;
}
Rows TableHome::attention(const Rows & q, const Rows & k, const Rows & v, int heads) {
    const latent_cuda_attention c{q.id, k.id, v.id, heads, 0};
    Rows y{q.batch, q.height, q.width, q.channels, -1, {}};
    ok(table().attention(program, &c, &y.id));
    return y;
}
Rows TableHome::add(const Rows & a, const Rows & b) {
    Rows y{a.batch, a.height, a.width, a.channels, -1, {}};
    ok(table().add(program, a.id, b.id, &y.id));
    return y;
}
Rows TableHome::concat(const Rows & a, const Rows & b) {
    Rows y{a.batch, a.height, a.width, a.channels + b.channels, -1, {}};
    ok(table().concat_channels(program, a.id, b.id, &y.id));
    return y;
}
Rows TableHome::silu(const Rows & x) {
    Rows y{x.batch, x.height, x.width, x.channels, -1, {}};
    ok(table().activation(program, x.id, LATENT_CUDA_SILU, &y.id));
    return y;
}
Rows TableHome::scale(const Rows & x, const std::string & name) {
    const int n = static_cast<int>(x.channels);
    Rows y{x.batch, x.height, x.width, x.channels, -1, {}};
    ok(table().scale_channels(program, x.id, vector(name + ".g", n), vector(name + ".b", n), &y.id));
    return y;
}
Rows TableHome::gate(const Rows & x) {
    Rows y{x.batch, x.height, x.width, x.channels / 2, -1, {}};
    ok(table().gate(program, x.id, &y.id));
    return y;
}
Rows TableHome::blocks(const Rows & x, const std::string & name, int size, int distance) {
    const int n = static_cast<int>(x.channels);
    const latent_cuda_blocks c{x.id,
                               tensor(name, weights_.matrix(name, n, size), {LATENT_CUDA_F32, LATENT_CUDA_MATRIX, n, size, 1}),
                               vector(name + ".b", n), size, distance};
    Rows y{x.batch, x.height, x.width, x.channels, -1, {}};
    ok(table().add_blocks(program, &c, &y.id));
    return y;
}
Rows TableHome::fold(const Rows & x, int channels) {
    Rows y{x.batch, 1, x.length() * x.channels / channels, channels, -1, {}};
    ok(table().fold(program, x.id, channels, &y.id));
    return y;
}
Rows TableHome::mix(const Rows & x, const std::string & name, int rows, int columns, const Rows * residual) {
    Rows y{x.batch, x.height, x.width, x.channels / columns * rows, -1, {}};
    latent_cuda_tensor * w =
        tensor(name, weights_.matrix(name, rows, columns), {LATENT_CUDA_F32, LATENT_CUDA_EMBEDDING, rows, columns, 1});
    ok(table().mix_groups(program, x.id, w, residual ? residual->id : -1, &y.id));
    return y;
}

// ---- float64 -----------------------------------------------------------------------------------------------------------

Rows ExactHome::input_map(const char * name, int64_t n, int64_t c, int64_t h, int64_t w) {
    Rows y{n, h, w, c, 0, std::vector<double>(static_cast<size_t>(n * c * h * w))};
    const std::vector<float> & planes = inputs_.at(name);
    for (int64_t i = 0; i < n * c * h * w; ++i) y.v[((i / (c * h * w)) * h * w + i % (h * w)) * c + i / (h * w) % c] = planes[i];
    return y;
}
Rows ExactHome::input_seq(const char * name, int64_t n, int64_t l, int64_t c) {
    const std::vector<float> & rows = inputs_.at(name);
    return {n, 1, l, c, 0, {rows.begin(), rows.end()}};
}
void ExactHome::output_map(const char * name, const Rows & x) {
    std::vector<double> & planes = outputs[name];
    const int64_t c = x.channels, pixels = x.length();
    planes.resize(x.v.size());
    for (int64_t i = 0; i < static_cast<int64_t>(planes.size()); ++i)
        planes[i] = x.v[((i / (c * pixels)) * pixels + i % pixels) * c + i / pixels % c];
}
double ExactHome::side(const std::string & name, int rows, const Options & o, size_t pixel, int row) {
    double sum = 0;
    if (!o.low) return sum;
    const auto & up = weights_.matrix(name + ".up", rows, o.rank);
    for (int r = 0; r < o.rank; ++r) sum += o.low->v[pixel * o.low->channels + o.first + r] * up[row * o.rank + r];
    return sum;
}

double ExactHome::gain(const std::string & name, int rows, const Options & o, int row) {
    return o.gain ? weights_.vector(name + ".g", rows)[row] : 1;
}

Rows ExactHome::conv(const Rows & x, const std::string & name, int out, int kernel, const Options & o) {
    const int in = static_cast<int>(x.channels), pad = (kernel - 1) / 2, up = o.upsample ? 2 : 1;
    const auto & w = weights_.matrix(name, out, in, kernel);
    const auto & b = weights_.vector(name + ".b", out);
    Rows y{x.batch, x.height * up / o.stride, x.width * up / o.stride, out, 0, {}};
    for (int64_t n = 0; n < y.batch; ++n) {
        for (int64_t at = 0; at < y.length() * out; ++at) {
            const int64_t pixel = at / out, channel = at % out;
            double sum = 0;
            for (int t = 0; t < kernel * kernel; ++t) {
                const int64_t iy = pixel / y.width * o.stride + t / kernel - pad,
                              ix = pixel % y.width * o.stride + t % kernel - pad;
                if (iy < 0 || ix < 0 || iy >= x.height * up || ix >= x.width * up) continue;
                const double * from = &x.v[((n * x.height + iy / up) * x.width + ix / up) * in];
                for (int i = 0; i < in; ++i) sum += from[i] * w[(channel * in + i) * kernel * kernel + t];
            }
            sum = (sum + side(name, out, o, y.v.size() / out, channel)) * gain(name, out, o, channel) + b[channel];
            if (o.add) sum += o.add->v[n * out + channel];
            sum = cuda_test::gate(sum, o.activation);
            if (o.residual) sum += o.residual->v[y.v.size()];
            y.v.push_back(sum);
        }
    }
    return y;
}
Rows ExactHome::linear(const Rows & x, const std::string & name, int out, const Options & o) {
    const int in = static_cast<int>(x.channels), rows = o.geglu ? 2 * out : out;
    const auto & w = weights_.matrix(name, rows, in);
    const auto & b = weights_.vector(name + ".b", rows);
    Rows y{x.batch, x.height, x.width, out, 0, {}};
    for (int64_t row = 0; row < x.batch * x.length(); ++row) {
        const auto sum_of = [&](int channel) {
            double sum = side(name, rows, o, row, channel);
            for (int i = 0; i < in; ++i) sum += x.v[row * in + i] * w[channel * in + i];
            return sum * gain(name, rows, o, channel) + b[channel];
        };
        for (int channel = 0; channel < out; ++channel) {
            double v = cuda_test::gate(sum_of(channel), o.activation);
            if (o.geglu) v *= cuda_test::gate(sum_of(out + channel), 2);
            if (o.residual) v += o.residual->v[y.v.size()];
            y.v.push_back(v);
        }
    }
    return y;
}

/// Normalises the numbers at the places that `next` gives.
template <typename Place>
static void normalise(const std::vector<double> & x, std::vector<double> & y, int64_t count, Place place) {
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < count; ++i) mean += x[place(i)] / static_cast<double>(count);
    for (int64_t i = 0; i < count; ++i) squares += (x[place(i)] - mean) * (x[place(i)] - mean);
    for (int64_t i = 0; i < count; ++i)
        y[place(i)] = (x[place(i)] - mean) / std::sqrt(squares / static_cast<double>(count) + 1e-5);
}

Rows ExactHome::group_norm(const Rows & x, const std::string & name, int groups, int activation) {
    const int64_t c = x.channels, each = c / groups;
    const auto &w = weights_.vector(name + ".w", static_cast<int>(c)), &b = weights_.vector(name + ".b", static_cast<int>(c));
    Rows y = x;
    for (int64_t n = 0; n < x.batch; ++n) {
        for (int64_t g = 0; g < groups; ++g)
            normalise(x.v, y.v, x.length() * each,
                      [&](int64_t i) { return (n * x.length() + i / each) * c + g * each + i % each; });
    }
    for (size_t i = 0; i < y.v.size(); ++i) y.v[i] = cuda_test::gate(y.v[i] * w[i % c] + b[i % c], activation);
    return y;
}
Rows ExactHome::layer_norm(const Rows & x, const std::string & name) {
    const int64_t c = x.channels;
    const auto &w = weights_.vector(name + ".w", static_cast<int>(c)), &b = weights_.vector(name + ".b", static_cast<int>(c));
    Rows y = x;
    for (int64_t row = 0; row < x.batch * x.length(); ++row) normalise(x.v, y.v, c, [&](int64_t i) { return row * c + i; });
    for (size_t i = 0; i < y.v.size(); ++i) y.v[i] = y.v[i] * w[i % c] + b[i % c];
    return y;
}
Rows ExactHome::attention(const Rows & q, const Rows & k, const Rows & v, int heads) {
    const int64_t c = q.channels, dim = c / heads;
    Rows y{q.batch, q.height, q.width, c, 0, std::vector<double>(q.v.size(), 0.0)};
    for (int64_t row = 0; row < q.batch * q.length() * heads; ++row) {
        const int64_t n = row / heads / q.length(), head = row % heads, at = row / heads * c + head * dim;
        std::vector<double> s(static_cast<size_t>(k.length()));
        double sum = 0;
        for (int64_t j = 0; j < k.length(); ++j) {
            for (int64_t d = 0; d < dim; ++d) s[j] += q.v[at + d] * k.v[(n * k.length() + j) * c + head * dim + d];
            sum += s[j] = std::exp(s[j] / std::sqrt(static_cast<double>(dim)));
        }
        for (int64_t j = 0; j < k.length(); ++j) {
            for (int64_t d = 0; d < dim; ++d) y.v[at + d] += s[j] / sum * v.v[(n * k.length() + j) * c + head * dim + d];
        }
    }
    return y;
}
Rows ExactHome::add(const Rows & a, const Rows & b) {
    Rows y = a;
    const int64_t c = a.channels, each = b.length() == a.length() ? 1 : a.length();
    for (int64_t i = 0; i < static_cast<int64_t>(y.v.size()); ++i) y.v[i] += b.v[i / c / each * c + i % c];
    return y;
}
Rows ExactHome::concat(const Rows & a, const Rows & b) {
    Rows y{a.batch, a.height, a.width, a.channels + b.channels, 0, {}};
    for (int64_t row = 0; row < a.batch * a.length(); ++row) {
        y.v.insert(y.v.end(), a.v.begin() + row * a.channels, a.v.begin() + (row + 1) * a.channels);
        y.v.insert(y.v.end(), b.v.begin() + row * b.channels, b.v.begin() + (row + 1) * b.channels);
    }
    return y;
}
Rows ExactHome::silu(const Rows & x) {
    Rows y = x;
    for (double & v : y.v) v = cuda_test::gate(v, 1);
    return y;
}
Rows ExactHome::scale(const Rows & x, const std::string & name) {
    const int n = static_cast<int>(x.channels);
    Rows y = x;
    for (size_t i = 0; i < y.v.size(); ++i)
        y.v[i] = y.v[i] * weights_.vector(name + ".g", n)[i % n] + weights_.vector(name + ".b", n)[i % n];
    return y;
}
Rows ExactHome::gate(const Rows & x) {
    const int64_t c = x.channels / 2;
    Rows y{x.batch, x.height, x.width, c, 0, {}};
    for (int64_t i = 0; i < x.batch * x.length() * c; ++i)
        y.v.push_back(x.v[i / c * 2 * c + i % c] * cuda_test::gate(x.v[i / c * 2 * c + c + i % c], 2));
    return y;
}
Rows ExactHome::blocks(const Rows & x, const std::string & name, int size, int distance) {
    const int n = static_cast<int>(x.channels), run = distance ? size / 2 : size;
    const auto & w = weights_.matrix(name, n, size);
    const auto & b = weights_.vector(name + ".b", n);
    std::vector<std::vector<int>> members;
    for (int first = 0; first < n; first += distance ? 2 * distance : size) {
        for (int from = first; from < first + (distance ? distance : size); from += run) {
            members.emplace_back();
            for (int i = 0; i < size; ++i) members.back().push_back(from + (i < run ? i : distance + i - run));
        }
    }
    Rows y = x;
    for (int64_t row = 0; row < x.batch * x.length(); ++row) {
        for (size_t block = 0; block < members.size(); ++block) {
            for (int i = 0; i < size; ++i) {
                double & sum = y.v[row * n + members[block][i]];
                for (int j = 0; j < size; ++j) sum += w[(block * size + i) * size + j] * x.v[row * n + members[block][j]];
                sum += b[members[block][i]];
            }
        }
    }
    return y;
}
Rows ExactHome::fold(const Rows & x, int channels) {
    return {x.batch, 1, x.length() * x.channels / channels, channels, 0, x.v};
}
Rows ExactHome::mix(const Rows & x, const std::string & name, int rows, int columns, const Rows * residual) {
    const int64_t width = x.channels / columns, out = rows * width;
    const auto & w = weights_.matrix(name, rows, columns);
    Rows y{x.batch, x.height, x.width, out, 0, {}};
    for (int64_t i = 0; i < x.batch * x.length() * out; ++i) {
        double sum = residual ? residual->v[i] : 0;
        for (int j = 0; j < columns; ++j)
            sum += w[i % out / width * columns + j] * x.v[i / out * x.channels + j * width + i % width];
        y.v.push_back(sum);
    }
    return y;
}

}  // namespace cuda_test
