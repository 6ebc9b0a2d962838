#include "client/eval/results.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "client/eval/summary.h"
#include "nlohmann/json.hpp"

namespace keyhole::eval {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
Json OrNull(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

template <typename T>
std::optional<T> FromNull(const Json& value) {
  if (value.is_null()) return std::nullopt;
  return value.get<T>();
}

Json ToJson(const Row& row) {
  Json json = {{"policy", row.policy},
               {"profile", row.profile},
               {"task", row.task},
               {"facts", row.facts},
               {"length", row.length},
               {"seed", row.seed},
               {"depth", row.depth},
               {"id", row.id}};
  if (!row.error.empty()) {
    json["error"] = row.error;
    return json;
  }
  json["exact"] = OrNull(row.exact);
  json["logprob"] = OrNull(row.logprob);
  json["answer_tokens"] = row.answer_tokens;
  json["generated_exact"] = OrNull(row.generated_exact);
  json["generated"] = row.generated;
  json["prompt_tokens"] = row.prompt_tokens;
  json["cached_tokens"] = row.cached_tokens;
  json["prefill_seconds"] = row.prefill_seconds;
  return json;
}

Row RowFromJson(const Json& json) {
  Row row;
  row.policy = json.at("policy");
  row.profile = json.at("profile");
  row.task = json.at("task");
  row.facts = json.at("facts");
  row.length = json.at("length");
  row.seed = json.at("seed");
  row.depth = json.at("depth");
  row.id = json.at("id");
  row.error = json.value("error", "");
  if (!row.error.empty()) return row;
  row.exact = FromNull<bool>(json.at("exact"));
  row.logprob = FromNull<double>(json.at("logprob"));
  row.answer_tokens = json.at("answer_tokens");
  row.generated_exact = FromNull<bool>(json.at("generated_exact"));
  row.generated = json.at("generated");
  row.prompt_tokens = json.at("prompt_tokens");
  row.cached_tokens = json.at("cached_tokens");
  row.prefill_seconds = json.at("prefill_seconds");
  return row;
}

Json ToJson(const ServerInfo& server) {
  return {{"name", server.name},
          {"address", server.address},
          {"model", server.model},
          {"revision", server.revision},
          {"version", server.version},
          {"policy", server.policy},
          {"positions", server.positions},
          {"initial_tokens", server.initial_tokens},
          {"local_tokens", server.local_tokens},
          {"selected_tokens", server.selected_tokens},
          {"max_context_tokens", server.max_context_tokens}};
}

ServerInfo ServerFromJson(const Json& json) {
  ServerInfo server;
  server.name = json.at("name");
  server.address = json.at("address");
  server.model = json.at("model");
  server.revision = json.at("revision");
  server.version = json.at("version");
  server.policy = json.at("policy");
  server.positions = json.at("positions");
  server.initial_tokens = json.at("initial_tokens");
  server.local_tokens = json.at("local_tokens");
  server.selected_tokens = json.at("selected_tokens");
  server.max_context_tokens = json.at("max_context_tokens");
  return server;
}

Json ToJson(const Summary& summary) {
  const Interval interval = WilsonInterval(summary.successes(), summary.trials());
  const bool scored = summary.scored > 0;
  return {{"policy", summary.policy},
          {"profile", summary.profile},
          {"task", summary.task},
          {"facts", summary.facts},
          {"length", summary.length},
          {"failed", summary.failed},
          {"scored", summary.scored},
          {"exact", summary.exact},
          {"generated", summary.written},
          {"generated_exact", summary.written_exact},
          {"interval_95", {interval.low, interval.high}},
          {"logprob", scored ? Json(summary.logprob) : Json(nullptr)},
          {"logprob_error", scored ? Json(summary.logprob_error) : Json(nullptr)},
          {"cached_share", summary.cached_share},
          {"prefill_seconds", summary.prefill_seconds}};
}

Run RunFromJson(const Json& json) {
  Run run{.settings = json.at("settings").dump()};
  for (const Json& server : json.at("servers")) run.servers.push_back(ServerFromJson(server));
  run.notes = json.at("notes").get<std::vector<std::string>>();
  return run;
}

bool SameQuestion(const Row& a, const Row& b) {
  const auto key = [](const Row& row) {
    return std::tie(
        row.policy, row.profile, row.task, row.facts, row.length, row.seed, row.id, row.depth);
  };
  return key(a) == key(b);
}

}  // namespace

void Results::Add(Row row) {
  std::erase_if(rows, [&](const Row& old) { return SameQuestion(old, row); });
  rows.push_back(std::move(row));
}

std::string SettingsJson(const EvalSettings& settings) {
  return Json({{"task", TaskName(settings.task)},
               {"facts", settings.task == Task::kNeedles ? settings.facts : ""},
               {"lengths", settings.lengths},
               {"seeds", settings.seeds},
               {"questions", settings.questions},
               {"planted", settings.planted},
               {"depths", settings.depths},
               {"profiles", settings.profiles},
               {"scored_tokens", settings.scored_tokens},
               {"generate", settings.generate},
               {"chat", settings.chat},
               {"before", settings.format.before},
               {"ask", settings.format.after},
               {"haystack", settings.haystack_file}})
      .dump();
}

std::string ResultsJson(const Results& results) {
  Json json = {{"runs", Json::array()}, {"rows", Json::array()}, {"table", Json::array()}};
  for (const Run& run : results.runs) {
    Json servers = Json::array();
    for (const ServerInfo& server : run.servers) servers.push_back(ToJson(server));
    json["runs"].push_back(
        {{"settings", Json::parse(run.settings)}, {"servers", servers}, {"notes", run.notes}});
  }
  for (const Row& row : results.rows) json["rows"].push_back(ToJson(row));
  for (const Summary& summary : Summarize(results.rows)) json["table"].push_back(ToJson(summary));
  // A text of the model may end within a character.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::Status AddResultsJson(const std::string& text, Results* results) {
  try {
    const Json json = Json::parse(text);
    for (const Json& run : json.at("runs")) results->runs.push_back(RunFromJson(run));
    for (const Json& row : json.at("rows")) results->Add(RowFromJson(row));
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("not the JSON of an evaluation: ", error.what()));
  }
  return absl::OkStatus();
}

absl::Status WriteFile(const std::string& path, const std::string& text) {
  const std::string part = path + ".part";
  std::ofstream file(part, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file || std::rename(part.c_str(), path.c_str()) != 0) {
    std::remove(part.c_str());
    return absl::InvalidArgumentError(absl::StrCat("cannot write ", path));
  }
  return absl::OkStatus();
}

}  // namespace keyhole::eval
