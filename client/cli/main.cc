// keyhole: the command line client.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/printer.h"

namespace {

using namespace keyhole;       // NOLINT: the program is this namespace's only user
using namespace keyhole::cli;  // NOLINT

void AddGlobalOptions(CLI::App* app, GlobalOptions* options) {
  app->add_option("-s,--server", options->client.target, "address of the server")
      ->capture_default_str();
  app->add_option("--ca", options->client.ca_file, "PEM file of the root certificate: use TLS");
  app->add_option(
      "--cert", options->client.cert_file, "PEM file of the client's certificate: use TLS");
  app->add_option("--key", options->client.key_file, "PEM file of its key, which --cert needs");
  app->add_option("--token-file", options->client.token_file, "file with a bearer token");
  app->add_option("--timeout", options->timeout_seconds, "deadline of the call, in seconds");
  app->add_flag("--json", options->json, "print JSON, one object a line");
}

// An answer that could not be written down is no success.
int RunCommand(const Command& command, const Session& session) {
  bool written = true;
  int exit_code = kOk;
  try {
    exit_code = command(session);
  } catch (const std::system_error&) {  // of fmt::print
    written = false;
  }
  if (written && std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return exit_code;
  std::fputs("keyhole: cannot write to standard output\n", stderr);
  return kFailed;
}

int Run(int argc, char** argv) {
  CLI::App app("Client of a Keyhole server", "keyhole");
  app.set_version_flag("--version", KEYHOLE_VERSION);
  app.require_subcommand(1);
  app.fallthrough();  // global flags may follow the command
  GlobalOptions options;
  AddGlobalOptions(&app, &options);

  std::vector<std::pair<CLI::App*, Command>> commands;
  const auto add = [&](const char* name, const char* text, Command (*make)(CLI::App*)) {
    CLI::App* sub = app.add_subcommand(name, text);
    commands.emplace_back(sub, make(sub));
  };
  add("generate", "continue a text", AddGenerateCommand);
  add("chat", "answer a message, with the model's chat template", AddChatCommand);
  add("count-tokens", "count the tokens of a text", AddCountTokensCommand);
  add("model", "show the served model and its limits", AddModelCommand);
  add("health", "ask whether the server can take calls", AddHealthCommand);
  add("bench", "measure latency and throughput", AddBenchCommand);
  add("eval", "measure what is found in long prompts, by length and policy", AddEvalCommand);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kUsage;
  }

  Interrupt interrupt;
  std::unique_ptr<GenerationClient> client;
  if (auto status = GenerationClient::Create(options.client, &client); !status.ok()) {
    ReportFailure(status);
    return kUsage;
  }
  const auto chosen = std::find_if(
      commands.begin(), commands.end(), [](const auto& entry) { return entry.first->parsed(); });
  return RunCommand(chosen->second, {client.get(), &options, &interrupt});
}

}  // namespace

int main(int argc, char** argv) { return Run(argc, argv); }
