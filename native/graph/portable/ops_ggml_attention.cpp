#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/portable/ops_ggml.h"

// Attention with an explicit softmax, in chunks of queries.

namespace latent::graph {

namespace {

int64_t round_up(int64_t n, int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

}  // namespace

struct OpsGgml::Heads {
    int64_t count = 1, width = 0;  // number of heads, width of a head
    float scale = 1.0f;
};

Seq OpsGgml::attention(Seq q, Seq k, Seq v, const AttentionOptions & options) {
    room(64);
    Heads heads;
    heads.count = options.heads;
    heads.width = q.dim / options.heads;
    heads.scale = 1.0f / std::sqrt(static_cast<float>(heads.width));
    if (heads.width * options.heads != q.dim || k.dim != q.dim || v.dim != q.dim || k.length != v.length) {
        throw Error(ErrorCode::internal, "Queries, keys and values of an attention do not match");
    }
    ggml_tensor * tq = tensor(q.id);
    ggml_tensor * tk = ggml_reshape_4d(nodes_, tensor(k.id), heads.width, heads.count, k.length, k.batch);
    ggml_tensor * tv = ggml_reshape_4d(nodes_, tensor(v.id), heads.width, heads.count, v.length, v.batch);
    tk = contiguous(ggml_permute(nodes_, tk, 0, 2, 1, 3));         // [d, lk, heads, n]
    tv = ggml_cont(nodes_, ggml_permute(nodes_, tv, 1, 2, 0, 3));  // [lk, d, heads, n]
    // The CPU's fast multiplication needs rows whose length is a multiple of its vector length: 77 text tokens are padded to 80
    // with zeros.
    const int64_t padding = on_host_ && k.length > 8 ? round_up(k.length, 16) - k.length : 0;
    if (padding) tv = ggml_pad(nodes_, tv, static_cast<int>(padding), 0, 0, 0);
    flops_ += 4.0 * static_cast<double>(q.dim) * static_cast<double>(q.length) * static_cast<double>(k.length) *
              static_cast<double>(q.batch);

    ggml_tensor * mask = nullptr;
    if (options.causal) {
        std::vector<float> values(static_cast<size_t>(k.length * q.length), 0.0f);
        for (int64_t row = 0; row < q.length; ++row) {
            for (int64_t column = row + 1; column < k.length; ++column) {
                values[static_cast<size_t>(row * k.length + column)] = -std::numeric_limits<float>::infinity();
            }
        }
        mask = constant("causal " + std::to_string(k.length) + " " + std::to_string(q.length), k.length, q.length, values);
    }

    const uint64_t row_bytes = sizeof(float) * static_cast<uint64_t>(k.length + padding) * heads.count;
    if (mask || row_bytes * q.length * q.batch <= limits_.attention_scratch) {
        ggml_tensor * queries = ggml_reshape_4d(nodes_, tq, heads.width, heads.count, q.length, q.batch);
        ggml_tensor * y = ggml_permute(nodes_, attend(queries, tk, tv, heads, mask), 0, 2, 1, 3);  // [d, heads, lq, n]
        return seq(ggml_reshape_3d(nodes_, ggml_cont(nodes_, y), q.dim, q.length, q.batch));
    }

    const int64_t chunk = std::clamp<int64_t>(static_cast<int64_t>(limits_.attention_scratch / row_bytes), 1, q.length);
    ggml_tensor * out = unset(q.dim, q.length, q.batch, 1);
    ggml_tensor * written = nullptr;
    for (int64_t n = 0; n < q.batch; ++n) {
        ggml_tensor * keys =
            ggml_view_3d(nodes_, tk, tk->ne[0], tk->ne[1], tk->ne[2], tk->nb[1], tk->nb[2], static_cast<size_t>(n) * tk->nb[3]);
        ggml_tensor * values =
            ggml_view_3d(nodes_, tv, tv->ne[0], tv->ne[1], tv->ne[2], tv->nb[1], tv->nb[2], static_cast<size_t>(n) * tv->nb[3]);
        for (int64_t first = 0; first < q.length; first += chunk) {
            room(32);
            const int64_t rows = std::min(chunk, q.length - first);
            const size_t offset = static_cast<size_t>(n) * tq->nb[2] + static_cast<size_t>(first) * tq->nb[1];
            const size_t head_bytes = static_cast<size_t>(heads.width) * sizeof(float);
            ggml_tensor * queries = ggml_view_3d(nodes_, tq, heads.width, heads.count, rows, head_bytes, tq->nb[1], offset);
            ggml_tensor * y = attend(queries, keys, values, heads, nullptr);  // [d, rows, heads]
            ggml_tensor * place = ggml_view_3d(nodes_, out, heads.width, heads.count, rows, head_bytes, out->nb[1], offset);
            written = ggml_cpy(nodes_, ggml_permute(nodes_, y, 0, 2, 1, 3), ordered(place, written));
            expand(written);
        }
    }
    return seq(ordered(ggml_view_3d(nodes_, out, q.dim, q.length, q.batch, out->nb[1], out->nb[2], 0), written));
}

/// q [d, heads, lq, n], k [d, lk, heads, n], v [lk (padded), d, heads, n] -> [d, lq, heads, n].
ggml_tensor * OpsGgml::attend(ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, const Heads & heads, ggml_tensor * mask) {
    ggml_tensor * queries = ggml_cont(nodes_, ggml_permute(nodes_, q, 0, 2, 1, 3));  // [d, lq, heads, n]
    ggml_tensor * scores = product(k, queries);                                      // [lk, lq, heads, n]
    ggml_tensor * weights = mask ? ggml_soft_max_ext(nodes_, scores, mask, heads.scale, 0.0f)
                                 : ggml_soft_max_ext_inplace(nodes_, scores, nullptr, heads.scale, 0.0f);
    if (v->ne[0] != weights->ne[0]) weights = ggml_pad(nodes_, weights, static_cast<int>(v->ne[0] - weights->ne[0]), 0, 0, 0);
    return product(v, weights);  // [d, lq, heads, n]
}

}  // namespace latent::graph
