// `keyhole eval`: how well facts are found and prose is continued in long prompts, for each length
// and server.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cli/commands.h"
#include "client/cli/printer.h"
#include "client/cli/progress_line.h"
#include "client/cli/prompt_input.h"
#include "client/eval/evaluation.h"
#include "client/eval/plot.h"
#include "client/eval/table.h"
#include "client/profile_names.h"
#include "fmt/format.h"

namespace keyhole::cli {
namespace {

constexpr const char* kReport = "report";

struct EvalFlags {
  std::string task;
  eval::EvalSettings settings;
  std::vector<std::string> servers;  // NAME=HOST:PORT
  std::vector<std::string> from;
  std::string json_file;
  std::string plot_file;
};

// A server and the client that talks to it.
struct Server {
  eval::Target target;
  std::unique_ptr<GenerationClient> client = nullptr;  // null: the command's own
};

absl::StatusOr<std::vector<Server>> Connect(const EvalFlags& flags, const Session& session) {
  std::vector<Server> servers;
  if (flags.servers.empty()) {
    servers.push_back(
        {.target = {.address = session.options->client.target, .client = session.client}});
  }
  for (const std::string& text : flags.servers) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits('=', 1));
    if (parts.first.empty() || parts.second.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("--servers takes NAME=HOST:PORT, not ", text));
    }
    ClientOptions options = session.options->client;
    options.target = parts.second;
    Server server{.target = {.name = parts.first, .address = parts.second}};
    if (auto status = GenerationClient::Create(options, &server.client); !status.ok()) {
      return eval::ToStatus(status);
    }
    server.target.client = server.client.get();
    servers.push_back(std::move(server));
  }
  return servers;
}

absl::StatusOr<eval::Haystack> ReadHaystack(const EvalFlags& flags) {
  if (!flags.settings.haystack_file.empty()) {
    auto text = ReadTextFile(flags.settings.haystack_file);
    if (!text.ok()) return text.status();
    return eval::Haystack::FromText(*text);
  }
  using eval::Task;
  if (flags.settings.task == Task::kPerplexity) {
    return absl::InvalidArgumentError("perplexity needs prose: give --haystack FILE");
  }
  if (flags.settings.task == Task::kNeedles) {
    fmt::print(stderr,
               "keyhole: without --haystack a few sentences repeat, which hardly tells policies "
               "apart\n");
  }
  return eval::Haystack::Filler();
}

absl::Status Save(const EvalFlags& flags, const eval::Results& results) {
  absl::Status status;
  if (!flags.json_file.empty()) {
    status.Update(eval::WriteFile(flags.json_file, eval::ResultsJson(results)));
  }
  if (!flags.plot_file.empty()) {
    status.Update(eval::WriteFile(flags.plot_file, eval::PlotSvg(eval::Summarize(results.rows))));
  }
  return status;
}

absl::StatusOr<eval::Results> ReadEarlier(const std::vector<std::string>& files) {
  eval::Results results;
  for (const std::string& file : files) {
    auto text = ReadTextFile(file);
    if (!text.ok()) return text.status();
    if (auto status = eval::AddResultsJson(*text, &results); !status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(file, ": ", std::string(status.message())));
    }
  }
  return results;
}

// Returns the exit code of what went wrong first.
int AskAll(const EvalFlags& flags,
           const Session& session,
           const std::vector<Server>& servers,
           const eval::Haystack& haystack,
           eval::Results* results) {
  ProgressLine line;
  const eval::Evaluation::Listener listener{
      .progress =
          [&](const eval::Progress& progress) { line.Show(progress.text, progress.new_document); },
      .document_done = [&] { (void)Save(flags, *results); }};
  eval::Evaluation evaluation(&flags.settings, &haystack, session.call());
  int code = kOk;
  for (const Server& server : servers) {
    const absl::Status status = evaluation.Ask(server.target, listener, results);
    line.Clear();
    if (session.interrupt->requested()) return kInterrupted;
    if (status.ok()) continue;
    fmt::print(stderr, "keyhole: {}: {}\n", server.target.address, std::string(status.message()));
    if (code == kOk) code = ExitCodeOf(static_cast<grpc::StatusCode>(status.code()));
  }
  return code;
}

void Print(const eval::Results& results, bool json) {
  if (json) {
    fmt::print("{}", eval::ResultsJson(results));
    return;
  }
  fmt::print("{}", eval::FormatTable(eval::Summarize(results.rows)));
  for (const eval::Run& run : results.runs) {
    for (const std::string& note : run.notes) fmt::print(stderr, "keyhole: {}\n", note);
  }
}

int RunEval(const Session& session, const EvalFlags& flags) {
  auto results = ReadEarlier(flags.from);
  if (!results.ok()) return ReportUsage(results.status());
  int code = kOk;
  if (flags.task != kReport) {
    if (auto status = eval::CheckSettings(flags.settings); !status.ok()) return ReportUsage(status);
    auto haystack = ReadHaystack(flags);
    if (!haystack.ok()) return ReportUsage(haystack.status());
    auto servers = Connect(flags, session);
    if (!servers.ok()) return ReportUsage(servers.status());
    results->runs.push_back({.settings = eval::SettingsJson(flags.settings)});
    code = AskAll(flags, session, *servers, *haystack, &*results);
    if (code == kOk && results->rows.empty()) code = kInvalidArgument;
  }
  Print(*results, session.options->json);
  if (auto status = Save(flags, *results); !status.ok()) return ReportUsage(status);
  return code;
}

eval::Task TaskOf(const std::string& name) {
  using eval::Task;
  for (const Task task : {Task::kPasskey, Task::kRetrieveKv, Task::kPerplexity}) {
    if (name == eval::TaskName(task)) return task;
  }
  return Task::kNeedles;
}

void AddDocumentFlags(CLI::App* app, eval::EvalSettings* settings) {
  app->add_option("--lengths", settings->lengths, "tokens of each prompt, answer included")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(16, 16'000'000));
  app->add_option("--seeds", settings->seeds, "one document of each length for each")
      ->delimiter(',')
      ->capture_default_str();
  app->add_option("--questions", settings->questions, "about each document")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000));
  app->add_option("--planted", settings->planted, "needles: facts in a document (0: as many)")
      ->capture_default_str()
      ->check(CLI::Range(0, 10'000));
  app->add_option("--depths", settings->depths, "share of the document before each fact")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 1.0));
  app->add_option("--facts", settings->facts, "needles: diverse or look-alikes")
      ->capture_default_str()
      ->check(CLI::IsMember({"diverse", "look-alikes"}));
  app->add_option("--scored-tokens", settings->scored_tokens, "perplexity: last tokens scored")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  app->add_option("--haystack", settings->haystack_file, "prose, a text file");
}

void AddQuestionFlags(CLI::App* app, eval::EvalSettings* settings) {
  app->add_option("--profile",
                  settings->profiles,
                  absl::StrCat("default, ",
                               absl::StrJoin(ProfileNames(), ", "),
                               ": each alone or with its budget of selected tokens (recall:64); "
                               "several are compared"))
      ->delimiter(',')
      ->capture_default_str();
  app->add_flag("--generate", settings->generate, "also let the model write each answer");
  app->add_flag("--chat", settings->chat, "ask by the chat template; written answers alone");
  app->add_option("--before", settings->format.before, "text before the document");
  app->add_option("--ask", settings->format.after, "text after it")->capture_default_str();
}

}  // namespace

Command AddEvalCommand(CLI::App* app) {
  auto flags = std::make_shared<EvalFlags>();
  app->add_option("task", flags->task, "what to measure; report: --from alone")
      ->required()
      ->check(CLI::IsMember({"passkey", "needles", "retrieve-kv", "perplexity", kReport}));
  AddDocumentFlags(app, &flags->settings);
  AddQuestionFlags(app, &flags->settings);
  app->add_option("--servers", flags->servers, "NAME=HOST:PORT of each policy (default: --server)")
      ->delimiter(',');
  app->add_option("--from", flags->from, "add to the results of an earlier --json");
  app->add_option("--json", flags->json_file, "write all results to this file");
  app->add_option("--plot", flags->plot_file, "draw them into this SVG file");
  return [flags](const Session& session) {
    flags->settings.task = TaskOf(flags->task);
    return RunEval(session, *flags);
  };
}

}  // namespace keyhole::cli
