// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/browser.h"

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string_view>

namespace halfpipe::tools {

namespace {

namespace fs = std::filesystem;

// A visit takes a second; a cold start on a busy machine, several.
constexpr double kTimeoutSeconds = 60.0;
constexpr int kNotFound = 127;  // of Command, where exec fails
constexpr std::string_view kResultBegins = "<pre id=\"result\">";
constexpr std::string_view kResultEnds = "</pre>";

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

}  // namespace

Browser::Browser(fs::path folder) : folder_(std::move(folder)) {
  const CommandResult version =
      Command({"chromium", "--version"}, {.directory = folder_, .environment = {}})
          .wait(kTimeoutSeconds);
  if (version.exit_code == kNotFound) {
    throw std::runtime_error(
        "this test needs the Debian package 'chromium': tools/install_packages.sh chromium");
  }
}

nlohmann::json Browser::evaluate(const std::string& html, const std::string& script) {
  std::string page = html;
  page.insert(page.rfind("</body>"),
              "<script>{\nlet result = null;\n" + script +
                  "\nconst shown = document.createElement('pre');\nshown.id = 'result';\n"
                  "shown.textContent = JSON.stringify(result);\ndocument.body.append(shown);\n}"
                  "</script>\n");
  const std::string document = visit(page, {"--dump-dom"});
  const std::size_t begin = document.rfind(kResultBegins);
  if (begin == std::string::npos) throw std::runtime_error("the script did not end: " + script);
  const std::size_t from = begin + kResultBegins.size();
  std::string result = document.substr(from, document.find(kResultEnds, from) - from);
  replace_all(result, "&lt;", "<");
  replace_all(result, "&gt;", ">");
  replace_all(result, "&nbsp;", "\xc2\xa0");
  replace_all(result, "&amp;", "&");
  return nlohmann::json::parse(result);
}

std::string Browser::screenshot(const std::string& html, int width, int height) {
  const fs::path picture = folder_ / "screenshot.png";
  fs::remove(picture);
  visit(html, {"--screenshot=" + picture.string(),
               "--window-size=" + std::to_string(width) + "," + std::to_string(height)});
  std::ifstream file(picture, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string Browser::visit(const std::string& html, const std::vector<std::string>& arguments) {
  const fs::path page = folder_ / "page.html";
  std::ofstream(page, std::ios::binary) << html;
  // Root may not use Chromium's sandbox; the pages are our own. Virtual time: scripts and frames
  // run to their end before the page is looked at, however slow the machine is.
  std::vector<std::string> command = {"chromium",
                                      "--headless",
                                      "--no-sandbox",
                                      "--disable-gpu",
                                      "--enable-logging=stderr",
                                      "--virtual-time-budget=2000",
                                      "--user-data-dir=" + (folder_ / "profile").string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  command.push_back("file://" + page.string());
  const CommandResult result =
      Command(command, {.directory = folder_, .environment = {{"HOME", folder_.string()}}})
          .wait(kTimeoutSeconds);
  if (result.exit_code != 0) throw std::runtime_error("chromium failed:\n" + result.err);
  std::istringstream log(result.err);
  for (std::string line; std::getline(log, line);) {
    if (line.find(":CONSOLE") != std::string::npos) console_.push_back(line);
  }
  return result.out;
}

}  // namespace halfpipe::tools
