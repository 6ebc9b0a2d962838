// Summaries as a table for the terminal.
#pragma once

#include <string>
#include <vector>

#include "client/eval/summary.h"

namespace keyhole::eval {

// One block for each task, one line for each length and series.
std::string FormatTable(const std::vector<Summary>& summaries);

}  // namespace keyhole::eval
