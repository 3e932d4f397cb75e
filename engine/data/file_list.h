// SPDX-License-Identifier: Apache-2.0
// Which files a list of paths, folders and globs names. Resolved here and not by a shell, so that
// every rank sees the same files in the same order.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace halfpipe::data {

/// The regular files that `patterns` name, sorted by path (bytewise), each file once (under its
/// shortest name) even if several patterns or symbolic links lead to it. A pattern is, in this
/// order:
///
///   an existing file      the file itself, which must be readable
///   an existing folder    every file below it
///   a glob                every existing path that matches, resolved as if it had been named
///   itself. Within one path
///                         component * stands for any characters, ? for one byte, [a-z0] and
///                         [!a-z0] for one byte of (not of) a set; the component ** stands for any
///                         number of folders, none included
///
/// Below folders and under globs, hidden names (.name), unreadable files and folders and special
/// files are passed over, symbolic links are followed, and each folder is entered once, so that
/// link loops end. A component that begins with a dot matches hidden names.
///
/// Throws FileError that names the pattern and `key` (the configuration key that holds the
/// patterns) where a pattern names no file.
[[nodiscard]] std::vector<std::string> list_files(std::span<const std::string> patterns,
                                                  std::string_view key);

/// Does `name`, one path component, match `glob`? (No **.)
[[nodiscard]] bool matches_glob(std::string_view name, std::string_view glob);

}  // namespace halfpipe::data
