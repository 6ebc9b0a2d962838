#include "client/eval/summary.h"

#include <algorithm>
#include <cmath>

namespace keyhole::eval {
namespace {

bool SameGroup(const Summary& summary, const Row& row) {
  return summary.policy == row.policy && summary.profile == row.profile &&
         summary.task == row.task && summary.facts == row.facts && summary.length == row.length;
}

// Sums until Finish.
struct Group {
  Summary summary;
  int answered = 0;
  double squares = 0;

  void Add(const Row& row) {
    if (!row.error.empty()) {
      ++summary.failed;
      return;
    }
    ++answered;
    if (row.logprob) {
      ++summary.scored;
      summary.exact += row.exact.value_or(false);
      summary.logprob += *row.logprob;
      squares += *row.logprob * *row.logprob;
    }
    if (row.generated_exact) {
      ++summary.written;
      summary.written_exact += *row.generated_exact;
    }
    if (row.prompt_tokens > 0) {
      summary.cached_share += static_cast<double>(row.cached_tokens) / row.prompt_tokens;
    }
    summary.prefill_seconds += row.prefill_seconds;
  }

  Summary Finish() const {
    Summary result = summary;
    if (answered > 0) {
      result.cached_share /= answered;
      result.prefill_seconds /= answered;
    }
    if (const int n = result.scored; n > 0) {
      result.logprob /= n;
      const double variance = squares / n - result.logprob * result.logprob;
      if (n > 1) result.logprob_error = std::sqrt(std::max(0.0, variance) / (n - 1));
    }
    return result;
  }
};

}  // namespace

Interval WilsonInterval(int successes, int trials) {
  if (trials <= 0) return {};
  constexpr double z = 1.959964;
  const double n = trials;
  const double p = successes / n;
  const double middle = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {.low = std::max(0.0, middle - half), .high = std::min(1.0, middle + half)};
}

std::vector<Summary> Summarize(const std::vector<Row>& rows) {
  std::vector<Group> groups;
  for (const Row& row : rows) {
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& one) {
      return SameGroup(one.summary, row);
    });
    if (group == groups.end()) {
      groups.push_back({.summary = {.policy = row.policy,
                                    .profile = row.profile,
                                    .task = row.task,
                                    .facts = row.facts,
                                    .length = row.length}});
      group = groups.end() - 1;
    }
    group->Add(row);
  }
  std::vector<Summary> summaries;
  for (const Group& group : groups) summaries.push_back(group.Finish());
  std::stable_sort(summaries.begin(), summaries.end(), [](const Summary& a, const Summary& b) {
    return a.length < b.length;
  });
  return summaries;
}

std::string SeriesName(const Summary& summary) {
  return summary.profile == "default" ? summary.policy : summary.policy + ", " + summary.profile;
}

std::string TaskTitle(const Summary& summary) {
  return summary.facts.empty() ? summary.task : summary.task + ", " + summary.facts;
}

}  // namespace keyhole::eval
