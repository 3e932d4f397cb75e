// SPDX-License-Identifier: Apache-2.0
#include "engine/config/yaml_reader.h"

#include "kernels/core/error.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <sstream>
#include <unordered_map>
#include <utility>

namespace halfpipe::config {
namespace {

constexpr std::string_view kNoAliases =
    "YAML anchors and aliases are not used here; a value that begins with & or * (a glob) needs "
    "quotes";

std::string place_of(const YamlSource& source, int zero_based_line) {
  if (!source.with_lines || zero_based_line < 0) return source.name;
  return fmt::format("{}:{}", source.name, zero_based_line + 1);
}

// Builds the tree from the parser's events. Events instead of YAML::Node, because they carry the
// line of every key and show anchors, aliases and tags before those are resolved.
class TreeBuilder final : public YAML::EventHandler {
 public:
  /// `text` is what the parser reads.
  TreeBuilder(std::string_view text, const YamlSource& source) : text_(text), source_(source) {}

  YamlValue take_root() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++num_documents_ > 1) refuse(mark, "a second YAML document begins here; there must be one");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    add(mark, make(mark, YamlValue::Kind::kNull));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override { refuse_alias(mark); }

  void OnScalar(const YAML::Mark& mark,
                const std::string& tag,
                YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    const bool quoted =
        tag == "!";  // yaml-cpp's marks: "?" for plain, "!" for quoted or block text
    if (quoted) refuse_open_quote(mark);
    if (expects_key()) {
      accept_key(mark, value);
      return;
    }
    const bool null =
        !quoted && (value == "null" || value == "Null" || value == "NULL" || value == "~");
    YamlValue scalar = make(mark, null ? YamlValue::Kind::kNull : YamlValue::Kind::kScalar);
    if (!null) scalar.text = value;
    scalar.quoted = quoted;
    add(mark, std::move(scalar));
  }

  void OnSequenceStart(const YAML::Mark& mark,
                       const std::string& tag,
                       YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    begin(mark, tag, anchor, YamlValue::Kind::kList);
  }
  void OnSequenceEnd() override { end(); }

  void OnMapStart(const YAML::Mark& mark,
                  const std::string& tag,
                  YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    begin(mark, tag, anchor, YamlValue::Kind::kMap);
  }
  void OnMapEnd() override { end(); }

 private:
  // A list or map whose end is still to come; `key` waits for its value.
  struct Open {
    YamlValue value;
    bool has_key = false;
    std::string key;
    std::string key_place;
    std::unordered_map<std::string, std::string> places_of_keys;
  };

  [[noreturn]] void refuse(const YAML::Mark& mark, std::string_view sentence) const {
    throw ConfigError(fmt::format("{}: {}", place_of(source_, mark.line), sentence));
  }
  [[noreturn]] void refuse_alias(const YAML::Mark& mark) const { refuse(mark, kNoAliases); }
  void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) const {
    if (anchor != 0) refuse_alias(mark);
  }
  void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    if (tag.empty() || tag == "?" || tag == "!") return;
    refuse(mark, "YAML tags are not used here; a value that begins with ! needs quotes");
  }

  // A quote that is never closed would take the keys below it into the value, and yaml-cpp takes
  // the end of the file as a closing one. So a quoted text ends on its own line. The parser tells
  // where one begins, hence nothing here knows comments, plain text or blocks.
  void refuse_open_quote(const YAML::Mark& mark) const {
    const auto begin = static_cast<std::size_t>(mark.pos);
    if (begin >= text_.size()) return;
    const char quote = text_[begin];
    if (quote != '"' && quote != '\'') return;  // the | or > of a block
    for (std::size_t at = begin + 1; at < text_.size() && text_[at] != '\n'; ++at) {
      if (quote == '"' && text_[at] == '\\') {
        ++at;
      } else if (text_[at] == quote) {
        if (quote == '"' || at + 1 == text_.size() || text_[at + 1] != quote) return;
        ++at;  // '' is one quote
      }
    }
    refuse(mark, "the quote is never closed; a quoted text ends on the line where it begins");
  }

  [[nodiscard]] bool expects_key() const {
    return !open_.empty() && open_.back().value.kind == YamlValue::Kind::kMap &&
           !open_.back().has_key;
  }

  [[nodiscard]] YamlValue make(const YAML::Mark& mark, YamlValue::Kind kind) const {
    YamlValue value;
    value.kind = kind;
    value.place = place_of(source_, mark.line);
    return value;
  }

  void accept_key(const YAML::Mark& mark, const std::string& key) {
    Open& map = open_.back();
    map.has_key = true;
    map.key = key;
    map.key_place = place_of(source_, mark.line);
    const auto [first, is_new] = map.places_of_keys.emplace(key, map.key_place);
    if (!is_new)
      refuse(mark, fmt::format("{}: set twice; the first time at {}", key, first->second));
  }

  void begin(const YAML::Mark& mark,
             const std::string& tag,
             YAML::anchor_t anchor,
             YamlValue::Kind kind) {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    if (expects_key())
      refuse(mark, "a key must be text, not a list or a map; is a bracket left open?");
    open_.push_back({make(mark, kind), false, {}, {}, {}});
  }

  void end() {
    YamlValue finished = std::move(open_.back().value);
    open_.pop_back();
    attach(std::move(finished));
  }

  void add(const YAML::Mark& mark, YamlValue value) {
    if (expects_key()) refuse(mark, "a key must be text, not null");
    attach(std::move(value));
  }

  void attach(YamlValue value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return;
    }
    Open& parent = open_.back();
    if (parent.value.kind == YamlValue::Kind::kMap) {
      value.name = std::move(parent.key);
      value.place = std::move(parent.key_place);
      parent.has_key = false;
    }
    parent.value.held.push_back(std::move(value));
  }

  std::string_view text_;
  const YamlSource& source_;
  int num_documents_ = 0;
  YamlValue root_;
  std::vector<Open> open_;
};

// YAML allows none but tabs and line ends, and yaml-cpp takes 0x04 as the end of the text.
void refuse_control_characters(std::string_view text, const YamlSource& source) {
  int line = 0;
  for (const char c : text) {
    if (c == '\n') ++line;
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 || c == '\n' || c == '\r' || c == '\t') continue;
    throw ConfigError(fmt::format(
        "{}: holds {}; a configuration is a text file", place_of(source, line),
        byte == 0 ? "a zero byte" : fmt::format("the control character 0x{:02x}", byte)));
  }
}

// yaml-cpp's own message for a tab is about something else, and differs with what follows.
void refuse_tab_indentation(std::string_view text, const YamlSource& source) {
  int line = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view row = text.substr(0, end);
    const std::size_t first = row.find_first_not_of(" \t");
    if (row.substr(0, first).find('\t') != std::string_view::npos) {
      throw ConfigError(fmt::format("{}: a tab indents this line; YAML allows spaces only",
                                    place_of(source, line)));
    }
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
    ++line;
  }
}

}  // namespace

YamlValue parse_yaml(std::string_view text, const YamlSource& source) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  refuse_control_characters(text, source);
  refuse_tab_indentation(text, source);
  // The last line ends like all others, so that a quote left open there is found like all others.
  const std::string lines = std::string(text) + '\n';
  TreeBuilder builder(lines, source);
  std::istringstream stream{lines};
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    // An alias without its anchor never reaches the builder.
    const bool alias = error.msg.find("anchor") != std::string::npos;
    throw ConfigError(fmt::format("{}: broken YAML: {}", place_of(source, error.mark.line),
                                  alias ? kNoAliases : error.msg));
  }
  YamlValue root = builder.take_root();
  if (root.place.empty()) root.place = source.name;
  return root;
}

}  // namespace halfpipe::config
