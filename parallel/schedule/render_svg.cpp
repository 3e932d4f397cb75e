// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/render_svg.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace halfpipe::schedule {
namespace {

// Pixels.
constexpr double kWidth = 1000.0;
constexpr double kLeft = 64.0;
constexpr double kRight = 72.0;
constexpr double kTop = 72.0;
constexpr double kRowHeight = 28.0;
constexpr double kRowGap = 5.0;
constexpr double kBottom = 68.0;
constexpr double kNoteHeight = 24.0;      // of the line below the legend
constexpr int kMostChunksBesideNote = 2;  // more colours leave it no room
constexpr double kFontWidth = 6.4;        // of a digit at 11 px, rounded up

struct Colour {
  int red;
  int green;
  int blue;
};

struct PassStyle {
  Pass pass;
  const char* label;
  Colour colour;
};

// Apart in hue and in lightness, so that they differ for colour-blind eyes and in grey print too.
constexpr std::array<PassStyle, kNumPasses> kStyles = {
    PassStyle{Pass::kForward, "F  forward", {47, 104, 172}},
    PassStyle{Pass::kBackwardInput, "B  backward, input", {27, 133, 106}},
    PassStyle{Pass::kBackwardWeight, "W  backward, weight", {222, 138, 40}},
};
constexpr double kLightestShade = 0.58;  // of the way to white

/// Three decimals at most, no trailing zeros, the same in every locale.
std::string number(double value, int decimals = 3) {
  std::array<char, 64> buffer{};
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                    std::chars_format::fixed, decimals);
  std::string text(buffer.data(), result.ptr);
  if (text.find('.') == std::string::npos) return text;
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

std::string escape(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '&') {
      escaped += "&amp;";
    } else if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

/// A step of 1, 2 or 5 times a power of ten that cuts `range` into at most ten.
double tick_step(double range) {
  const double power = std::pow(10.0, std::floor(std::log10(range / 10.0)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (range / (factor * power) <= 10.0) return factor * power;
  }
  return 10.0 * power;
}

struct TimeUnit {
  std::string name;
  double seconds;
};

TimeUnit unit_of_seconds(double step) {
  if (step >= 0.1) return {"s", 1.0};
  if (step >= 1e-4) return {"ms", 1e-3};
  return {"\xc2\xb5s", 1e-6};  // micro sign in UTF-8
}

class Drawing {
 public:
  Drawing(const Timeline& timeline, const std::string& title, const std::string& time_unit)
      : timeline_(timeline), time_unit_(time_unit) {
    int last_stage = 0;
    for (const std::vector<TimedPass>& rank : timeline.ranks) {
      for (const TimedPass& pass : rank) {
        end_ = std::max(end_, pass.end);
        last_stage = std::max(last_stage, pass.op.stage);
      }
    }
    num_chunks_ = timeline.ranks.empty() ? 1 : last_stage / num_ranks() + 1;
    add_head(title);
    add_axis();
    for (std::size_t rank = 0; rank < timeline.ranks.size(); ++rank) add_row(rank);
    add_legend();
    svg_ += "</svg>\n";
  }

  [[nodiscard]] std::string take() { return std::move(svg_); }

 private:
  void add_head(const std::string& title) {
    const std::string width = number(kWidth);
    const std::string height =
        number(bottom_of_rows() + kBottom + (has_note_beside() ? 0.0 : kNoteHeight));
    svg_ += "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + width + "\" height=\"" + height +
            "\" viewBox=\"0 0 " + width + " " + height +
            "\" font-family=\"system-ui, 'DejaVu Sans', Helvetica, Arial, sans-serif\" "
            "font-size=\"11\" fill=\"#333\">\n";
    svg_ += "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n";
    add_text(16, 28, title, "font-size=\"17\" font-weight=\"600\" fill=\"#111\"");
    add_text(16, 48,
             "bubble " + number(100.0 * timeline_.bubble_fraction, 1) + " % by span, " +
                 number(100.0 * timeline_.bubble_fraction_makespan, 1) +
                 " % by makespan; time in " + time_unit().name,
             "font-size=\"12\" fill=\"#666\"");
    if (!timeline_.peak_units.empty()) {
      add_text(kWidth - 12, kTop - 10, "peak units", "text-anchor=\"end\" fill=\"#666\"");
    }
    svg_ += "<style>rect.c{stroke:#fff;stroke-width:.8}text.c{text-anchor:middle}</style>\n";
  }

  [[nodiscard]] TimeUnit time_unit() const {
    return time_unit_.empty() ? unit_of_seconds(tick_step(end_)) : TimeUnit{time_unit_, 1.0};
  }

  void add_axis() {
    if (end_ <= 0.0) return;
    const double step = tick_step(end_);
    const TimeUnit unit = time_unit();
    const double bottom = bottom_of_rows();
    // A little slack: rounding must not lose the last tick.
    for (int i = 0; i * step <= end_ * (1.0 + 1e-9); ++i) {
      const std::string x = number(x_of(i * step));
      svg_.append("<line x1=\"").append(x).append("\" x2=\"").append(x);
      svg_ += "\" y1=\"" + number(kTop - 3) + "\" y2=\"" + number(bottom + 4) +
              "\" stroke=\"#ddd\"/>\n";
      add_text(x_of(i * step), bottom + 18, number(i * step / unit.seconds),
               "text-anchor=\"middle\" fill=\"#666\"");
    }
  }

  void add_row(std::size_t rank) {
    const double top = top_of_row(rank);
    const double baseline = top + kRowHeight / 2 + 4;
    add_text(kLeft - 10, baseline, "rank " + std::to_string(rank), "text-anchor=\"end\"");
    svg_ += "<rect x=\"" + number(kLeft) + "\" y=\"" + number(top) + "\" width=\"" +
            number(kWidth - kLeft - kRight) + "\" height=\"" + number(kRowHeight) +
            "\" fill=\"#f3f3f3\"/>\n";
    for (const TimedPass& pass : timeline_.ranks[rank]) add_pass(pass, top, baseline);
    if (rank < timeline_.peak_units.size()) {
      add_text(kWidth - 12, baseline, number(timeline_.peak_units[rank], 2), "text-anchor=\"end\"");
    }
  }

  void add_pass(const TimedPass& pass, double top, double baseline) {
    const double left = x_of(pass.start);
    const double width = x_of(pass.end) - left;
    const int chunk = pass.op.stage / num_ranks();
    svg_ += "<rect class=\"c\" x=\"" + number(left) + "\" y=\"" + number(top) + "\" width=\"" +
            number(width) + "\" height=\"" + number(kRowHeight) + "\" fill=\"" +
            fill_of(pass.op.pass, chunk) + "\"/>\n";
    const std::string label = std::to_string(pass.op.micro_batch);
    if (width < kFontWidth * static_cast<double>(label.size()) + 3) return;
    add_text(left + width / 2, baseline, label,
             shade_of(chunk) < 0.3 ? "class=\"c\" fill=\"#fff\"" : "class=\"c\" fill=\"#222\"");
  }

  void add_legend() {
    const double top = bottom_of_rows() + 38;
    double x = kLeft;
    for (const PassStyle& style : kStyles) {
      for (int chunk = 0; chunk < num_chunks_; ++chunk) {
        svg_ += "<rect class=\"c\" x=\"" + number(x) + "\" y=\"" + number(top) +
                "\" width=\"22\" height=\"16\" fill=\"" + fill_of(style.pass, chunk) + "\"/>\n";
        if (num_chunks_ > 1) {
          add_text(
              x + 11, top + 12, std::to_string(chunk),
              shade_of(chunk) < 0.3 ? "class=\"c\" fill=\"#fff\"" : "class=\"c\" fill=\"#222\"");
        }
        x += 24;
      }
      add_text(x + 4, top + 12, style.label, "");
      x += 135;
    }
    if (num_chunks_ == 1) return;
    const bool beside = has_note_beside();
    add_text(beside ? x : kLeft, top + 12 + (beside ? 0.0 : kNoteHeight),
             "shade: chunk of the rank; number: micro-batch", "fill=\"#666\"");
  }

  void add_text(double x, double y, const std::string& text, const std::string& attributes) {
    svg_ += "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" ";
    svg_.append(attributes).append(">").append(escape(text)).append("</text>\n");
  }

  /// How far on the way to white: chunk 0 keeps the full colour.
  [[nodiscard]] double shade_of(int chunk) const {
    return num_chunks_ == 1 ? 0.0 : kLightestShade * chunk / (num_chunks_ - 1);
  }

  [[nodiscard]] std::string fill_of(Pass pass, int chunk) const {
    const Colour& full = kStyles[static_cast<std::size_t>(pass)].colour;
    const auto mixed = [&](int channel) {
      return std::to_string(std::lround(channel + (255 - channel) * shade_of(chunk)));
    };
    return "rgb(" + mixed(full.red) + "," + mixed(full.green) + "," + mixed(full.blue) + ")";
  }

  [[nodiscard]] bool has_note_beside() const { return num_chunks_ <= kMostChunksBesideNote; }
  [[nodiscard]] int num_ranks() const { return static_cast<int>(timeline_.ranks.size()); }
  [[nodiscard]] double x_of(double seconds) const {
    return kLeft + (end_ > 0.0 ? seconds / end_ : 0.0) * (kWidth - kLeft - kRight);
  }
  [[nodiscard]] static double top_of_row(std::size_t rank) {
    return kTop + static_cast<double>(rank) * (kRowHeight + kRowGap);
  }
  [[nodiscard]] double bottom_of_rows() const { return top_of_row(timeline_.ranks.size()); }

  const Timeline& timeline_;
  const std::string& time_unit_;
  double end_ = 0.0;  // seconds
  int num_chunks_ = 1;
  std::string svg_;
};

}  // namespace

std::string render_svg(const Timeline& timeline,
                       const std::string& title,
                       const std::string& time_unit) {
  return Drawing(timeline, title, time_unit).take();
}

}  // namespace halfpipe::schedule
