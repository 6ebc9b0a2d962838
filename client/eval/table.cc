#include "client/eval/table.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "fmt/format.h"

namespace keyhole::eval {
namespace {

using Cells = std::vector<std::string>;

const Cells kHeader = {
    "length", "policy", "exact", "95% interval", "log-probability", "written", "cached", "prefill"};
const Cells kPerplexityHeader = {
    "length", "policy", "perplexity", "nats a token", "cached", "prefill"};

std::string Thousands(int value) {
  std::string text = std::to_string(value);
  for (int i = static_cast<int>(text.size()) - 3; i > 0; i -= 3) text.insert(i, ",");
  return text;
}

std::string WithError(double mean, double error) {
  return error > 0 ? fmt::format("{:.3f} ± {:.3f}", mean, error) : fmt::format("{:.3f}", mean);
}

std::string ShareText(int part, int whole) {
  return whole > 0 ? fmt::format("{}/{}", part, whole) : "-";
}

std::string IntervalText(const Summary& summary) {
  if (summary.trials() == 0) return "-";
  const Interval interval = WilsonInterval(summary.successes(), summary.trials());
  return fmt::format("{:.0f}-{:.0f}%", 100 * interval.low, 100 * interval.high);
}

Cells Line(const Summary& summary) {
  Cells cells = {Thousands(summary.length), SeriesName(summary)};
  if (summary.failed > 0) cells.back() += fmt::format(" ({} failed)", summary.failed);
  const bool scored = summary.scored > 0;
  if (summary.task == "perplexity") {
    cells.push_back(scored ? fmt::format("{:.2f}", std::exp(-summary.logprob)) : "-");
    cells.push_back(scored ? WithError(-summary.logprob, summary.logprob_error) : "-");
  } else {
    cells.push_back(ShareText(summary.exact, summary.scored));
    cells.push_back(IntervalText(summary));
    cells.push_back(scored ? WithError(summary.logprob, summary.logprob_error) : "-");
    cells.push_back(ShareText(summary.written_exact, summary.written));
  }
  cells.push_back(fmt::format("{:.0f}%", 100 * summary.cached_share));
  cells.push_back(fmt::format("{:.2f} s", summary.prefill_seconds));
  return cells;
}

// Columns as of the terminal, where a two-byte character takes one.
int Width(const std::string& text) {
  return static_cast<int>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// The policy to the left, numbers to the right.
std::string Align(const std::vector<Cells>& lines) {
  std::vector<int> widths(lines[0].size(), 0);
  for (const Cells& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], Width(line[i]));
  }
  std::string text;
  for (const Cells& line : lines) {
    std::string row;
    for (std::size_t i = 0; i < line.size(); ++i) {
      const std::string space(widths[i] - Width(line[i]), ' ');
      row += "  " + (i == 1 ? line[i] + space : space + line[i]);
    }
    text += row.substr(2) + "\n";
  }
  return text;
}

}  // namespace

std::string FormatTable(const std::vector<Summary>& summaries) {
  std::string text;
  std::set<std::string> done;
  for (const Summary& first : summaries) {
    const std::string title = TaskTitle(first);
    if (!done.insert(title).second) continue;
    std::vector<Cells> lines = {first.task == "perplexity" ? kPerplexityHeader : kHeader};
    for (const Summary& summary : summaries) {
      if (TaskTitle(summary) == title) lines.push_back(Line(summary));
    }
    text += (text.empty() ? "" : "\n") + title + "\n" + Align(lines);
  }
  return text;
}

}  // namespace keyhole::eval
