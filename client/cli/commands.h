// The commands of `keyhole`. Each adds itself and its flags to the application and returns what to
// run.
#pragma once

#include <functional>
#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/interrupt.h"
#include "client/generation_client.h"

namespace keyhole::cli {

// Flags that every command shares.
struct GlobalOptions {
  ClientOptions client;
  double timeout_seconds = 0;  // 0: none
  bool json = false;
};

// What a command runs with.
struct Session {
  GenerationClient* client = nullptr;
  const GlobalOptions* options = nullptr;
  const Interrupt* interrupt = nullptr;

  CallOptions call() const {
    CallOptions call;
    if (options->timeout_seconds > 0) call.timeout = absl::Seconds(options->timeout_seconds);
    call.stop = interrupt->token();
    return call;
  }
};

using Command = std::function<int(const Session&)>;  // returns the exit code

Command AddGenerateCommand(CLI::App* app);
Command AddChatCommand(CLI::App* app);
Command AddCountTokensCommand(CLI::App* app);
Command AddModelCommand(CLI::App* app);
Command AddHealthCommand(CLI::App* app);
Command AddBenchCommand(CLI::App* app);
Command AddEvalCommand(CLI::App* app);

}  // namespace keyhole::cli
