// Allocates a program's memory, captures its launches as CUDA graphs, and runs them.
#include <algorithm>
#include <cstdio>

#include "cuda/program.h"
#include "cuda/rows.h"

namespace latent::cuda {

class ArenaFrame final : public Frame {
public:
    explicit ArenaFrame(const Program & program) : program_(program) { stream = program.device_.stream(); }
    void * at(int value) const override {
        value = program_.stored(value);
        const uint64_t offset = program_.plan_.offset[static_cast<size_t>(value)];
        if (offset != UINT64_MAX) return program_.arena_ + offset;
        for (const Port & port : program_.ports_) {
            if (port.input && port.value == value) return port.buffer;
        }
        throw Failure(LATENT_CUDA_INVALID, "A value has no memory");
    }
    bool f32(int value) const override { return program_.plan_.f32[static_cast<size_t>(program_.stored(value))]; }

private:
    const Program & program_;
};

namespace {

constexpr size_t kAhead = 2;  // slices launched before the first of them has ended

}  // namespace

Program::~Program() {
    release();
}

void Program::release() noexcept {
    try {
        device_.enter();
    } catch (const Failure &) {  // a device that failed
    }
    (void)cudaStreamSynchronize(device_.stream());
    for (cudaGraphExec_t graph : graphs_) (void)cudaGraphExecDestroy(graph);
    for (cudaEvent_t event : events_) (void)cudaEventDestroy(event);
    graphs_.clear(), events_.clear();
    device_.give(arena_, held_, MemoryUse::programs);
    arena_ = nullptr, held_ = 0;
}

void Program::launch_nodes(size_t first, size_t last) {
    ArenaFrame frame(*this);
    for (size_t i = first; i < last; ++i) {
        const Node & node = plan_.nodes[i];
        frame.workspace = node.workspace ? arena_ + plan_.workspace[i] : nullptr;
        if (node.product)
            launch_product(*node.product, node.writes, frame, device_.half());
        else
            node.launch(frame);
        check(cudaGetLastError(), node.label.c_str());
    }
}

void Program::finish() {
    require_recording();
    for (auto & [tensor, kept] : tensors_) {
        if (!tensor->loaded()) invalid("A tensor of the program is not loaded");
        kept.second = tensor->generation();
    }
    device_.enter();
    plan_ = plan();
    const uint64_t bytes = plan_.arena + port_bytes();
    arena_ = static_cast<char *>(device_.take(std::max<uint64_t>(bytes, 256), MemoryUse::programs, "a network's values"));
    held_ = std::max<uint64_t>(bytes, 256);
    char * at = arena_ + plan_.arena;
    for (Port & port : ports_) {
        port.buffer = at;
        at += (port.bytes + 255) / 256 * 256;
    }
    try {
        {
            const LoadingKernels loading;
            launch_nodes(0, plan_.nodes.size());
        }
        for (size_t slice = 0; slice + 1 < plan_.slices.size(); ++slice) {
            cudaGraph_t graph = nullptr;
            check(cudaStreamBeginCapture(device_.stream(), cudaStreamCaptureModeThreadLocal), "Capturing");
            try {
                launch_nodes(plan_.slices[slice], plan_.slices[slice + 1]);
            } catch (...) {
                (void)cudaStreamEndCapture(device_.stream(), &graph);
                if (graph) (void)cudaGraphDestroy(graph);
                (void)cudaGetLastError();
                throw;
            }
            check(cudaStreamEndCapture(device_.stream(), &graph), "Capturing");
            cudaGraphExec_t exec = nullptr;
            const cudaError_t error = cudaGraphInstantiate(&exec, graph, 0);
            (void)cudaGraphDestroy(graph);
            check(error, "Creating a network's graph");
            graphs_.push_back(exec);
            cudaEvent_t event = nullptr;
            check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "Creating an event");
            events_.push_back(event);
        }
    } catch (...) {
        release();
        throw;
    }
    finished_ = true;
}

Port & Program::port(const std::string & name, bool input) {
    if (!finished_) invalid("The program is not finished");
    for (Port & each : ports_) {
        if (each.input == input && each.name == name) return each;
    }
    invalid(std::string("There is no ") + (input ? "input \"" : "output \"") + name + "\"");
}

uint64_t Program::size_of(const std::string & name, bool input) const {
    for (const Port & each : ports_) {
        const Value & v = values_[static_cast<size_t>(each.value)];
        if (each.input == input && each.name == name) return static_cast<uint64_t>(v.rows() * v.channels);
    }
    return 0;
}

/// Converts data in the host's layout, already on the device, into an input.
void Program::from_host(const Port & port, const void * source) {
    const Value & v = values_[static_cast<size_t>(port.value)];
    const LayoutArgs args{source,
                          port.buffer,
                          static_cast<int>(v.batch),
                          static_cast<int>(v.length),
                          static_cast<int>(v.channels),
                          static_cast<int>(v.stride()),
                          port.planes};
    if (v.f32)
        from_host_layout<float>(args, device_.stream());
    else if (device_.half())
        from_host_layout<f16>(args, device_.stream());
    else
        from_host_layout<bf16>(args, device_.stream());
    check(cudaGetLastError(), "Setting an input");
}

void Program::set_input(const std::string & name, const float * data, uint64_t count) {
    const Port & to = port(name, true);
    if (values_[static_cast<size_t>(to.value)].ids) invalid("The input \"" + name + "\" takes ids");
    if (count != size_of(name, true) || !data)
        invalid("The input \"" + name + "\" has " + std::to_string(size_of(name, true)) + " numbers, got " +
                std::to_string(count));
    device_.enter();
    void * source = device_.raw(count * sizeof(float));
    device_.upload(source, data, count * sizeof(float));
    from_host(to, source);
}

void Program::set_ids(const std::string & name, const int32_t * data, uint64_t count) {
    const Port & to = port(name, true);
    if (!values_[static_cast<size_t>(to.value)].ids) invalid("The input \"" + name + "\" takes no ids");
    if (count != size_of(name, true) || !data)
        invalid("The input \"" + name + "\" has " + std::to_string(size_of(name, true)) + " ids, got " + std::to_string(count));
    device_.enter();
    device_.upload(to.buffer, data, count * sizeof(int32_t));
}

void Program::get_output(const std::string & name, float * out, uint64_t count) {
    const Port & from = port(name, false);
    if (count != size_of(name, false) || !out)
        invalid("The output \"" + name + "\" has " + std::to_string(size_of(name, false)) + " values, but there is room for " +
                std::to_string(count));
    device_.enter();
    device_.download(out, from.buffer, count * sizeof(float));
}

void Program::transfer(const std::string & output, Program & to, const std::string & input) {
    const Port &from = port(output, false), &target = to.port(input, true);
    const Value &a = values_[static_cast<size_t>(from.value)], &b = to.values_[static_cast<size_t>(target.value)];
    if (&device_ != &to.device_ || b.ids || a.batch != b.batch || a.length != b.length || a.channels != b.channels ||
        from.planes != target.planes)
        invalid("The output \"" + output + "\" does not fit the input \"" + input + "\"");
    device_.enter();
    to.from_host(target, from.buffer);
}

void Program::require_fresh() const {
    if (!finished_) invalid("The program is not finished");
    for (const auto & [tensor, kept] : tensors_) {
        if (!tensor->loaded() || tensor->generation() != kept.second)
            invalid("Weights have been unloaded or have moved since the program was finished: record it again");
    }
}

void Program::run(int (*cancelled)(void *), void * user) {
    require_fresh();
    device_.enter();
    for (size_t i = 0; i < graphs_.size(); ++i) {
        if (i >= kAhead) check(cudaEventSynchronize(events_[i - kAhead]), "A network");
        if (cancelled && cancelled(user)) {
            device_.finish();
            throw Failure(LATENT_CUDA_CANCELLED, "Cancelled");
        }
        check(cudaGraphLaunch(graphs_[i], device_.stream()), "Launching a network");
        check(cudaEventRecord(events_[i], device_.stream()), "Launching a network");
    }
    device_.finish();
}

int Program::profile(latent_cuda_launch_time * times, int capacity) {
    require_fresh();
    device_.enter();
    struct Events {
        std::vector<cudaEvent_t> all;
        ~Events() {
            for (cudaEvent_t event : all) (void)cudaEventDestroy(event);
        }
    } events;
    for (size_t i = 0; i <= plan_.nodes.size(); ++i) {
        cudaEvent_t event = nullptr;
        check(cudaEventCreateWithFlags(&event, 0), "Creating an event");
        events.all.push_back(event);
    }
    check(cudaEventRecord(events.all[0], device_.stream()), "A profile");
    for (size_t i = 0; i < plan_.nodes.size(); ++i) {
        launch_nodes(i, i + 1);
        check(cudaEventRecord(events.all[i + 1], device_.stream()), "A profile");
    }
    device_.finish();
    const int count = static_cast<int>(plan_.nodes.size());
    for (int i = 0; i < count && i < capacity; ++i) {
        float milliseconds = 0;
        check(cudaEventElapsedTime(&milliseconds, events.all[static_cast<size_t>(i)], events.all[static_cast<size_t>(i) + 1]),
              "A profile");
        const Node & node = plan_.nodes[static_cast<size_t>(i)];
        times[i] = {};
        std::snprintf(times[i].label, sizeof(times[i].label), "%s", node.label.c_str());
        times[i].milliseconds = milliseconds, times[i].flops = node.flops;
    }
    return count;
}

}  // namespace latent::cuda
