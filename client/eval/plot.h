// Summaries as an SVG drawing: accuracy and log-probability against length, a line for each series.
#pragma once

#include <string>
#include <vector>

#include "client/eval/summary.h"

namespace keyhole::eval {

// A row of panels for each task. Accuracy carries Wilson's 95% interval, log-probability its
// standard error; of perplexity there is one panel.
std::string PlotSvg(const std::vector<Summary>& summaries);

}  // namespace keyhole::eval
