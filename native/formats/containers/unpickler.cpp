#include "formats/containers/unpickler.h"

#include <algorithm>

#include "formats/containers/pickle_globals.h"

namespace latent::formats {

namespace {

// A checkpoint of three thousand tensors has about sixty thousand values. At worst this is about 70 MB.
constexpr size_t most_values = size_t{1} << 20;
constexpr size_t most_items = size_t{4} << 20;
constexpr size_t longest_pickle_name = 1024;

constexpr int deepest_rebuild = 4;

}  // namespace

Unpickler::Unpickler(Span<const uint8_t> bytes, const std::string & what, uint64_t position) : reader_(bytes, what, position) {
    lists_.emplace_back();  // list 0 stays empty
}

ValueId Unpickler::run() {
    stack_.clear();
    marks_.clear();
    memo_.clear();  // every pickle of a file has a memo of its own
    for (;;) {
        const uint8_t opcode = reader_.u8();
        if (opcode == '.') return pop();
        if (!step_scalar(opcode) && !step_text(opcode) && !step_container(opcode) && !step_stack(opcode) && !step_call(opcode)) {
            fail("the opcode " + std::to_string(opcode) + " is unknown or not allowed");
        }
    }
}

bool Unpickler::step_scalar(uint8_t opcode) {
    switch (opcode) {
        case 'N': push(add(ValueKind::none)); return true;
        case 0x88: push(add_integer(ValueKind::boolean, 1)); return true;
        case 0x89: push(add_integer(ValueKind::boolean, 0)); return true;
        case 'J': push(add_integer(ValueKind::integer, static_cast<int32_t>(reader_.u32()))); return true;
        case 'K': push(add_integer(ValueKind::integer, reader_.u8())); return true;
        case 'M': push(add_integer(ValueKind::integer, reader_.u16())); return true;
        case 0x8a: push_long(reader_.u8()); return true;
        case 0x8b: push_long(reader_.u32()); return true;
        case 'G': {  // big-endian double
            uint64_t bits = 0;
            const uint8_t * bytes = reader_.take(8);
            for (int i = 0; i < 8; ++i) bits = bits << 8 | bytes[i];
            const ValueId id = add(ValueKind::number);
            std::memcpy(&values_[id].number, &bits, sizeof bits);
            push(id);
            return true;
        }
        default: return false;
    }
}

bool Unpickler::step_text(uint8_t opcode) {
    switch (opcode) {
        case 'U': push(add_text(ValueKind::text, reader_.u8())); return true;   // SHORT_BINSTRING, Python 2
        case 'T': push(add_text(ValueKind::text, reader_.u32())); return true;  // BINSTRING
        case 'X': push(add_text(ValueKind::text, reader_.u32())); return true;
        case 0x8c: push(add_text(ValueKind::text, reader_.u8())); return true;
        case 0x8d: push(add_text(ValueKind::text, reader_.u64())); return true;
        case 'C': push(add_text(ValueKind::bytes, reader_.u8())); return true;
        case 'B': push(add_text(ValueKind::bytes, reader_.u32())); return true;
        case 0x8e: push(add_text(ValueKind::bytes, reader_.u64())); return true;
        case 0x96: push(add_text(ValueKind::bytes, reader_.u64())); return true;
        default: return false;
    }
}

bool Unpickler::step_container(uint8_t opcode) {
    switch (opcode) {
        case ']': push(add(ValueKind::list)); return true;
        case ')': push(add(ValueKind::tuple)); return true;
        case '}': push(add(ValueKind::dict)); return true;
        case 0x8f: push(add(ValueKind::object)); return true;  // EMPTY_SET: nothing that we need in a checkpoint is a set
        case 0x85: push_tuple(1); return true;
        case 0x86: push_tuple(2); return true;
        case 0x87: push_tuple(3); return true;
        case 't':
        case 'l':
        case 0x91: {  // TUPLE, LIST, FROZENSET
            const size_t first = pop_mark();
            const ValueKind kind = opcode == 't' ? ValueKind::tuple : opcode == 'l' ? ValueKind::list : ValueKind::object;
            const size_t kept = kind == ValueKind::object ? 0 : stack_.size() - first;
            const ValueId id = add_compound(kind, stack_.data() + first, kept);
            stack_.resize(first);
            push(id);
            return true;
        }
        case 'd': {  // DICT
            const size_t first = pop_mark();
            if ((stack_.size() - first) % 2 != 0) fail("a dictionary has a key without a value");
            const ValueId id = add_compound(ValueKind::dict, stack_.data() + first, stack_.size() - first);
            stack_.resize(first);
            push(id);
            return true;
        }
        case 'a': {
            const ValueId item = pop();
            if (is(top(), ValueKind::list)) append(top(), &item, 1);
            return true;
        }
        case 'e': append_items(pop_mark()); return true;
        case 0x90:
            stack_.resize(pop_mark());
            top();
            return true;  // ADDITEMS to a set
        case 's': {
            const size_t marks_below = marks_.empty() ? 0 : marks_.back();
            if (stack_.size() < marks_below + 3) fail("the stack runs empty");
            set_items(stack_.size() - 2);
            return true;
        }
        case 'u': set_items(pop_mark()); return true;
        default: return false;
    }
}

bool Unpickler::step_stack(uint8_t opcode) {
    switch (opcode) {
        case 0x80:
            if (const uint8_t protocol = reader_.u8(); protocol < 2 || protocol > 5) {
                fail("protocol " + std::to_string(protocol) + " is not supported");
            }
            return true;
        case 0x95: reader_.u64(); return true;  // FRAME: a hint for buffered reading
        case '(':
            if (marks_.size() >= most_values) fail("it is nested too deeply");
            marks_.push_back(stack_.size());
            return true;
        case '0': pop(); return true;
        case '1': stack_.resize(pop_mark()); return true;
        case '2': push(top()); return true;
        case 'q': memoize(reader_.u8()); return true;
        case 'r': memoize(reader_.u32()); return true;
        case 0x94: memoize(memo_.size()); return true;
        case 'h': push_memo(reader_.u8()); return true;
        case 'j': push_memo(reader_.u32()); return true;
        default: return false;
    }
}

bool Unpickler::step_call(uint8_t opcode) {
    switch (opcode) {
        case 'c': {
            const std::string_view module = line();
            push_global(module, line());
            return true;
        }
        case 0x93: {
            const ValueId name = pop(), module = pop();
            if (!is(name, ValueKind::text) || !is(module, ValueKind::text)) fail("the name of a class is not text");
            push_global(values_[module].text(), values_[name].text());
            return true;
        }
        case 'R':
        case 0x81: {  // REDUCE, NEWOBJ
            const ValueId arguments = pop(), callee = pop();
            push(reduce(callee, arguments, 0));
            return true;
        }
        case 0x92: {  // NEWOBJ_EX
            pop();
            const ValueId arguments = pop(), callee = pop();
            push(reduce(callee, arguments, 0));
            return true;
        }
        case 'b': build(); return true;
        case 'Q': {
            const ValueId id = pop();
            if (!is(id, ValueKind::tuple)) fail("a persistent id is not a tuple");
            const ValueId storage = add(ValueKind::storage);
            values_[storage].items = values_[id].items;
            push(storage);
            return true;
        }
        default: return false;
    }
}

Span<const ValueId> Unpickler::items(ValueId id) const {
    return lists_[values_[id].items];
}

const ValueId * Unpickler::lookup(ValueId dict, std::string_view key) const {
    const Span<const ValueId> pairs = items(dict);
    for (size_t i = pairs.size(); i >= 2; i -= 2) {
        if (is_text(pairs[i - 2], key)) return &pairs[i - 1];
    }
    return nullptr;
}

void Unpickler::fail(const std::string & what) const {
    broken(reader_.file(), "the pickle is damaged or unsafe: " + what + " (offset " + std::to_string(reader_.position()) + ")");
}

ValueId Unpickler::add(ValueKind kind) {
    if (values_.size() >= most_values) fail("it has more than " + std::to_string(most_values) + " values");
    values_.emplace_back();
    values_.back().kind = kind;
    return static_cast<ValueId>(values_.size() - 1);
}

ValueId Unpickler::add_integer(ValueKind kind, int64_t integer) {
    const ValueId id = add(kind);
    values_[id].integer = integer;
    return id;
}

ValueId Unpickler::add_text(ValueKind kind, uint64_t length) {
    if (length > UINT32_MAX) fail("it has a text of " + std::to_string(length) + " bytes");
    const std::string_view text = reader_.text(length);
    const ValueId id = add(kind);
    values_[id].data = text.data();
    values_[id].length = static_cast<uint32_t>(length);
    return id;
}

ValueId Unpickler::add_compound(ValueKind kind, const ValueId * first, size_t count) {
    const ValueId id = add(kind);
    append(id, first, count);
    return id;
}

void Unpickler::append(ValueId id, const ValueId * first, size_t count) {
    if (count == 0) return;
    item_count_ += count;
    if (item_count_ > most_items) fail("its lists are too long");
    if (values_[id].items == 0) {
        values_[id].items = static_cast<uint32_t>(lists_.size());
        lists_.emplace_back();
    }
    std::vector<ValueId> & list = lists_[values_[id].items];
    list.insert(list.end(), first, first + count);
}

void Unpickler::push(ValueId id) {
    if (stack_.size() >= most_values) fail("it is nested too deeply");
    stack_.push_back(id);
}

ValueId Unpickler::top() const {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail("the stack runs empty");
    return stack_.back();
}

ValueId Unpickler::pop() {
    const ValueId id = top();
    stack_.pop_back();
    return id;
}

size_t Unpickler::pop_mark() {
    if (marks_.empty()) fail("a mark is missing");
    const size_t first = marks_.back();
    marks_.pop_back();
    return first;
}

void Unpickler::memoize(uint64_t index) {
    // Picklers number memo entries without gaps; some slack is left for tools that drop unused ones.
    if (index > memo_.size() + 65536 || index >= most_values)
        fail("the memo index " + std::to_string(index) + " is out of range");
    const ValueId id = top();
    if (index >= memo_.size()) memo_.resize(static_cast<size_t>(index) + 1, UINT32_MAX);
    memo_[static_cast<size_t>(index)] = id;
}

void Unpickler::push_memo(uint64_t index) {
    if (index >= memo_.size() || memo_[static_cast<size_t>(index)] == UINT32_MAX) {
        fail("the memo has no entry " + std::to_string(index));
    }
    push(memo_[static_cast<size_t>(index)]);
}

void Unpickler::push_long(uint64_t length) {
    const ValueId id = add_text(ValueKind::big_integer, length);
    PickleValue & value = values_[id];
    if (length <= 8) {  // little-endian two's complement
        const char * bytes = value.data;
        uint64_t bits = length > 0 && (static_cast<uint8_t>(bytes[length - 1]) & 0x80) ? ~uint64_t{0} : 0;
        for (uint64_t i = length; i-- > 0;) bits = bits << 8 | static_cast<uint8_t>(bytes[i]);
        value.kind = ValueKind::integer;
        value.length = 0;
        std::memcpy(&value.integer, &bits, sizeof bits);
    }
    push(id);
}

void Unpickler::push_tuple(size_t count) {
    if (stack_.size() - (marks_.empty() ? 0 : marks_.back()) < count) fail("the stack runs empty");
    const ValueId id = add_compound(ValueKind::tuple, stack_.data() + (stack_.size() - count), count);
    stack_.resize(stack_.size() - count);
    push(id);
}

std::string_view Unpickler::line() {
    const uint64_t limit = std::min<uint64_t>(reader_.left(), longest_pickle_name);
    ByteReader ahead = reader_;
    uint64_t length = 0;
    while (length < limit && ahead.u8() != '\n') ++length;
    if (length == limit) fail("the name of a class does not end");
    const std::string_view text = reader_.text(length);
    reader_.skip(1);
    return text;
}

void Unpickler::push_global(std::string_view module, std::string_view name) {
    const PickleGlobal found = find_pickle_global(module, name);
    const ValueId id = add_integer(ValueKind::global, static_cast<int64_t>(found.dtype));
    PickleValue & value = values_[id];
    value.global = found.kind;
    if (found.kind == GlobalKind::unknown) {
        value.data = name.data();
        value.length = static_cast<uint32_t>(name.size());
    }
    push(id);
}

void Unpickler::set_items(size_t first) {
    const size_t floor = marks_.empty() ? 0 : marks_.back();
    if (first <= floor) fail("the stack runs empty");
    if ((stack_.size() - first) % 2 != 0) fail("a dictionary has a key without a value");
    const ValueId target = stack_[first - 1];
    if (is(target, ValueKind::dict)) append(target, stack_.data() + first, stack_.size() - first);
    stack_.resize(first);
}

void Unpickler::append_items(size_t first) {
    const size_t floor = marks_.empty() ? 0 : marks_.back();
    if (first <= floor) fail("the stack runs empty");
    const ValueId target = stack_[first - 1];
    if (is(target, ValueKind::list)) append(target, stack_.data() + first, stack_.size() - first);
    stack_.resize(first);
}

// State is kept only for opaque objects; that of an OrderedDict (its `_metadata`) has nothing we need.
void Unpickler::build() {
    const ValueId state = pop(), target = top();
    if (!is(target, ValueKind::object)) return;
    const Span<const ValueId> now = items(target);
    if (now.size() == 1) append(target, &state, 1);
}

ValueId Unpickler::reduce(ValueId callee, ValueId arguments, int depth) {
    const Span<const ValueId> list = items(arguments);
    const bool callable = is(callee, ValueKind::global) && is(arguments, ValueKind::tuple);
    const GlobalKind kind = callable ? values_[callee].global : GlobalKind::unknown;
    switch (kind) {
        case GlobalKind::ordered_dict: return make_dict(list);
        case GlobalKind::rebuild_tensor: return make_tensor(list, false);
        case GlobalKind::rebuild_tensor_v3: return make_tensor(list, true);
        case GlobalKind::rebuild_parameter:
            if (!list.empty()) return list[0];
            break;
        case GlobalKind::torch_size:
            if (list.size() == 1 && (is(list[0], ValueKind::tuple) || is(list[0], ValueKind::list))) return list[0];
            break;
        case GlobalKind::rebuild_from_type:  // (function, type, arguments, state)
            if (list.size() >= 3 && depth < deepest_rebuild) return reduce(list[0], list[2], depth + 1);
            break;
        default: break;
    }
    return add_compound(ValueKind::object, &callee, 1);
}

/// OrderedDict() or OrderedDict([(key, value), ...]).
ValueId Unpickler::make_dict(Span<const ValueId> arguments) {
    std::vector<ValueId> pairs;
    if (!arguments.empty() && (is(arguments[0], ValueKind::list) || is(arguments[0], ValueKind::tuple))) {
        for (const ValueId pair : items(arguments[0])) {
            const Span<const ValueId> two = items(pair);
            if (two.size() != 2 || is(pair, ValueKind::dict)) fail("a dictionary is built from something other than pairs");
            pairs.insert(pairs.end(), {two[0], two[1]});
        }
    }
    return add_compound(ValueKind::dict, pairs.data(), pairs.size());
}

/// Only makes the record. Its numbers are checked later, for the tensors that are used.
ValueId Unpickler::make_tensor(Span<const ValueId> arguments, bool with_dtype) {
    if (arguments.size() < (with_dtype ? 7u : 4u)) fail("a tensor has too few arguments");
    std::vector<ValueId> record(arguments.begin(), arguments.begin() + 4);
    if (with_dtype) record.push_back(arguments[6]);
    return add_compound(ValueKind::tensor, record.data(), record.size());
}

}  // namespace latent::formats
