#include "client/eval/plot.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "client/eval/panel.h"
#include "fmt/format.h"

namespace keyhole::eval {
namespace {

constexpr double kPanelWidth = 430;
constexpr double kPanelHeight = 330;
constexpr double kMargin = 20;
constexpr double kLegendItem = 190;

const char kHead[] =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
    "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"Helvetica, Arial, sans-serif\">\n"
    "<style>.title{{font-size:14px;font-weight:bold}} .tick{{font-size:12px;fill:#444}} "
    ".name{{font-size:13px}} .grid{{stroke:#ddd;stroke-width:1}}</style>\n"
    "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";

using Names = std::vector<std::string>;

template <typename Function>
Names Distinct(const std::vector<Summary>& summaries, Function name) {
  Names names;
  for (const Summary& summary : summaries) {
    if (std::find(names.begin(), names.end(), name(summary)) == names.end()) {
      names.push_back(name(summary));
    }
  }
  return names;
}

Point AccuracyPoint(const Summary& summary) {
  const Interval interval = WilsonInterval(summary.successes(), summary.trials());
  return {.length = static_cast<double>(summary.length),
          .value = 100.0 * summary.successes() / summary.trials(),
          .low = 100 * interval.low,
          .high = 100 * interval.high};
}

Point LogprobPoint(const Summary& summary) {
  return {.length = static_cast<double>(summary.length),
          .value = summary.logprob,
          .low = summary.logprob - summary.logprob_error,
          .high = summary.logprob + summary.logprob_error};
}

Point PerplexityPoint(const Summary& summary) {
  return {.length = static_cast<double>(summary.length),
          .value = std::exp(-summary.logprob),
          .low = std::exp(-summary.logprob - summary.logprob_error),
          .high = std::exp(-summary.logprob + summary.logprob_error)};
}

// A panel of one task without its bounds. `point` is applied where `usable` says so.
template <typename Usable, typename MakePoint>
Panel MakePanel(const std::vector<Summary>& summaries,
                const std::string& task,
                Usable usable,
                MakePoint point) {
  const Names names = Distinct(summaries, SeriesName);
  Panel panel;
  for (std::size_t i = 0; i < names.size(); ++i) {
    Series series{.style = i, .points = {}};
    for (const Summary& summary : summaries) {
      if (TaskTitle(summary) == task && SeriesName(summary) == names[i] && usable(summary)) {
        series.points.push_back(point(summary));
      }
    }
    if (!series.points.empty()) panel.series.push_back(std::move(series));
  }
  return panel;
}

// Bounds that hold every value and whole ticks.
void SetBounds(Panel* panel) {
  double low = INFINITY, high = -INFINITY;
  for (const Series& series : panel->series) {
    for (const Point& point : series.points) {
      low = std::min({low, point.value, point.low});
      high = std::max({high, point.value, point.high});
    }
  }
  if (!(high > low)) {
    low -= 1;
    high += 1;
  }
  const std::vector<double> ticks = NiceTicks(low, high);
  const double step = ticks.size() > 1 ? ticks[1] - ticks[0] : high - low;
  panel->bottom = std::floor(low / step) * step;
  panel->top = std::ceil(high / step) * step;
}

std::vector<Panel> TaskPanels(const std::vector<Summary>& summaries, const std::string& task) {
  const auto scored = [](const Summary& summary) { return summary.scored > 0; };
  if (task == "perplexity") {
    Panel panel = MakePanel(summaries, task, scored, PerplexityPoint);
    panel.title = "perplexity";
    SetBounds(&panel);
    return {panel};
  }
  const auto tried = [](const Summary& summary) { return summary.trials() > 0; };
  Panel accuracy = MakePanel(summaries, task, tried, AccuracyPoint);
  accuracy.title = absl::StrCat(task, ": exact answers");
  accuracy.unit = "%";
  accuracy.top = 100;
  Panel logprob = MakePanel(summaries, task, scored, LogprobPoint);
  logprob.title = "mean log-probability of an answer token";
  SetBounds(&logprob);
  logprob.top = std::min(logprob.top, 0.0);
  return {accuracy, logprob};
}

std::string DrawLegend(const Names& names, int columns) {
  std::string svg;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const double x = kMargin + 52 + kLegendItem * static_cast<double>(i % columns);
    const double y = kMargin + 12 + 22 * static_cast<double>(i / columns);
    svg += fmt::format(
        "<line stroke=\"{}\" stroke-width=\"2\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" "
        "y2=\"{:.1f}\"/>\n{}<text class=\"name\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
        StyleColour(i),
        x - 14,
        y,
        x + 14,
        y,
        DrawMarker(i, x, y),
        x + 22,
        y + 4.5,
        EscapeXml(names[i]));
  }
  return svg;
}

}  // namespace

std::string PlotSvg(const std::vector<Summary>& summaries) {
  const Names tasks = Distinct(summaries, TaskTitle);
  const Names names = Distinct(summaries, SeriesName);
  constexpr double kWidth = 2 * kPanelWidth + 2 * kMargin;
  constexpr int kColumns = static_cast<int>((kWidth - 2 * kMargin - 40) / kLegendItem);
  const double legend = 22.0 * static_cast<double>((names.size() + kColumns - 1) / kColumns) + 16;
  const double height = 2 * kMargin + legend + kPanelHeight * static_cast<double>(tasks.size());
  std::string svg = fmt::format(fmt::runtime(kHead), kWidth, height);
  svg += DrawLegend(names, kColumns);
  double y = kMargin + legend;
  for (const std::string& task : tasks) {
    double x = kMargin;
    for (const Panel& panel : TaskPanels(summaries, task)) {
      svg += DrawPanel(panel, {x, y, kPanelWidth, kPanelHeight});
      x += kPanelWidth;
    }
    y += kPanelHeight;
  }
  return svg + "</svg>\n";
}

}  // namespace keyhole::eval
