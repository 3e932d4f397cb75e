// SPDX-License-Identifier: Apache-2.0
// Path expansion of file_list.h by std::filesystem, never throwing for what it may pass over.
#include "engine/data/file_list.h"

#include "kernels/core/error.h"

#include <fmt/format.h>

#include <unistd.h>
#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <system_error>

namespace halfpipe::data {

namespace fs = std::filesystem;

namespace {

bool is_readable(const fs::path& path) {
  return ::access(path.c_str(), R_OK) == 0;
}

// Fewer components first, so that of a file's names the one through no link loop wins.
bool is_simpler(const std::string& a, const std::string& b) {
  const auto depth = [](const std::string& name) {
    return std::count(name.begin(), name.end(), '/');
  };
  return std::pair(depth(a), a) < std::pair(depth(b), b);
}

// Real path -> path as named, so that a file is kept once, under the simplest of its names.
class FoundFiles {
 public:
  void add(const fs::path& path) {
    std::error_code ignored;
    const fs::path real = fs::canonical(path, ignored);
    if (ignored) return;
    // Tidy "./a//b", but not where "link/.." would then lead elsewhere.
    const fs::path tidy = path.lexically_normal();
    const std::string name = (fs::canonical(tidy, ignored) == real ? tidy : path).string();
    const auto [entry, inserted] = names_.emplace(real.string(), name);
    if (!inserted && is_simpler(name, entry->second)) entry->second = name;
    ++num_added_;
  }
  [[nodiscard]] int num_added() const { return num_added_; }
  [[nodiscard]] std::vector<std::string> sorted() const {
    std::vector<std::string> names;
    for (const auto& [real, name] : names_) names.push_back(name);
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::map<std::string, std::string> names_;
  int num_added_ = 0;
};

std::vector<fs::path> sorted_entries(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(folder.empty() ? fs::path(".") : folder, error), end;
       !error && it != end; it.increment(error)) {
    entries.push_back(folder / it->path().filename());
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

bool is_hidden(const fs::path& path) {
  return path.filename().native().starts_with('.');
}

// Every folder at or below `folder`, parents first, each once whatever the links.
void collect_folders(const fs::path& folder,
                     std::set<std::string>& entered,
                     std::vector<fs::path>& folders) {
  std::error_code error;
  const fs::path real = fs::canonical(folder.empty() ? fs::path(".") : folder, error);
  if (error || !entered.insert(real.string()).second) return;
  folders.push_back(folder);
  for (const fs::path& entry : sorted_entries(folder)) {
    if (!is_hidden(entry) && fs::is_directory(entry, error))
      collect_folders(entry, entered, folders);
  }
}

std::vector<fs::path> folders_below(const fs::path& folder) {
  std::set<std::string> entered;
  std::vector<fs::path> folders;
  collect_folders(folder, entered, folders);
  return folders;
}

void add_if_readable_file(const fs::path& path, FoundFiles& found) {
  std::error_code error;
  if (fs::is_regular_file(path, error) && is_readable(path)) found.add(path);
}

void add_files_below(const fs::path& folder, FoundFiles& found) {
  for (const fs::path& below : folders_below(folder)) {
    for (const fs::path& entry : sorted_entries(below)) {
      if (!is_hidden(entry)) add_if_readable_file(entry, found);
    }
  }
}

bool has_wildcard(std::string_view component) {
  return component.find_first_of("*?[") != std::string_view::npos;
}

void add_named(const fs::path& path, FoundFiles& found) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    add_files_below(path, found);
  } else {
    add_if_readable_file(path, found);
  }
}

using Component = fs::path::iterator;

// Matches the components from `next` on against what exists below `base`.
void add_matches(const fs::path& base, Component next, Component end, FoundFiles& found) {
  if (next == end) {
    add_named(base, found);
    return;
  }
  const std::string component = next->string();
  const Component rest = std::next(next);
  std::error_code error;
  if (component == "**") {
    for (const fs::path& folder : folders_below(base)) {
      if (rest != end) add_matches(folder, rest, end, found);
    }
    if (rest == end) add_files_below(base, found);
  } else if (!has_wildcard(component)) {
    const fs::path path = base / component;
    if (component.empty() || fs::exists(path, error)) add_matches(path, rest, end, found);
  } else {
    for (const fs::path& entry : sorted_entries(base)) {
      if (is_hidden(entry) && !component.starts_with('.')) continue;
      if (matches_glob(entry.filename().native(), component)) add_matches(entry, rest, end, found);
    }
  }
}

void add_pattern(const std::string& pattern, std::string_view key, FoundFiles& found) {
  const fs::path path(pattern);
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::exists(status)) {
    if (!fs::is_directory(status) && !fs::is_regular_file(status)) {
      throw FileError(fmt::format("{} (\"{}\") must name regular files or folders", key, pattern));
    }
    if (!is_readable(path))
      throw FileError(fmt::format("{} (\"{}\") cannot be read", key, pattern));
    add_named(path, found);
  } else if (has_wildcard(pattern)) {
    add_matches({}, path.begin(), path.end(), found);
  } else {
    throw FileError(
        fmt::format("{} (\"{}\") names no existing file, folder or glob", key, pattern));
  }
}

// After '[' at `open`: the closing bracket, where a ']' in first place stands for itself.
std::optional<std::size_t> closing_bracket(std::string_view glob, std::size_t open) {
  std::size_t first = open + 1;
  if (first < glob.size() && glob[first] == '!') ++first;
  const std::size_t close = glob.find(']', first + 1);
  if (close == std::string_view::npos) return std::nullopt;
  return close;
}

bool in_set(char c, std::string_view set) {
  const bool negated = set.starts_with('!');
  if (negated) set.remove_prefix(1);
  bool found = false;
  for (std::size_t i = 0; i < set.size(); ++i) {
    const bool is_range = i + 2 < set.size() && set[i + 1] == '-';
    const auto low = static_cast<unsigned char>(set[i]);
    const auto high = static_cast<unsigned char>(is_range ? set[i + 2] : set[i]);
    found =
        found || (low <= static_cast<unsigned char>(c) && static_cast<unsigned char>(c) <= high);
    if (is_range) i += 2;
  }
  return found != negated;
}

// Length of the one-byte item of `glob` at `g` (a set is longer than one character) if it accepts
// `c`, else 0.
std::size_t accepts(char c, std::string_view glob, std::size_t g) {
  if (glob[g] == '[') {
    if (const auto close = closing_bracket(glob, g)) {
      return in_set(c, glob.substr(g + 1, *close - g - 1)) ? *close - g + 1 : 0;
    }
  }
  return glob[g] == '?' || glob[g] == c ? 1 : 0;
}

}  // namespace

std::vector<std::string> list_files(std::span<const std::string> patterns, std::string_view key) {
  FoundFiles found;
  for (const std::string& pattern : patterns) {
    const int num_before = found.num_added();
    add_pattern(pattern, key, found);
    if (found.num_added() == num_before) {
      throw FileError(fmt::format("{} (\"{}\") matches no readable file", key, pattern));
    }
  }
  return found.sorted();
}

bool matches_glob(std::string_view name, std::string_view glob) {
  std::size_t n = 0;
  std::size_t g = 0;
  std::optional<std::size_t> star;  // the last * met; everything before it is settled
  std::size_t star_end = 0;         // where in `name` that * ends for now
  while (n < name.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      star_end = n;
      continue;
    }
    const std::size_t length = g < glob.size() ? accepts(name[n], glob, g) : 0;
    if (length > 0) {
      ++n;
      g += length;
    } else if (star) {
      n = ++star_end;
      g = *star + 1;
    } else {
      return false;
    }
  }
  return glob.find_first_not_of('*', g) == std::string_view::npos;
}

}  // namespace halfpipe::data
