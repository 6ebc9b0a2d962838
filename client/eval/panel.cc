#include "client/eval/panel.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_replace.h"
#include "fmt/format.h"

namespace keyhole::eval {
namespace {

// Okabe and Ito's colours, which colour-blind readers can tell apart.
constexpr std::array<const char*, 8> kColours = {
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f"};

// From values to the drawing.
struct Scale {
  Box area;
  double bottom, top, first, last;  // of values; of log2 of lengths

  double X(double length) const {
    return area.x + area.width * (std::log2(length) - first) / (last - first);
  }
  double Y(double value) const {
    const double share = (std::clamp(value, bottom, top) - bottom) / (top - bottom);
    return area.y + area.height * (1 - share);
  }
};

// 4096 -> "4k", 6000 -> "6000"
std::string LengthText(double length) {
  const int value = static_cast<int>(length);
  return value % 1024 == 0 ? fmt::format("{}k", value / 1024) : fmt::format("{}", value);
}

std::vector<double> Lengths(const Panel& panel) {
  std::vector<double> lengths;
  for (const Series& series : panel.series) {
    for (const Point& point : series.points) lengths.push_back(point.length);
  }
  std::sort(lengths.begin(), lengths.end());
  lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
  return lengths;
}

std::string DrawAxes(const Panel& panel, const Scale& scale, const std::vector<double>& lengths) {
  const Box& area = scale.area;
  std::string svg = fmt::format("<text class=\"title\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
                                area.x,
                                area.y - 14,
                                EscapeXml(panel.title));
  for (const double tick : NiceTicks(panel.bottom, panel.top)) {
    const double y = scale.Y(tick);
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n"
        "<text class=\"tick\" text-anchor=\"end\" x=\"{:.1f}\" y=\"{:.1f}\">{:g}{}</text>\n",
        area.x,
        y,
        area.x + area.width,
        y,
        area.x - 8,
        y + 4,
        std::abs(tick) < 1e-9 ? 0.0 : tick,
        panel.unit);
  }
  double last_label = -1e9;
  for (const double length : lengths) {
    if (scale.X(length) - last_label < 34) continue;
    last_label = scale.X(length);
    svg += fmt::format(
        "<text class=\"tick\" text-anchor=\"middle\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
        last_label,
        area.y + area.height + 18,
        LengthText(length));
  }
  return svg + fmt::format(
                   "<text class=\"tick\" text-anchor=\"middle\" x=\"{:.1f}\" y=\"{:.1f}\">"
                   "tokens of prompt</text>\n",
                   area.x + area.width / 2,
                   area.y + area.height + 36);
}

std::string DrawSeries(const Series& series, const Scale& scale) {
  const std::string colour = StyleColour(series.style);
  std::string bars, line, markers;
  for (const Point& point : series.points) {
    const double x = scale.X(point.length);
    if (point.high > point.low) {
      bars += fmt::format(
          "<line stroke=\"{}\" stroke-opacity=\"0.45\" stroke-width=\"1.5\" x1=\"{:.1f}\" "
          "y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n",
          colour,
          x,
          scale.Y(point.low),
          x,
          scale.Y(point.high));
    }
    line += fmt::format("{:.1f},{:.1f} ", x, scale.Y(point.value));
    markers += DrawMarker(series.style, x, scale.Y(point.value));
  }
  return bars +
         fmt::format("<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\" points=\"{}\"/>\n",
                     colour,
                     line) +
         markers;
}

}  // namespace

std::vector<double> NiceTicks(double low, double high) {
  const double rough = (high - low) / 5;
  if (!(rough > 0) || !std::isfinite(rough)) return {low};
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough * 0.999) {
      step = factor * power;
      break;
    }
  }
  std::vector<double> ticks;
  for (auto i = std::llround(std::ceil(low / step - 1e-6)); i * step <= high + step * 1e-6; ++i) {
    ticks.push_back(static_cast<double>(i) * step);
  }
  return ticks;
}

std::string DrawPanel(const Panel& panel, const Box& box) {
  const std::vector<double> lengths = Lengths(panel);
  if (lengths.empty()) return "";
  const double first = std::log2(lengths.front());
  const double last = std::log2(lengths.back());
  const double margin = std::max(0.15, 0.05 * (last - first));
  Scale scale{.area = {box.x + 52, box.y + 34, box.width - 72, box.height - 80},
              .bottom = panel.bottom,
              .top = panel.top,
              .first = first - margin,
              .last = last + margin};
  // Neighbours in one place are moved apart by a little, so that their bars stay visible.
  std::string svg = DrawAxes(panel, scale, lengths);
  const double middle = (static_cast<double>(panel.series.size()) - 1) / 2;
  const double left = scale.area.x;
  for (std::size_t i = 0; i < panel.series.size(); ++i) {
    scale.area.x = left + 3 * (static_cast<double>(i) - middle);
    svg += DrawSeries(panel.series[i], scale);
  }
  return svg;
}

std::string StyleColour(std::size_t style) { return kColours[style % kColours.size()]; }

std::string DrawMarker(std::size_t style, double x, double y) {
  const std::string colour = StyleColour(style);
  switch (style % 4) {
    case 0:
      return fmt::format(
          "<circle fill=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4.5\"/>\n", colour, x, y);
    case 1:
      return fmt::format("<rect fill=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"8\" height=\"8\"/>\n",
                         colour,
                         x - 4,
                         y - 4);
    case 2:
      return fmt::format(
          "<path fill=\"{}\" d=\"M{:.1f} {:.1f}l5.5 9h-11z\"/>\n", colour, x, y - 5.5);
    default:
      return fmt::format("<path fill=\"{}\" d=\"M{:.1f} {:.1f}l5.5 5.5l-5.5 5.5l-5.5 -5.5z\"/>\n",
                         colour,
                         x,
                         y - 5.5);
  }
}

std::string EscapeXml(const std::string& text) {
  return absl::StrReplaceAll(text,
                             {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

}  // namespace keyhole::eval
