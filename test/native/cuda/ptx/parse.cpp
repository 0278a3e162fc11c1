#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <set>
#include <sstream>

#include "ptx/machine.h"

namespace latent_ptx {
namespace {

std::string trimmed(const std::string & text) {
    const size_t first = text.find_first_not_of(" \t"), last = text.find_last_not_of(" \t");
    return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

bool begins(const std::string & text, const char * with) {
    return text.rfind(with, 0) == 0;
}

/// At commas outside brackets and braces.
std::vector<std::string> split(const std::string & text) {
    std::vector<std::string> parts(1);
    int depth = 0;
    for (const char c : text) {
        if (c == '{' || c == '[') ++depth;
        if (c == '}' || c == ']') --depth;
        if (c == ',' && depth == 0)
            parts.emplace_back();
        else
            parts.back() += c;
    }
    for (std::string & part : parts) part = trimmed(part);
    if (parts.size() == 1 && parts[0].empty()) parts.clear();
    return parts;
}

/// What set_special() in run.cpp sets.
bool is_special(const std::string & name) {
    static const std::set<std::string> known = {"%tid.x",    "%ctaid.x",  "%ctaid.y", "%ctaid.z",
                                                "%nctaid.x", "%nctaid.y", "%nctaid.z"};
    return known.count(name) > 0;
}

/// A kernel while its text is read.
class Reader {
public:
    Reader(Kernel & kernel, const std::set<std::string> & shared) : kernel_(kernel), shared_(shared) {}

    /// ".param .align 8 .b8 NAME[48]" or ".param .u64 .ptr .align 1 NAME", whose alignment is that of what it points to
    void parameter(const std::string & line) {
        std::istringstream words(line);
        std::string word, name;
        size_t align = 0, bytes = 0, unused = 0;
        while (words >> word) {
            if (word == ".align")
                words >> (bytes == 0 ? align : unused);
            else if (word.size() > 2 && word[0] == '.' && std::isdigit(static_cast<unsigned char>(word[2])))
                bytes = std::stoul(word.substr(2)) / 8;
            else
                name = word;
        }
        while (!name.empty() && (name.back() == ',' || name.back() == ')')) name.pop_back();
        if (align == 0) align = bytes;
        const size_t bracket = name.find('[');
        if (bracket != std::string::npos) bytes *= std::stoul(name.substr(bracket + 1)), name.resize(bracket);
        const size_t at = (kernel_.parameter_bytes + align - 1) / align * align;
        parameters_[name] = at;
        kernel_.parameter_bytes = at + bytes;
    }

    void label(const std::string & name) { labels_[name] = static_cast<uint32_t>(kernel_.code.size()); }

    /// "{ .reg .b16 tmp; mov.b32 {tmp, %rs7}, %r8; }", of inline assembly or of the compiler
    void block(const std::string & text) {
        std::istringstream statements(text.substr(1, text.rfind('}') - 1));
        std::string each, word;
        while (std::getline(statements, each, ';')) {
            each = trimmed(each);
            std::istringstream words(each);
            if (begins(each, ".reg")) {
                words >> word >> word >> word;
                names_[word] = kernel_.registers++;
            } else if (!each.empty()) {
                statement(each);
            }
        }
    }

    void statement(std::string text) {
        Instruction i;
        i.text = text;
        if (text[0] == '@') {
            const size_t end = text.find_first_of(" \t");
            i.guard_negated = text[1] == '!';
            i.guard = name(text.substr(i.guard_negated ? 2 : 1, end - (i.guard_negated ? 2 : 1)));
            text = trimmed(text.substr(end));
        }
        const size_t end = text.find_first_of(" \t");
        std::string mnemonic = text.substr(0, end);
        const std::vector<std::string> operands = split(end == std::string::npos ? "" : text.substr(end));
        if (begins(mnemonic, "mov.b") && operands[0][0] == '{') mnemonic += ".split";
        if (begins(mnemonic, "mov.b") && operands[1][0] == '{') mnemonic += ".join";
        set_step(mnemonic, i);
        i.kind = kind_of(mnemonic);
        if (i.flow == Flow::branch) {
            branches_.emplace_back(kernel_.code.size(), operands.back());
        } else if (begins(mnemonic, "bar.")) {
            const char * const all = begins(mnemonic, "bar.warp") ? "-1" : "0";
            if (operands != std::vector<std::string>{all}) fail("a barrier of another kind: " + i.text);
        } else if (i.flow != Flow::leave) {
            for (const std::string & operand : operands) add(i, operand);
            note_results(mnemonic, i);
            // The address of a store comes first in the text.
            if (begins(mnemonic, "cp.") && i.number != 0) fail("a copy with an offset: " + i.text);
            if (begins(mnemonic, "st.")) std::rotate(i.slot.begin(), i.slot.begin() + 1, i.slot.begin() + used_);
            if (used_ != i.operands) fail("another number of operands: " + i.text);
            used_ = 0;
        }
        kernel_.code.push_back(i);
    }

    void finish() {
        for (const auto & [at, label] : branches_) {
            if (labels_.count(label) == 0) fail("no label " + label);
            kernel_.code[at].target = labels_.at(label);
        }
        // Others may be values of variables that are not set on every path; these are NaN here.
        for (const auto & [name, slot] : names_) {
            if (begins(name, "%p") && written_.count(slot) == 0) fail("a predicate that nothing sets: " + name);
        }
        const auto goes_on = [](const Instruction & i) {
            return i.guard >= 0 || (i.flow != Flow::leave && i.flow != Flow::branch);
        };
        if (kernel_.code.empty() || goes_on(kernel_.code.back())) fail("a kernel that does not end");
    }

private:
    void note_results(const std::string & mnemonic, const Instruction & i) {
        const bool none = begins(mnemonic, "st.") || begins(mnemonic, "cp.");
        const bool split = mnemonic.find(".split") != std::string::npos;
        const int results = none                            ? 0
                            : begins(mnemonic, "ld.")       ? i.elements
                            : begins(mnemonic, "ldmatrix.") ? 4
                            : begins(mnemonic, "mma.")      ? 4
                            : split                         ? 2
                                                            : 1;
        for (int n = 0; n < results; ++n) written_.insert(i.slot[static_cast<size_t>(n)]);
    }

    int constant(uint64_t bits) {
        const auto [found, added] = constants_.emplace(bits, kernel_.registers);
        if (added) kernel_.constants.emplace_back(kernel_.registers++, bits);
        return found->second;
    }

    /// The register of a name, a number or a symbol.
    int name(const std::string & text) {
        if (names_.count(text)) return names_.at(text);
        if (text == "_") return kernel_.registers++;  // a result that nothing uses
        if (text[0] == '%') {
            const auto [found, added] = names_.emplace(text, kernel_.registers);
            if (added) ++kernel_.registers;
            if (is_special(text)) kernel_.special[text] = found->second;
            return found->second;
        }
        if (shared_.count(text)) return constant(kSharedBase);
        if (parameters_.count(text)) return constant(parameters_.at(text));
        char * end = nullptr;
        const bool is_float = begins(text, "0f");
        const uint64_t bits = is_float         ? std::strtoull(text.c_str() + 2, &end, 16)
                              : text[0] == '-' ? static_cast<uint64_t>(std::strtoll(text.c_str(), &end, 0))
                                               : std::strtoull(text.c_str(), &end, 0);
        if (*end != 0 && std::strcmp(end, "U") != 0) fail("an unknown operand: " + text);
        return constant(bits);
    }

    void add(Instruction & i, const std::string & text) {
        const auto push = [&](int slot) {
            if (static_cast<size_t>(used_) == i.slot.size()) fail("too many operands");
            i.slot[static_cast<size_t>(used_++)] = slot;
        };
        if (text[0] == '{') {
            for (const std::string & part : split(text.substr(1, text.size() - 2))) push(name(part));
        } else if (text[0] == '[') {
            std::string base = text.substr(1, text.size() - 2);
            const size_t plus = base.find('+');
            const int64_t offset = plus == std::string::npos ? 0 : std::stoll(base.substr(plus + 1));
            base = base.substr(0, plus);
            if (offset != 0) i.number = offset;
            push(name(base));
        } else {
            // The predicate of a shuffle, whether the other lane exists, which it does: %r1|%p2.
            const size_t second = begins(i.text, "shfl.") ? text.find('|') : std::string::npos;
            push(name(text.substr(0, second)));
        }
    }

    Kernel & kernel_;
    const std::set<std::string> & shared_;
    int used_ = 0;
    std::unordered_map<std::string, size_t> parameters_;
    std::unordered_map<std::string, uint32_t> labels_;
    std::vector<std::pair<size_t, std::string>> branches_;
    std::unordered_map<std::string, int> names_;
    std::unordered_map<uint64_t, int> constants_;
    std::set<int> written_;
};

}  // namespace

std::vector<Kernel> parse(const std::string & text) {
    std::vector<Kernel> kernels;
    std::set<std::string> shared;
    std::istringstream lines(text);
    std::string line;
    while (std::getline(lines, line)) {
        line = trimmed(line.substr(0, line.find("//")));
        if (begins(line, ".extern .shared")) {
            const size_t end = line.find('[');
            const size_t begin = line.rfind(' ', end) + 1;
            shared.insert(line.substr(begin, end - begin));
            continue;
        }
        const size_t entry = line.find(".entry ");
        if (entry == std::string::npos) continue;
        Kernel & kernel = kernels.emplace_back();
        kernel.name = line.substr(entry + 7, line.find('(') - entry - 7);
        Reader reader(kernel, shared);
        while (std::getline(lines, line) && trimmed(line) != "{") {
            if (line.find(".param") != std::string::npos) reader.parameter(trimmed(line));
            if (begins(line, ".maxntid ")) kernel.most_threads = std::stoi(line.substr(9));
        }
        while (std::getline(lines, line) && line != "}") {
            line = trimmed(line.substr(0, line.find("//")));
            if (line.empty() || begins(line, ".reg ") || begins(line, ".pragma ")) continue;
            if (line[0] == '{' && line.back() == '}') {
                reader.block(line);
                continue;
            }
            if (line.back() == ':')
                reader.label(line.substr(0, line.size() - 1));
            else if (line.back() == ';')
                reader.statement(line.substr(0, line.size() - 1));
            else
                fail("an unknown line: " + line);
        }
        reader.finish();
    }
    return kernels;
}

}  // namespace latent_ptx
