#pragma once

#include <algorithm>
#include <memory>

#include "graph/fused/ops_cpu.h"

// How ops_cpu records a custom node.

namespace latent::graph {

/// For labels: "64x64".
inline std::string sizes(std::initializer_list<int64_t> list) {
    std::string text;
    for (const int64_t size : list) text += (text.empty() ? "" : "x") + std::to_string(size);
    return text;
}

inline const char * form_name(kernels::Form form) {
    return form == kernels::Form::int8 ? " int8" : form == kernels::Form::bf16 ? " bf16" : "";
}

inline kernels::RowFormat row_format(kernels::Form form, int64_t channels, int64_t rows) {
    kernels::RowFormat format;
    format.form = form, format.channels = channels, format.rows = rows;
    return format;
}

template <typename Node>
ggml_tensor * OpsCpu::node(Node data, std::string label, double flops, const Shape & ne, std::vector<ggml_tensor *> sources) {
    return rows_node(data, std::move(label), flops, row_format(kernels::Form::f32, ne[0], ne[1] * ne[2] * ne[3]), ne,
                     std::move(sources));
}

/// A custom node that writes rows of channels, as a float32 tensor of shape `ne` or as bytes in another form.
template <typename Node>
ggml_tensor * OpsCpu::rows_node(Node data, std::string label, double flops, const kernels::RowFormat & format, const Shape & ne,
                                std::vector<ggml_tensor *> sources) {
    struct Held {
        Node node;
        GgmlCpuDevice * device;
        int parts;
        std::string label;
        double flops;
    };
    flops_ += flops;
    constexpr int64_t kSmall = 8192;  // values; below this, waking more workers costs more than it saves
    const int threads = device_.pool().threads();
    int64_t values = format.rows * format.channels;
    for (const ggml_tensor * source : sources) values = std::max(values, ggml_nelements(source));
    const bool small = flops < 1e6 && values < kSmall;
    const int parts = threads == 1 || small ? 1 : 4 * threads;
    auto held = std::make_shared<Held>(Held{data, &device_, parts, std::move(label), flops});
    owned_.push_back(held);
    const auto run = [](ggml_tensor * out, int, int, void * user) {
        const Held & work = *static_cast<const Held *>(user);
        if (Profile * profile = work.device->profile()) profile->describe(work.label, work.flops);
        try {
            work.device->pool().run(work.parts, [&](int thread) { work.node.run(out, {thread, work.parts}); });
        } catch (const std::exception & e) {
            work.device->fail_node(e.what());
        }
    };
    const bool full = format.form == kernels::Form::f32;
    const Shape size = full ? ne : Shape{format.bytes(), 1, 1, 1};
    ggml_tensor * t = ggml_custom_4d(nodes_, full ? GGML_TYPE_F32 : GGML_TYPE_I8, size[0], size[1], size[2], size[3],
                                     sources.data(), static_cast<int>(sources.size()), run, 1, held.get());
    expand(t);
    return t;
}

}  // namespace latent::graph
