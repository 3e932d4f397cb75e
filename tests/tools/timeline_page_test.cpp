// SPDX-License-Identifier: Apache-2.0
// The page of timelines in a browser: what is drawn, what the mouse and the keys do.
#include "tools/page/timeline_page.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/render_svg.h"
#include "parallel/schedule/schedule_error.h"
#include "tests/tools/browser.h"
#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

using nlohmann::json;
using page::MemoryMeasure;
using page::PageSchedule;
using page::TimelinePage;

/// Functions for the scripts below. A point of a chart is {x, y} in its pixels.
constexpr const char* kMouse = R"(
const page = timelinePage;
const fire = (panel, type, {x, y}, extra = {}) => {
  const {left, top} = page.panels[panel].over.getBoundingClientRect();
  const kinds = {wheel: WheelEvent, dblclick: MouseEvent};
  page.panels[panel].over.dispatchEvent(new (kinds[type] ?? PointerEvent)(
      type, {clientX: left + x, clientY: top + y, bubbles: true, cancelable: true, ...extra}));
};
const key = (name) => document.dispatchEvent(new KeyboardEvent('keydown', {key: name}));
const range = () => [page.view.from, page.view.to];
const point = (panel, row, time) => ({x: page.panels[panel].axis().x(time), y: row.top + row.height / 2});
const onPass = (panel, rank, time) => point(panel, page.panels[panel].passRow(rank), time);
const onMemory = (panel, rank, time) => point(panel, page.panels[panel].memoryRow(rank), time);
const hover = (panel, at) => {
  fire(panel, 'pointermove', at);
  return page.tooltip.hidden ? null : page.tooltip.innerText.split(/\s*\n+\s*|\t/).join(' ');
};
const colour = (panel, {x, y}) => {
  const ratio = window.devicePixelRatio;
  // By way of a canvas of one pixel: Chromium complains of canvases that are read again and again.
  const pixel = new OffscreenCanvas(1, 1).getContext('2d');
  pixel.drawImage(page.panels[panel].base, -Math.floor(x * ratio), -Math.floor(y * ratio));
  return 'rgb(' + pixel.getImageData(0, 0, 1, 1).data.slice(0, 3).join(',') + ')';
};
)";

PageSchedule named(const std::string& name, int ranks, int micro_batches, int chunks = 2) {
  const schedule::Placement placement = schedule::placement_for(name, ranks, chunks);
  const schedule::CostModel costs = schedule::uniform_costs(placement.num_stages());
  const schedule::StageOrders orders =
      schedule::make_orders(name, ranks, micro_batches, chunks, costs);
  return {name, schedule::simulate(orders, costs), costs};
}

std::string html_of(const std::vector<PageSchedule>& schedules) {
  return page::render_timeline_page({"Schedules", schedules, "slots"});
}

double middle_of(const schedule::TimedPass& pass) {
  return (pass.start + pass.end) / 2;
}

class TimelinePageTest : public CommandTest {
 protected:
  ~TimelinePageTest() override {
    for (const std::string& line : browser.console()) ADD_FAILURE() << "console: " << line;
  }

  json evaluate(const std::string& html, const std::string& script) {
    return browser.evaluate(html, kMouse + script);
  }

  Browser browser{path(".")};
};

TEST_F(TimelinePageTest, TellsThePassUnderTheMouseAndDrawsItInItsColour) {
  const PageSchedule schedule = named("v-half", 4, 8);
  const std::string html = html_of({schedule});
  const std::string svg = schedule::render_svg(schedule.timeline, "", "slots");
  // One pass of each kind, on both chunks. Ranks 1 and 2 of a V host stages 1, 6 and 2, 5.
  const std::vector<schedule::TimedPass>& rank_1 = schedule.timeline.ranks[1];
  const std::vector<schedule::TimedPass>& rank_2 = schedule.timeline.ranks[2];
  const auto find = [](const std::vector<schedule::TimedPass>& passes, schedule::PassOp op) {
    for (const schedule::TimedPass& pass : passes) {
      if (pass.op == op) return pass;
    }
    throw std::runtime_error("no such pass");
  };
  struct Expected {
    int rank;
    schedule::TimedPass pass;
    std::string headline;
    std::string place;
  };
  using schedule::Pass;
  const std::vector<Expected> all = {
      {1, find(rank_1, {Pass::kForward, 1, 3}), "F (forward) of micro-batch 3",
       "rank 1 stage 1 chunk 0"},
      {1, find(rank_1, {Pass::kBackwardInput, 6, 2}), "B (backward, input) of micro-batch 2",
       "rank 1 stage 6 chunk 1"},
      {2, find(rank_2, {Pass::kBackwardWeight, 5, 7}), "W (backward, weight) of micro-batch 7",
       "rank 2 stage 5 chunk 1"}};
  std::string script = "result = [];\n";
  for (const Expected& expected : all) {
    // A quarter into the pass: its number, in another colour, is in the middle.
    const double time = expected.pass.start + 0.25 * (expected.pass.end - expected.pass.start);
    script += "{\nconst at = onPass(0, " + std::to_string(expected.rank) + ", " +
              std::to_string(time) +
              ");\nresult.push({text: hover(0, at), colour: colour(0, at)});\n}\n";
  }
  const json seen = evaluate(html, script);
  for (std::size_t i = 0; i < all.size(); ++i) {
    SCOPED_TRACE(all[i].headline);
    const std::string start = std::to_string(std::lround(all[i].pass.start));
    EXPECT_TRUE(seen.at(i).at("text").get<std::string>().starts_with(
        all[i].headline + " " + all[i].place + " start " + start + " duration 1 memory "))
        << seen;
    EXPECT_NE(svg.find(seen.at(i).at("colour").get<std::string>()), std::string::npos) << seen;
  }
}

TEST_F(TimelinePageTest, TellsIdleTimeAndMemory) {
  // 1F1B on 2 ranks: rank 1 waits for the first forward pass, and then holds one micro-batch at a
  // time; rank 0 holds two from slot 1 on.
  PageSchedule schedule = named("1f1b", 2, 4);
  schedule.memory_limits = {3.0, 1.5};
  const json seen = evaluate(html_of({schedule}), R"(
result = [hover(0, onPass(0, 1, 0.5)), hover(0, onMemory(0, 0, 1.5)), hover(0, onMemory(0, 1, 1.5)),
          hover(0, {x: 5, y: 5})];)");
  EXPECT_EQ(seen.at(0), "rank 1 is idle time 0.5 memory 0.00 units of 1.50 units");
  EXPECT_EQ(seen.at(1),
            "rank 0: 2.00 units of 3.00 units time 1.5 memory 2.00 units of 3.00 units");
  EXPECT_EQ(seen.at(2),
            "rank 1: 1.00 units of 1.50 units time 1.5 memory 1.00 units of 1.50 units");
  EXPECT_TRUE(seen.at(3).is_null()) << seen;
}

TEST_F(TimelinePageTest, HoldsAsMuchMemoryAsTheTimelineSays) {
  std::vector<PageSchedule> schedules = {named("v-half", 4, 9), named("interleaved", 3, 6, 3),
                                         named("zb-2p", 4, 8)};
  for (PageSchedule& schedule : std::vector(schedules)) {
    for (std::size_t stage = 0; stage < schedule.costs.stages.size(); ++stage) {
      const auto bytes = static_cast<std::int64_t>(stage);
      schedule.costs.stages[stage].forward_to_backward_input_bytes = 5 + bytes;
      schedule.costs.stages[stage].forward_to_backward_weight_bytes = 1000 + 7 * bytes;
      schedule.costs.stages[stage].backward_input_to_backward_weight_bytes = 300 + bytes;
    }
    const int chunks =
        static_cast<int>(schedule.costs.stages.size() / schedule.timeline.ranks.size());
    const auto ranks = static_cast<int>(schedule.timeline.ranks.size());
    schedule.timeline = schedule::simulate(
        schedule::make_orders(schedule.title, ranks, 8, chunks, schedule.costs), schedule.costs);
    schedule.memory_measure = MemoryMeasure::kBytes;
    schedules.push_back(schedule);
  }
  const json seen = evaluate(html_of(schedules), R"(
const curves = page.schedules.map((schedule) => schedule.memory);
result = {peaks: curves.map((ranks) => ranks.map((curve) => curve.peak)),
          ends: curves.flat().map((curve) => curve.at(1e9))};)");
  for (std::size_t i = 0; i < schedules.size(); ++i) {
    const schedule::Timeline& timeline = schedules[i].timeline;
    for (std::size_t rank = 0; rank < timeline.ranks.size(); ++rank) {
      const double expected = schedules[i].memory_measure == MemoryMeasure::kUnits
                                  ? timeline.peak_units[rank]
                                  : static_cast<double>(timeline.peak_activation_bytes[rank]);
      // A third, times a whole number, may differ from the division in its last bit.
      EXPECT_DOUBLE_EQ(seen.at("peaks").at(i).at(rank), expected)
          << schedules[i].title << " " << rank;
    }
  }
  for (const json& end : seen.at("ends")) EXPECT_EQ(end, 0.0);
}

TEST_F(TimelinePageTest, ZoomsAllTimelinesTogether) {
  const PageSchedule first = named("v-min", 4, 12);
  const PageSchedule second = named("1f1b", 4, 12);
  const json seen = evaluate(html_of({first, second}), R"(
result = {};
result.whole = range();
const fixed = onPass(1, 0, 10);
fixed.x = Math.round(fixed.x);  // a wheel turns at whole pixels
result.fixed = page.panels[0].axis().time(fixed.x);
fire(0, 'wheel', fixed, {deltaY: -300});
result.zoomed = range();
result.first = page.panels[0].axis().time(fixed.x);
result.second = page.panels[1].axis().time(fixed.x);
fire(0, 'pointerdown', {x: 400, y: 40}, {button: 0});
fire(0, 'pointermove', {x: 350, y: 40});
fire(0, 'pointerup', {x: 350, y: 40});
fire(0, 'pointermove', {x: 100, y: 40});
result.dragged = range();
result.pixel = 1 / page.panels[0].axis().pixelsPerSecond;
fire(1, 'dblclick', fixed);
result.reset = range();
key('+');
result.plus = range();
key('ArrowRight');
result.right = range();
key('ArrowLeft');
key('ArrowLeft');
result.left = range();
key('-');
key('-');
result.minus = range();
fire(0, 'wheel', {x: 5, y: 40}, {deltaY: -300});
result.beside = range();)");
  const auto from = [&](const char* name) { return seen.at(name).at(0).get<double>(); };
  const auto to = [&](const char* name) { return seen.at(name).at(1).get<double>(); };
  // Rounding of a few additions and divisions of values below 100.
  constexpr double kRounding = 1e-9;
  EXPECT_EQ(from("whole"), 0.0);
  EXPECT_DOUBLE_EQ(to("whole"), std::max(first.timeline.makespan, second.timeline.makespan));
  EXPECT_LT(to("zoomed") - from("zoomed"), 0.7 * to("whole"));
  EXPECT_NEAR(seen.at("first"), seen.at("fixed"), kRounding);
  EXPECT_NEAR(seen.at("second"), seen.at("fixed"), kRounding);
  EXPECT_NEAR(from("dragged") - from("zoomed"), 50 * seen.at("pixel").get<double>(), kRounding);
  EXPECT_EQ(seen.at("reset"), seen.at("whole"));
  EXPECT_NEAR(to("plus") - from("plus"), to("whole") / 1.5, kRounding);
  EXPECT_GT(from("right"), from("plus"));
  EXPECT_LT(from("left"), from("plus"));
  EXPECT_EQ(seen.at("minus"), seen.at("whole"));
  EXPECT_EQ(seen.at("beside"), seen.at("whole"));
}

TEST_F(TimelinePageTest, LooksLikeSomething) {
  const std::string png = browser.screenshot(html_of({named("v-half", 4, 8)}), 1100, 640);
  ASSERT_TRUE(png.starts_with("\x89PNG\r\n\x1a\n"));
  // The browser itself reads the picture back, as a page of its own.
  json bytes = json::array();
  for (const char c : png) bytes.push_back(static_cast<unsigned char>(c));
  const json seen = browser.evaluate("<body>\n</body>", R"(
const bytes = Uint8Array.from()" + bytes.dump() + R"();
const image = new Image();
const read = () => {
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const {data} = context.getImageData(0, 0, image.width, image.height);
  const counts = {};
  for (let i = 0; i < data.length; i += 4) {
    const colour = [...data.slice(i, i + 3)].join(',');
    counts[colour] = (counts[colour] ?? 0) + 1;
  }
  const result = {width: image.width, height: image.height, counts};
  document.getElementById('result').textContent = JSON.stringify(result);
};
image.onload = read;
image.src = URL.createObjectURL(new Blob([bytes], {type: 'image/png'}));)");
  EXPECT_EQ(seen.at("width"), 1100);
  EXPECT_EQ(seen.at("height"), 640);
  const json& counts = seen.at("counts");
  EXPECT_GT(counts.size(), 20U);
  // F, B and W of chunk 0: 32 passes of 18 by 27 pixels each, less their numbers.
  for (const char* colour : {"47,104,172", "27,133,106", "222,138,40"}) {
    EXPECT_GT(counts.value(colour, 0), 8000) << colour;
  }
}

TEST_F(TimelinePageTest, BearsManyRanksAndMicroBatches) {
  const PageSchedule schedule = named("v-half", 64, 512);
  const std::string html = html_of({schedule});
  EXPECT_LT(html.size(), 196608U * 20U);
  const schedule::TimedPass& pass = schedule.timeline.ranks[40][2000];
  const json seen =
      evaluate(html, "const at = () => onPass(0, 40, " + std::to_string(middle_of(pass)) + R"();
result = {};
result.count = page.schedules[0].ranks.reduce((sum, rank) => sum + rank.count, 0);
result.whole = colour(0, at());
page.view.zoom(100, page.panels[0].axis().time(at().x));
page.redraw();
result.text = hover(0, at());)");
  EXPECT_EQ(seen.at("count"), 64 * 512 * 2 * 3);
  EXPECT_NE(seen.at("whole"), "rgb(255,255,255)");
  EXPECT_NE(seen.at("text").get<std::string>().find(
                "of micro-batch " + std::to_string(pass.op.micro_batch) + " rank 40 stage " +
                std::to_string(pass.op.stage)),
            std::string::npos)
      << seen;
}

TEST_F(TimelinePageTest, ShowsTitlesNotesAndTheLowerBoundAsText) {
  PageSchedule schedule = named("v-zb", 2, 4);
  schedule.title = "</script><b>bold</b> & \"quoted\"";
  schedule.notes = {"<i>a note</i>"};
  schedule.lower_bound = 12.0;
  const json seen = evaluate(html_of({schedule}), R"(
const section = document.querySelector('section');
result = {title: section.querySelector('h2').textContent, note: section.querySelector('.note').textContent,
          figures: section.querySelector('.figures').innerText, heading: document.title};)");
  EXPECT_EQ(seen.at("title"), schedule.title);
  EXPECT_EQ(seen.at("note"), "<i>a note</i>");
  EXPECT_EQ(seen.at("heading"), "Schedules");
  EXPECT_NE(seen.at("figures").get<std::string>().find("lower bound of the span\n12"),
            std::string::npos)
      << seen;
}

TEST_F(TimelinePageTest, NeedsNothingButItself) {
  const std::string html = html_of({named("v-zb", 2, 4)});
  for (const char* outside : {"://", "src=", "href=", "url(", "@import", "import(", "fetch("}) {
    EXPECT_EQ(html.find(outside), std::string::npos) << outside;
  }
}

TEST_F(TimelinePageTest, RefusesCostsAndLimitsOfOtherRanks) {
  PageSchedule schedule = named("1f1b", 4, 4);
  schedule.memory_limits = {1.0, 2.0};
  EXPECT_THROW((void)html_of({schedule}), schedule::ScheduleError);
  schedule.memory_limits.clear();
  schedule.costs.stages.pop_back();
  EXPECT_THROW((void)html_of({schedule}), schedule::ScheduleError);
}

TEST_F(TimelinePageTest, IsWrittenByTheCommand) {
  const CommandResult result =
      run({"schedule", "--name", "v-min", "--ranks", "3", "--micro-batches", "5", "--compare",
           "1f1b,v-zb", "--html", "page.html", "--trace", "trace.json"});
  ASSERT_TRUE(succeeded(result));
  const json titles =
      evaluate(read("page.html"),
               "result = [...document.querySelectorAll('h2')].map((h) => h.textContent);");
  EXPECT_EQ(titles, json::array({"v-min", "1f1b", "v-zb"}));
  const json trace = json::parse(read("trace.json"));
  int passes = 0;
  double last_end = 0.0;
  for (const json& event : trace.at("traceEvents")) {
    if (event.at("ph") != "X") continue;
    ++passes;
    last_end = std::max(last_end, event.at("ts").get<double>() + event.at("dur").get<double>());
  }
  EXPECT_EQ(passes, 3 * 5 * 2 * 3);
  const CommandResult as_json =
      run({"schedule", "--name", "v-min", "--ranks", "3", "--micro-batches", "5", "--json", "-"});
  // Microseconds; a sum of halves is exact.
  EXPECT_EQ(last_end, 1e6 * json::parse(as_json.out).at("makespan").get<double>());
  EXPECT_TRUE(refused(run({"schedule", "--html", "absent/a.html"}), 1, {"absent/a.html"}));
  EXPECT_TRUE(refused(run({"schedule", "--trace", "absent/a.json"}), 1, {"absent/a.json"}));
}

TEST(BrowserTest, NoticesErrorsOfAPage) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "halfpipe-browser-test";
  std::filesystem::create_directories(folder);
  Browser browser(folder);
  EXPECT_EQ(browser.evaluate("<body><script>null.absent;</script></body>", "result = 1;"), 1);
  ASSERT_EQ(browser.console().size(), 1U);
  EXPECT_NE(browser.console().front().find("Uncaught TypeError"), std::string::npos);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace halfpipe::tools
