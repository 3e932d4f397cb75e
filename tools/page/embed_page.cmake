# SPDX-License-Identifier: Apache-2.0
# Puts the page's parts together and makes a C++ source of it. Run by the build:
#   cmake -DSOURCE_DIR=... -DSCRIPTS=a.js,b.js -DOUTPUT=timeline_page_text.cpp -P embed_page.cmake
file(READ "${SOURCE_DIR}/timeline_page.html" page)
file(READ "${SOURCE_DIR}/timeline_page.css" style)
set(script "")
string(REPLACE "," ";" scripts "${SCRIPTS}")
foreach(name IN LISTS scripts)
  file(READ "${SOURCE_DIR}/${name}" text)
  string(APPEND script "${text}\n")
endforeach()
string(REPLACE "@STYLE@" "${style}" page "${page}")
string(REPLACE "@SCRIPT@" "${script}" page "${page}")
file(WRITE "${OUTPUT}" "// Made from tools/page/timeline_page.html and what it includes.
#include \"tools/page/timeline_page_text.h\"
namespace halfpipe::page {
const std::string_view kTimelinePageText = R\"page(${page})page\";
}  // namespace halfpipe::page
")
