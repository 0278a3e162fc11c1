#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/span.h"
#include "core/tensor_source.h"
#include "formats/containers/bytes.h"

namespace latent::formats {

using ValueId = uint32_t;

enum class ValueKind : uint8_t {
    none,
    boolean,
    integer,
    big_integer,
    number,
    text,
    bytes,
    list,
    tuple,
    dict,
    global,
    object,
    storage,
    tensor
};

/// The names that matter for reading checkpoints. All others are `unknown` and kept as opaque objects.
enum class GlobalKind : uint8_t {
    unknown,
    ordered_dict,
    parameter_dict,
    rebuild_tensor,
    rebuild_tensor_v3,
    rebuild_parameter,
    rebuild_from_type,
    torch_size,
    storage,
    untyped_storage,
    dtype,
};

/// A pickled value as plain data. Compound values refer to others by number, so cycles and nesting a million levels deep need no
/// special care.
struct PickleValue {
    ValueKind kind = ValueKind::none;
    GlobalKind global = GlobalKind::unknown;
    uint32_t items = 0;   // index of the list of items, 0: none (yet)
    uint32_t length = 0;  // of text, bytes and the name of an unknown global
    union {
        int64_t integer = 0;  // boolean, integer; DType of a global that is a storage or dtype
        double number;
        const char * data;  // text, bytes, big integers and the name of an unknown global, inside the file
    };
    std::string_view text() const { return {data, length}; }
};

/// Reads pickles (protocols 2 to 5, without text opcodes) as data. Nothing is imported, called or constructed: GLOBAL looks up
/// its name in a list of about thirty, REDUCE and NEWOBJ make records for those, and everything else becomes an opaque object.
///
/// Items: list, tuple: the values; dict: key, value, key, value...; object: class, state (state may be missing);
/// storage: the persistent id's tuple ('storage', class, key, device, element count[, view]);
/// tensor: storage, offset, sizes, strides[, dtype].
class Unpickler {
public:
    /// `bytes` must outlive the object. `what` names the file in messages.
    Unpickler(Span<const uint8_t> bytes, const std::string & what, uint64_t position = 0);

    /// Reads one pickle up to its STOP. Throws model_format.
    ValueId run();

    /// The position just past the STOP.
    uint64_t position() const { return reader_.position(); }

    size_t size() const { return values_.size(); }
    const PickleValue & at(ValueId id) const { return values_[id]; }
    Span<const ValueId> items(ValueId id) const;
    bool is(ValueId id, ValueKind kind) const { return values_[id].kind == kind; }
    bool is_text(ValueId id, std::string_view text) const { return is(id, ValueKind::text) && values_[id].text() == text; }
    /// The value last set for a text key of a dict, or nullptr.
    const ValueId * lookup(ValueId dict, std::string_view key) const;

private:
    bool step_scalar(uint8_t opcode);
    bool step_text(uint8_t opcode);
    bool step_container(uint8_t opcode);
    bool step_stack(uint8_t opcode);
    bool step_call(uint8_t opcode);

    [[noreturn]] void fail(const std::string & what) const;
    ValueId add(ValueKind kind);
    ValueId add_integer(ValueKind kind, int64_t integer);
    ValueId add_text(ValueKind kind, uint64_t length);
    ValueId add_compound(ValueKind kind, const ValueId * first, size_t count);
    void append(ValueId id, const ValueId * first, size_t count);
    void push(ValueId id);
    ValueId pop();
    ValueId top() const;
    size_t pop_mark();
    void memoize(uint64_t index);
    void push_memo(uint64_t index);
    void push_long(uint64_t length);
    void push_tuple(size_t count);
    void push_global(std::string_view module, std::string_view name);
    std::string_view line();
    void set_items(size_t first);
    void append_items(size_t first);
    void build();
    ValueId reduce(ValueId callee, ValueId arguments, int depth);
    ValueId make_dict(Span<const ValueId> arguments);
    ValueId make_tensor(Span<const ValueId> arguments, bool with_dtype);

    ByteReader reader_;
    std::vector<PickleValue> values_;
    std::vector<std::vector<ValueId>> lists_;
    std::vector<ValueId> stack_;
    std::vector<size_t> marks_;
    std::vector<ValueId> memo_;
    size_t item_count_ = 0;
};

}  // namespace latent::formats
