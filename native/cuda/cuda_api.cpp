#include "cuda/cuda_api.h"

#include <cstdio>
#include <cstring>
#include <memory>
#include <new>

#include "cuda/program.h"

// The function table: handles, and exceptions turned into statuses.

using latent::cuda::Device;
using latent::cuda::Failure;
using latent::cuda::invalid;
using latent::cuda::Program;
using latent::cuda::Tensor;
using latent::cuda::TensorPtr;

struct latent_cuda_device {
    Device device;
    latent_cuda_device(int index, int element) : device(index, element) {}
};
struct latent_cuda_tensor {
    std::shared_ptr<Tensor> tensor;
};
struct latent_cuda_program {
    Program program;
    bool broken = false;  // a recording call was refused
    explicit latent_cuda_program(Device & device) : program(device) {}
};

namespace {

latent_cuda_error & last() {
    static thread_local latent_cuda_error error;
    return error;
}

int note(const Failure & failure) {
    latent_cuda_error & error = last();
    error = {};
    error.status = failure.status, error.driver_code = failure.driver_code;
    error.wanted_bytes = failure.wanted, error.free_bytes = failure.free, error.total_bytes = failure.total;
    std::snprintf(error.message, sizeof(error.message), "%s", failure.message.c_str());
    return failure.status;
}

template <typename F>
int guarded(F body) {
    try {
        body();
        return LATENT_CUDA_OK;
    } catch (const Failure & failure) {
        return note(failure);
    } catch (const std::bad_alloc &) {
        return note(Failure(LATENT_CUDA_OUT_OF_MEMORY, "The host is out of memory"));
    } catch (const std::exception & e) {
        return note(Failure(LATENT_CUDA_DEVICE_FAILED, e.what()));
    } catch (...) {
        return note(Failure(LATENT_CUDA_DEVICE_FAILED, "An unknown failure"));
    }
}

template <typename P>
P & given(P * p, const char * what) {
    if (!p) invalid(std::string(what) + " is null");
    return *p;
}

TensorPtr shared(const latent_cuda_tensor * tensor) {
    return tensor ? tensor->tensor : nullptr;
}

template <typename Layer>
latent::cuda::LayerTensors tensors_of(const Layer & layer) {
    return {shared(layer.weight), shared(layer.gain), shared(layer.bias), shared(layer.side.up)};
}

/// Runs a recording call; after a failure the program cannot record any more.
template <typename F>
int record(latent_cuda_program * program, F body) {
    return guarded([&] {
        latent_cuda_program & p = given(program, "The program");
        if (p.broken) invalid("An earlier recording call failed: the program can only be destroyed");
        p.program.require_recording();
        p.broken = true;
        body(p.program);
        p.broken = false;
    });
}

template <typename F>
int record_value(latent_cuda_program * program, latent_cuda_value * value, F body) {
    return record(program, [&](Program & p) {
        latent_cuda_value & to = given(value, "The place of a value");
        to = -1;
        to = body(p);
    });
}

template <typename F>
int running(latent_cuda_program * program, F body) {
    return guarded([&] { body(given(program, "The program").program); });
}

// ---- devices -----------------------------------------------------------------------------------------------------------

void last_error(latent_cuda_error * error) {
    if (error) *error = last();
}
int device_count(int32_t * count) {
    return guarded([&] {
        given(count, "count") = 0;
        *count = latent::cuda::count_devices();
    });
}
int device_info(int32_t index, latent_cuda_device_info * info) {
    return guarded([&] { latent::cuda::describe_device(index, given(info, "info")); });
}
int device_open(int32_t index, int32_t element, latent_cuda_device ** device) {
    return guarded([&] {
        given(device, "device") = nullptr;
        *device = new latent_cuda_device(index, element);
    });
}
void device_close(latent_cuda_device * device) {
    delete device;
}
int device_memory(latent_cuda_device * device, latent_cuda_memory * memory) {
    return guarded([&] { given(memory, "memory") = given(device, "The device").device.memory(); });
}
void memory_reset_peak(latent_cuda_device * device) {
    if (device) device->device.reset_peak();
}
void device_trim(latent_cuda_device * device) {
    (void)guarded([&] { given(device, "The device").device.trim(); });
}

// ---- weights -----------------------------------------------------------------------------------------------------------

int type_supported(int32_t type, int32_t role) {
    return latent::cuda::type_supported(type, role) ? 1 : 0;
}
int tensor_declare(latent_cuda_device * device, const latent_cuda_tensor_desc * desc, latent_cuda_tensor ** tensor) {
    return guarded([&] {
        given(tensor, "tensor") = nullptr;
        auto made = std::make_shared<Tensor>(given(device, "The device").device, given(desc, "desc"));
        *tensor = new latent_cuda_tensor{std::move(made)};
    });
}
int tensors_allocate(latent_cuda_device * device, latent_cuda_tensor * const * tensors, int32_t count) {
    return guarded([&] {
        Device & on = given(device, "The device").device;
        if (count < 0 || (count > 0 && !tensors)) invalid("The tensors are missing");
        uint64_t bytes = 0;
        for (int32_t i = 0; i < count; ++i) {
            const Tensor & tensor = *given(tensors[i], "A tensor").tensor;
            if (&tensor.device() != &on) invalid("A tensor is of another device");
            bytes += tensor.bytes();
        }
        if (bytes == 0) return;
        on.enter();
        const auto block = std::make_shared<const latent::cuda::WeightBlock>(on, bytes);
        uint64_t offset = 0;
        for (int32_t i = 0; i < count; ++i) {
            tensors[i]->tensor->place(block, offset);
            offset += tensors[i]->tensor->bytes();
        }
    });
}
int tensor_load(latent_cuda_tensor * tensor, const void * data, uint64_t bytes) {
    return guarded([&] { given(tensor, "The tensor").tensor->load(data, bytes); });
}
void tensor_unload(latent_cuda_tensor * tensor) {
    if (tensor) tensor->tensor->unload();
}
uint64_t tensor_bytes(const latent_cuda_tensor * tensor) {
    return tensor ? tensor->tensor->bytes() : 0;
}
int tensor_read(const latent_cuda_tensor * tensor, float * out, uint64_t count) {
    return guarded([&] {
        const auto values = given(tensor, "The tensor").tensor->read();
        if (values.size() != count || !out) invalid("The tensor has " + std::to_string(values.size()) + " numbers");
        std::memcpy(out, values.data(), values.size() * sizeof(float));
    });
}
void tensor_free(latent_cuda_tensor * tensor) {
    if (tensor) tensor->tensor->unload();
    delete tensor;
}

// ---- recording ---------------------------------------------------------------------------------------------------------

int program_create(latent_cuda_device * device, latent_cuda_program ** program) {
    return guarded([&] {
        given(program, "program") = nullptr;
        *program = new latent_cuda_program(given(device, "The device").device);
    });
}
void program_destroy(latent_cuda_program * program) {
    delete program;
}

std::string named(const char * name) {
    return &given(name, "The name");
}

/// Checks the sizes before multiplying them.
int64_t pixels(int64_t height, int64_t width) {
    if (height < 1 || width < 1 || height > 1 << 17 || width > 1 << 17) invalid("A map's height or width is out of range");
    return height * width;
}

latent::cuda::Value shape(int64_t batch, int64_t length, int64_t channels) {
    latent::cuda::Value v;
    v.batch = batch, v.length = length, v.channels = channels;
    return v;
}

int input_map(latent_cuda_program * program, const char * name, int64_t batch, int64_t channels, int64_t height, int64_t width,
              latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) {
        return p.input(named(name), shape(batch, pixels(height, width), channels), true, height, width);
    });
}
int input_seq(latent_cuda_program * program, const char * name, int64_t batch, int64_t length, int64_t channels,
              latent_cuda_value * value) {
    return record_value(program, value,
                        [&](Program & p) { return p.input(named(name), shape(batch, length, channels), false, 1, length); });
}
int input_ids(latent_cuda_program * program, const char * name, int64_t batch, int64_t length, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) {
        latent::cuda::Value v = shape(batch, length, 1);
        v.ids = true;
        return p.input(named(name), v, false, 1, length);
    });
}
int output_map(latent_cuda_program * program, const char * name, latent_cuda_value x, int64_t height, int64_t width) {
    return record(program, [&](Program & p) {
        (void)pixels(height, width);
        p.output(named(name), x, true, height, width);
    });
}
int output_seq(latent_cuda_program * program, const char * name, latent_cuda_value x) {
    return record(program, [&](Program & p) { p.output(named(name), x, false, 1, 1); });
}
int conv(latent_cuda_program * program, const latent_cuda_conv * c, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) {
        (void)given(c, "conv");
        return p.conv(*c, tensors_of(*c));
    });
}
int linear(latent_cuda_program * program, const latent_cuda_linear * c, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) {
        (void)given(c, "linear");
        return p.linear(*c, tensors_of(*c));
    });
}
int group_norm(latent_cuda_program * program, const latent_cuda_group_norm * c, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) {
        (void)given(c, "norm");
        return p.group_norm(*c, shared(c->weight), shared(c->bias));
    });
}
int layer_norm(latent_cuda_program * program, latent_cuda_value x, const latent_cuda_tensor * weight,
               const latent_cuda_tensor * bias, float eps, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) { return p.layer_norm(x, shared(weight), shared(bias), eps); });
}
int attention(latent_cuda_program * program, const latent_cuda_attention * c, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) { return p.attention(given(c, "attention")); });
}
int affine(latent_cuda_program * program, latent_cuda_value x, latent_cuda_value scale, latent_cuda_value shift, int32_t kind,
           latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) { return p.affine(x, scale, shift, kind); });
}
int activation(latent_cuda_program * program, latent_cuda_value x, int32_t kind, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) { return p.activation(x, kind); });
}
int add(latent_cuda_program * program, latent_cuda_value a, latent_cuda_value b, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) { return p.add(a, b); });
}
int concat_channels(latent_cuda_program * program, latent_cuda_value a, latent_cuda_value b, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) { return p.concat_channels(a, b); });
}
int concat_tokens(latent_cuda_program * program, latent_cuda_value a, latent_cuda_value b, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) { return p.concat_tokens(a, b); });
}
int avg_pool2(latent_cuda_program * program, latent_cuda_value x, int64_t height, int64_t width, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) { return p.resample(x, height, width, false); });
}
int upsample2(latent_cuda_program * program, latent_cuda_value x, int64_t height, int64_t width, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) { return p.resample(x, height, width, true); });
}
int slice_channels(latent_cuda_program * program, latent_cuda_value x, int64_t first, int64_t count, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) { return p.slice_channels(x, first, count); });
}
int split_heads_qkv(latent_cuda_program * program, latent_cuda_value x, int32_t heads, latent_cuda_value * values) {
    return record(program, [&](Program & p) { p.split_heads_qkv(x, heads, &given(values, "values")); });
}
int embed(latent_cuda_program * program, latent_cuda_value ids, const latent_cuda_tensor * table, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) { return p.embed(ids, shared(table)); });
}
int add_positions(latent_cuda_program * program, latent_cuda_value x, const latent_cuda_tensor * table,
                  latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) { return p.add_positions(x, shared(table)); });
}
int scale_channels(latent_cuda_program * program, latent_cuda_value x, const latent_cuda_tensor * gain,
                   const latent_cuda_tensor * shift, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) { return p.scale_channels(x, shared(gain), shared(shift)); });
}
int gate(latent_cuda_program * program, latent_cuda_value x, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) { return p.gate(x); });
}
int add_blocks(latent_cuda_program * program, const latent_cuda_blocks * c, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) {
        (void)given(c, "blocks");
        return p.add_blocks(*c, shared(c->weight), shared(c->bias));
    });
}
int fold(latent_cuda_program * program, latent_cuda_value x, int64_t channels, latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) { return p.fold(x, channels); });
}
int mix_groups(latent_cuda_program * program, latent_cuda_value x, const latent_cuda_tensor * weight, latent_cuda_value residual,
               latent_cuda_value * value) {
    return record_value(program, value, [&](Program & p) { return p.mix_groups(x, shared(weight), residual); });
}
int program_measure(latent_cuda_program * program, latent_cuda_measure * measure) {
    return record(program, [&](Program & p) { given(measure, "measure") = p.measure(); });
}
int program_finish(latent_cuda_program * program) {
    return guarded([&] {
        latent_cuda_program & p = given(program, "The program");
        if (p.broken) invalid("An earlier recording call failed: the program can only be destroyed");
        p.program.finish();
    });
}

// ---- running -----------------------------------------------------------------------------------------------------------

int set_input(latent_cuda_program * program, const char * name, const float * data, uint64_t count) {
    return running(program, [&](Program & p) { p.set_input(named(name), data, count); });
}
int set_ids(latent_cuda_program * program, const char * name, const int32_t * data, uint64_t count) {
    return running(program, [&](Program & p) { p.set_ids(named(name), data, count); });
}
int get_output(latent_cuda_program * program, const char * name, float * out, uint64_t count) {
    return running(program, [&](Program & p) { p.get_output(named(name), out, count); });
}
int transfer(latent_cuda_program * from, const char * output, latent_cuda_program * to, const char * input) {
    return running(from, [&](Program & p) { p.transfer(named(output), given(to, "The program").program, named(input)); });
}
uint64_t input_size(const latent_cuda_program * program, const char * name) {
    return program && name ? program->program.size_of(name, true) : 0;
}
uint64_t output_size(const latent_cuda_program * program, const char * name) {
    return program && name ? program->program.size_of(name, false) : 0;
}
int program_run(latent_cuda_program * program, int (*cancelled)(void *), void * user) {
    return running(program, [&](Program & p) { p.run(cancelled, user); });
}
int program_profile(latent_cuda_program * program, latent_cuda_launch_time * times, int32_t capacity, int32_t * count) {
    return running(program, [&](Program & p) {
        if (capacity > 0) (void)given(times, "times");
        given(count, "count") = p.profile(times, capacity);
    });
}
uint64_t program_bytes(const latent_cuda_program * program) {
    return program ? program->program.bytes() : 0;
}

const latent_cuda_api kTable = {
    LATENT_CUDA_VERSION,
    sizeof(latent_cuda_api),
    last_error,
    device_count,
    device_info,
    device_open,
    device_close,
    device_memory,
    memory_reset_peak,
    device_trim,
    type_supported,
    tensor_declare,
    tensors_allocate,
    tensor_load,
    tensor_unload,
    tensor_bytes,
    tensor_read,
    tensor_free,
    program_create,
    program_destroy,
    input_map,
    input_seq,
    input_ids,
    output_map,
    output_seq,
    conv,
    linear,
    group_norm,
    layer_norm,
    attention,
    affine,
    activation,
    add,
    concat_channels,
    concat_tokens,
    avg_pool2,
    upsample2,
    slice_channels,
    split_heads_qkv,
    embed,
    add_positions,
    scale_channels,
    gate,
    add_blocks,
    fold,
    mix_groups,
    program_measure,
    program_finish,
    set_input,
    set_ids,
    get_output,
    transfer,
    input_size,
    output_size,
    program_run,
    program_profile,
    program_bytes,
};

}  // namespace

const latent_cuda_api * latent_cuda_open(uint32_t version) {
    return version == LATENT_CUDA_VERSION ? &kTable : nullptr;
}
