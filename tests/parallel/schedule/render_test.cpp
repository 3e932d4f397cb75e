// SPDX-License-Identifier: Apache-2.0
// Timelines as text and as pictures: golden texts, and what every picture must hold.
#include <gtest/gtest.h>

#include <cstddef>
#include <limits>
#include <string>

#include "parallel/schedule/render_ascii.h"
#include "parallel/schedule/render_svg.h"
#include "parallel/schedule/schedule_error.h"
#include "tests/parallel/schedule/sample_orders.h"

namespace halfpipe::schedule {
namespace {

Timeline one_f_one_b_timeline() {
  const StageOrders orders = one_forward_one_backward(3, 4);
  return simulate(orders, even_costs(orders.placement));
}

Timeline v_timeline() {
  const Placement placement(PlacementKind::kV, 2, 2);
  return simulate(all_forward_all_backward(placement, 2), even_costs(placement));
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(RenderAscii, DrawsOneForwardOneBackward) {
  EXPECT_EQ(render_ascii(one_f_one_b_timeline(), 1.0 / 3.0),
            "rank 0 |F0 F1 F2 ......B0 W0 F3 B1 W1 ...B2 W2 ...B3 W3 |\n"
            "rank 1 |...F0 F1 ...B0 W0 F2 B1 W1 F3 B2 W2 ...B3 W3 ...|\n"
            "rank 2 |......F0 B0 W0 F1 B1 W1 F2 B2 W2 F3 B3 W3 ......|\n");
}

TEST(RenderAscii, DrawsTheLaterChunkInSmallLetters) {
  EXPECT_EQ(render_ascii(v_timeline(), 0.5),
            "rank 0 |F0F1....f0f1b0w0b1w1....B0W0B1W1|\n"
            "rank 1 |..F0F1f0f1....b0w0b1w1B0W0B1W1..|\n");
}

TEST(RenderAscii, LeavesOutNumbersThatDoNotFit) {
  EXPECT_EQ(render_ascii(v_timeline(), 1.0),
            "rank 0 |FF..ffbwbw..BWBW|\n"
            "rank 1 |.FFff..bwbwBWBW.|\n");
}

TEST(RenderAscii, FillsTheColumnsAskedFor) {
  const Timeline timeline = one_f_one_b_timeline();
  const std::string text = render_ascii(timeline, seconds_per_column_for(timeline, 77));
  EXPECT_EQ(text.find('\n'), std::string("rank 0 ||").size() + 77);
  EXPECT_EQ(text.find('\n') * 3 + 3, text.size()) << "rows differ in length";
}

TEST(RenderAscii, FitsUnlessMostPassesAreLeftOut) {
  const Timeline timeline = one_f_one_b_timeline();  // 12 passes a rank
  EXPECT_TRUE(fits_as_text(timeline, 5));
  EXPECT_FALSE(fits_as_text(timeline, 4));
  Timeline tall;
  tall.ranks.resize(64);
  EXPECT_TRUE(fits_as_text(tall, 1));
  tall.ranks.resize(65);
  EXPECT_FALSE(fits_as_text(tall, 1));
}

TEST(RenderAscii, RefusesScalesThatAreNone) {
  const Timeline timeline = v_timeline();
  EXPECT_THROW((void)render_ascii(timeline, 0.0), ScheduleError);
  EXPECT_THROW((void)render_ascii(timeline, std::numeric_limits<double>::quiet_NaN()),
               ScheduleError);
  EXPECT_THROW((void)seconds_per_column_for(timeline, 0), ScheduleError);
  EXPECT_THROW((void)seconds_per_column_for(Timeline{}, 80), ScheduleError);
}

TEST(RenderSvg, HoldsEveryPassWithItsNumber) {
  const std::string svg = render_svg(one_f_one_b_timeline(), "1F1B");
  // 3 ranks x 4 micro-batches x 3 passes, and 3 boxes of the legend.
  EXPECT_EQ(count(svg, "<rect class=\"c\""), 3u * 4u * 3u + 3u);
  EXPECT_EQ(count(svg, "<text class=\"c\"") + count(svg, "class=\"c\" fill=\"#fff\">"),
            3u * 4u * 3u);
  EXPECT_EQ(count(svg, ">rank "), 3u);
  EXPECT_NE(svg.find(">bubble 25 % by span"), std::string::npos) << svg.substr(0, 800);
  EXPECT_EQ(svg.find("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1000\""), 0u);
  EXPECT_EQ(svg.rfind("</svg>\n"), svg.size() - 7);
}

TEST(RenderSvg, NamesTheUnitOfTime) {
  EXPECT_NE(render_svg(one_f_one_b_timeline(), "1F1B").find("; time in s<"), std::string::npos);
  EXPECT_NE(render_svg(one_f_one_b_timeline(), "1F1B", "passes").find("; time in passes<"),
            std::string::npos);
}

TEST(RenderSvg, ShadesTheLaterChunk) {
  const std::string svg = render_svg(v_timeline(), "V");
  EXPECT_GT(count(svg, "rgb(47,104,172)"), 0u);
  EXPECT_GT(count(svg, "rgb(168,192,220)"), 0u);
  EXPECT_NE(svg.find("shade: chunk of the rank"), std::string::npos);
}

// Twelve or more colours leave no room beside them.
TEST(RenderSvg, PutsTheNoteOnALineOfItsOwnBelowManyColours) {
  const auto place_of_note = [](const Placement& placement) {
    const std::string svg = render_svg(
        simulate(all_forward_all_backward(placement, 2), even_costs(placement)), "many colours");
    const std::size_t note = svg.find("shade: chunk");
    EXPECT_NE(note, std::string::npos);
    const std::size_t text = svg.rfind("<text x=\"", note);
    return std::stod(svg.substr(text + 9));
  };
  EXPECT_GT(place_of_note({PlacementKind::kV, 2, 2}), 500.0);
  EXPECT_LT(place_of_note({PlacementKind::kZigzag, 2, 4}), 100.0);
}

TEST(RenderSvg, EscapesTheTitle) {
  const std::string svg = render_svg(v_timeline(), "a < b & c > d");
  EXPECT_NE(svg.find("a &lt; b &amp; c &gt; d"), std::string::npos);
}

TEST(RenderSvg, DrawsAnEmptyTimeline) {
  EXPECT_EQ(count(render_svg(Timeline{}, "nothing"), "<rect class=\"c\""), 3u);
}

}  // namespace
}  // namespace halfpipe::schedule
