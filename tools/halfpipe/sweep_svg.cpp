// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "tools/halfpipe/sweep_report.h"

namespace halfpipe::tools {

namespace {

// Pixels.
constexpr double kWidth = 900.0;
constexpr double kHeight = 540.0;
constexpr double kLeft = 76.0;
constexpr double kRight = 110.0;  // room for labels beside the last points
constexpr double kTop = 76.0;
constexpr double kBottom = 80.0;
constexpr double kLineHeight = 14.0;

// Blue and vermilion differ for all kinds of colour blindness; shapes and dashes differ as well.
constexpr const char* kFoundColour = "#0072b2";
constexpr const char* kNamedColour = "#d55e00";
constexpr const char* kBoundColour = "#767676";

constexpr double kMebibyte = 1024.0 * 1024.0;

/// A step of 1, 2 or 5 times a power of ten that cuts `range` into at most eight.
double tick_step(double range) {
  const double power = std::pow(10.0, std::floor(std::log10(range / 8.0)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (range / (factor * power) <= 8.0) return factor * power;
  }
  return 10.0 * power;
}

struct Label {
  double x;
  double y;
  std::string text;
};

class Drawing {
 public:
  explicit Drawing(const MemorySweep& sweep) : sweep_(sweep) {
    for (const SweepPoint& point : sweep.points) {
      most_mebibytes_ = std::max(most_mebibytes_, mebibytes(point.memory_limit));
      most_percent_ = std::max(most_percent_, percent(point.schedule.cost));
    }
    // A schedule that takes far more than any limit would leave no room for the curve.
    beyond_ = 1.15 * most_mebibytes_;
    for (const SweptSchedule& named : sweep.named) {
      if (mebibytes(named.peak_bytes) > beyond_) continue;
      most_mebibytes_ = std::max(most_mebibytes_, mebibytes(named.peak_bytes));
      most_percent_ = std::max(most_percent_, percent(named.cost));
    }
    most_mebibytes_ *= 1.03;
    most_percent_ = 1.08 * std::max(most_percent_, 1.0);
    add_head();
    add_axes();
    add_bound();
    add_found();
    add_named();
    svg_ += "</svg>\n";
  }

  [[nodiscard]] std::string take() { return std::move(svg_); }

 private:
  void add_head() {
    svg_ += fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
        "{1}\" font-family=\"system-ui, 'DejaVu Sans', Helvetica, Arial, sans-serif\" "
        "font-size=\"12\" fill=\"#333\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        kWidth, kHeight);
    const config::RunConfig& config = sweep_.config;
    add_text(16, 28,
             fmt::format("Bubble against activation memory: {} pipeline ranks, {} micro-batches",
                         config.parallel.pipeline, config.num_micro_batches()),
             "font-size=\"17\" font-weight=\"600\" fill=\"#111\"");
    add_legend(54);
  }

  void add_legend(double y) {
    svg_ += fmt::format("<path d=\"M16 {0}h26\" stroke=\"{1}\" stroke-width=\"2.5\"/>\n", y - 4,
                        kFoundColour);
    add_text(48, y, "best known within the limit", "");
    svg_ += fmt::format(
        "<path d=\"M230 {0}h26\" stroke=\"{1}\" stroke-width=\"1.5\" stroke-dasharray=\"5 4\"/>\n",
        y - 4, kBoundColour);
    add_text(262, y, "none can be below", "");
    add_diamond(410, y - 4);
    add_text(420, y, "named schedule, at what it takes", "");
  }

  void add_axes() {
    const double bottom = y_of(0.0);
    const double step_x = tick_step(most_mebibytes_);
    for (int i = 0; i * step_x <= most_mebibytes_; ++i) {
      add_line(x_of(i * step_x), kTop, x_of(i * step_x), bottom + 4);
      add_text(x_of(i * step_x), bottom + 19, fmt::format("{:.6g}", i * step_x),
               "text-anchor=\"middle\" fill=\"#666\"");
    }
    const double step_y = tick_step(most_percent_);
    for (int i = 0; i * step_y <= most_percent_; ++i) {
      add_line(kLeft - 4, y_of(i * step_y), kWidth - kRight, y_of(i * step_y));
      add_text(kLeft - 9, y_of(i * step_y) + 4, fmt::format("{:.6g} %", i * step_y),
               "text-anchor=\"end\" fill=\"#666\"");
    }
    add_text((kLeft + kWidth - kRight) / 2, kHeight - 36,
             fmt::format("activation memory on the fullest rank, MiB (a unit is {:.4g} MiB)",
                         sweep_.unit_bytes / kMebibyte),
             "text-anchor=\"middle\"");
    add_text(20, (kTop + bottom) / 2,
             "idle share of all ranks by " + sweep_.config.schedule.objective,
             fmt::format("text-anchor=\"middle\" transform=\"rotate(-90 20 {:.1f})\"",
                         (kTop + bottom) / 2));
  }

  /// A bound holds for its limit and below.
  void add_bound() {
    if (sweep_.points.empty()) return;
    std::string path;
    for (const SweepPoint& point : sweep_.points) {
      const double x = x_of(mebibytes(point.memory_limit));
      const double y = y_of(percent(point.lower_bound));
      path +=
          path.empty() ? fmt::format("M{:.2f} {:.2f}", x, y) : fmt::format("V{:.2f}H{:.2f}", y, x);
    }
    svg_ += fmt::format(
        "<path class=\"bound\" d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\" "
        "stroke-dasharray=\"5 4\"/>\n",
        path, kBoundColour);
  }

  /// What was found for a limit serves all larger ones.
  void add_found() {
    std::string path;
    for (const SweepPoint& point : sweep_.points) {
      const double x = x_of(mebibytes(point.memory_limit));
      const double y = y_of(percent(point.schedule.cost));
      path +=
          path.empty() ? fmt::format("M{:.2f} {:.2f}", x, y) : fmt::format("H{:.2f}V{:.2f}", x, y);
    }
    svg_ += fmt::format(
        "<path class=\"found\" d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2.5\"/>\n", path,
        kFoundColour);
    for (const SweepPoint& point : sweep_.points) {
      svg_ += fmt::format("<circle cx=\"{:.2f}\" cy=\"{:.2f}\" r=\"4\" fill=\"{}\"/>\n",
                          x_of(mebibytes(point.memory_limit)), y_of(percent(point.schedule.cost)),
                          kFoundColour);
    }
  }

  void add_named() {
    std::string beyond;
    std::vector<Label> labels;
    for (const SweptSchedule& named : sweep_.named) {
      const double memory = mebibytes(named.peak_bytes);
      const double idle = percent(named.cost);
      if (memory > beyond_) {
        beyond += fmt::format("{}{} {:.1f} MiB, {:.1f} %",
                              beyond.empty() ? "farther right: " : "; ", named.name, memory, idle);
        continue;
      }
      add_diamond(x_of(memory), y_of(idle));
      labels.push_back({x_of(memory), y_of(idle), named.name});
    }
    place_labels(std::move(labels));
    add_text(kWidth - 16, kHeight - 14, beyond, "text-anchor=\"end\" fill=\"#666\"");
  }

  /// Right of their points, from the highest down; one that would lie on another moves below it.
  void place_labels(std::vector<Label> labels) {
    constexpr double kLetter = 7.2;
    std::sort(labels.begin(), labels.end(),
              [](const Label& one, const Label& other) { return one.y < other.y; });
    std::vector<Label> placed;
    for (Label label : labels) {
      const auto width = [&](const Label& of) {
        return kLetter * static_cast<double>(of.text.size());
      };
      const double point_y = label.y;
      // Those placed so far are sorted by their lines, so one way through them is enough.
      for (const Label& other : placed) {
        const bool beside = label.x + width(label) < other.x || other.x + width(other) < label.x;
        if (!beside && std::abs(label.y - other.y) < kLineHeight) label.y = other.y + kLineHeight;
      }
      if (label.y > point_y) add_line(label.x + 4, point_y + 2, label.x + 9, label.y);
      add_text(label.x + 10, label.y + 4, label.text,
               fmt::format("class=\"named\" fill=\"{}\" font-weight=\"600\" stroke=\"#fff\" "
                           "stroke-width=\"3\" paint-order=\"stroke\"",
                           kNamedColour));
      placed.insert(
          std::upper_bound(placed.begin(), placed.end(), label,
                           [](const Label& one, const Label& other) { return one.y < other.y; }),
          label);
    }
  }

  void add_diamond(double x, double y) {
    svg_ +=
        fmt::format("<path d=\"M{:.2f} {:.2f}l6 6l-6 6l-6 -6z\" fill=\"{}\" stroke=\"#fff\"/>\n", x,
                    y - 6, kNamedColour);
  }

  void add_line(double x1, double y1, double x2, double y2) {
    svg_ += fmt::format(
        "<line x1=\"{:.2f}\" y1=\"{:.2f}\" x2=\"{:.2f}\" y2=\"{:.2f}\" stroke=\"#ddd\"/>\n", x1, y1,
        x2, y2);
  }

  /// Texts are names of schedules and numbers: nothing to escape.
  void add_text(double x, double y, const std::string& text, const std::string& attributes) {
    svg_ += fmt::format("<text x=\"{:.2f}\" y=\"{:.2f}\" {}>{}</text>\n", x, y, attributes, text);
  }

  static double mebibytes(std::int64_t bytes) { return static_cast<double>(bytes) / kMebibyte; }
  [[nodiscard]] double percent(double cost) const { return 100.0 * sweep_.idle_share(cost); }
  [[nodiscard]] double x_of(double mebibytes) const {
    return kLeft + mebibytes / most_mebibytes_ * (kWidth - kLeft - kRight);
  }
  [[nodiscard]] double y_of(double percent) const {
    return kHeight - kBottom - percent / most_percent_ * (kHeight - kTop - kBottom);
  }

  const MemorySweep& sweep_;
  double most_mebibytes_ = 0.0;
  double most_percent_ = 0.0;
  double beyond_ = 0.0;  // MiB; what takes more is named below the axis
  std::string svg_;
};

}  // namespace

std::string sweep_svg(const MemorySweep& sweep) {
  return Drawing(sweep).take();
}

}  // namespace halfpipe::tools
