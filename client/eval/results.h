// All that evaluations found, as a JSON file that a later one can add to.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/eval/row.h"
#include "client/eval/settings.h"

namespace keyhole::eval {

// One evaluation: its settings as JSON text, the servers it asked and what went wrong.
struct Run {
  std::string settings = {};
  std::vector<ServerInfo> servers = {};
  std::vector<std::string> notes = {};
};

struct Results {
  std::vector<Run> runs = {};
  std::vector<Row> rows = {};

  // Replaces an earlier row about the same question, policy and profile.
  void Add(Row row);
};

std::string SettingsJson(const EvalSettings& settings);

// {"runs": [...], "rows": [...], "table": [...]}; the table is computed from the rows.
std::string ResultsJson(const Results& results);

// Adds what ResultsJson wrote. Errors: INVALID_ARGUMENT for anything else.
absl::Status AddResultsJson(const std::string& text, Results* results);

// Errors: INVALID_ARGUMENT if the file cannot be written; it is replaced as a whole or not at all.
absl::Status WriteFile(const std::string& path, const std::string& text);

}  // namespace keyhole::eval
