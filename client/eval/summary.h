// Rows gathered by task, length, policy and profile.
#pragma once

#include <string>
#include <vector>

#include "client/eval/row.h"

namespace keyhole::eval {

// Wilson's 95% interval of a share; [0, 1] for no trials.
struct Interval {
  double low = 0;
  double high = 1;
};
Interval WilsonInterval(int successes, int trials);

struct Summary {
  std::string policy = {};
  std::string profile = {};
  std::string task = {};
  std::string facts = {};
  int length = 0;
  int failed = 0;  // questions without an answer, counted nowhere else
  int scored = 0;  // teacher-forced
  int exact = 0;
  double logprob = 0;        // mean over questions
  double logprob_error = 0;  // its standard error; 0 for fewer than two
  int written = 0;
  int written_exact = 0;
  double cached_share = 0;  // of the prompt's tokens
  double prefill_seconds = 0;

  // Of the written answers where no answer was scored.
  int successes() const { return scored > 0 ? exact : written_exact; }
  int trials() const { return scored > 0 ? scored : written; }
};

// In the order of first appearance, but by rising length.
std::vector<Summary> Summarize(const std::vector<Row>& rows);

// "esa", or "esa, recall" where a profile was asked for.
std::string SeriesName(const Summary& summary);
// "needles, look-alikes"
std::string TaskTitle(const Summary& summary);

}  // namespace keyhole::eval
