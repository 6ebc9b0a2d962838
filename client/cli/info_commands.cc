// `keyhole count-tokens`, `keyhole model` and `keyhole health`.
#include <memory>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/printer.h"
#include "client/cli/prompt_input.h"
#include "fmt/format.h"

namespace keyhole::cli {
namespace {

void PrintModel(const v1::GetModelResponse& model) {
  fmt::print("name        {}\n", model.name());
  fmt::print("revision    {}\n", model.revision());
  fmt::print("context     {} tokens (trained for {})\n",
             model.limits().max_context_tokens(),
             model.trained_context_tokens());
  fmt::print("KV memory   {} tokens\n", model.limits().kv_capacity_tokens());
  fmt::print("vocabulary  {} tokens\n", model.vocabulary_size());
  fmt::print("selection   {}: {} initial, {} local, {} selected, {} positions\n",
             model.selection().policy(),
             model.selection().initial_tokens(),
             model.selection().local_tokens(),
             model.selection().selected_tokens(),
             model.selection().positions());
  fmt::print("chat        {}\n",
             model.has_chat_template() ? "yes" : "no: the model file has no template");
  fmt::print("server      {}\n", model.server_version());
}

}  // namespace

Command AddCountTokensCommand(CLI::App* app) {
  auto prompt = std::make_shared<PromptInput>();
  app->add_option("text,--prompt", prompt->text, "text to count");
  app->add_option("-f,--prompt-file", prompt->file, "read it from a file; - is standard input");
  return [prompt](const Session& session) -> int {
    auto text = ReadPrompt(*prompt);
    if (!text.ok()) return ReportUsage(text.status());
    v1::CountTokensRequest request;
    request.set_text(*std::move(text));
    v1::CountTokensResponse response;
    if (auto status = session.client->CountTokens(request, session.call(), &response);
        !status.ok()) {
      return ReportFailure(status);
    }
    fmt::print("{}\n",
               session.options->json ? ToJson(response) : fmt::to_string(response.token_count()));
    return kOk;
  };
}

Command AddModelCommand(CLI::App*) {
  return [](const Session& session) -> int {
    v1::GetModelResponse response;
    if (auto status = session.client->GetModel(session.call(), &response); !status.ok())
      return ReportFailure(status);
    if (session.options->json) {
      fmt::print("{}\n", ToJson(response));
    } else {
      PrintModel(response);
    }
    return kOk;
  };
}

Command AddHealthCommand(CLI::App* app) {
  struct Flags {
    std::string service = "keyhole.v1.GenerationService";
    double wait_seconds = 0;
  };
  auto flags = std::make_shared<Flags>();
  app->add_option("--service", flags->service, "service to ask about; empty: the process")
      ->capture_default_str();
  app->add_option("--wait", flags->wait_seconds, "go on asking for so many seconds");
  return [flags](const Session& session) -> int {
    const absl::Time give_up = absl::Now() + absl::Seconds(flags->wait_seconds);
    for (;;) {
      CallOptions call = session.call();
      call.timeout = std::min(call.timeout, absl::Seconds(3));
      bool serving = false;
      const auto status = session.client->CheckHealth(flags->service, call, &serving);
      if (serving || session.interrupt->requested() || absl::Now() >= give_up) {
        const std::string state = serving ? "SERVING" : status.ok() ? "NOT_SERVING" : "UNREACHABLE";
        fmt::print("{}\n",
                   session.options->json ? fmt::format(R"({{"status": "{}"}})", state) : state);
        return serving ? kOk : session.interrupt->requested() ? kInterrupted : kUnavailable;
      }
      absl::SleepFor(absl::Milliseconds(200));
    }
  };
}

}  // namespace keyhole::cli
