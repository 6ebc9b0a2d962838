// `keyhole generate` and `keyhole chat`.
#include <memory>
#include <string>

#include "client/cli/commands.h"
#include "client/cli/generation_flags.h"
#include "client/cli/printer.h"
#include "client/cli/prompt_input.h"

namespace keyhole::cli {
namespace {

struct AnswerFlags {
  GenerationFlags generation;
  PromptInput prompt;
  std::string document;  // chat only
  std::string system;    // chat only
  bool quiet = false;
};

}  // namespace

Command AddGenerateCommand(CLI::App* app) {
  auto flags = std::make_shared<AnswerFlags>();
  app->add_option("prompt,--prompt", flags->prompt.text, "text to continue");
  app->add_option(
      "-f,--prompt-file", flags->prompt.file, "read it from a file; - is standard input");
  app->add_flag("-q,--quiet", flags->quiet, "the answer alone");
  flags->generation.AddTo(app);
  return [flags](const Session& session) -> int {
    auto text = ReadPrompt(flags->prompt);
    if (!text.ok()) return ReportUsage(text.status());
    v1::GenerateRequest request;
    request.set_text(*std::move(text));
    flags->generation.Fill(&request);
    request.mutable_output()->set_report_progress(true);
    AnswerPrinter printer(session.options->json, flags->quiet);
    return printer.Finish(session.client->StreamGenerate(
        request, session.call(), [&](const v1::StreamGenerateResponse& event) {
          printer.Print(event);
        }));
  };
}

Command AddChatCommand(CLI::App* app) {
  auto flags = std::make_shared<AnswerFlags>();
  app->add_option("message,--message", flags->prompt.text, "what the user says");
  app->add_option(
      "-f,--message-file", flags->prompt.file, "read it from a file; - is standard input");
  app->add_option("-d,--document",
                  flags->document,
                  "a text file that the message is about, goes before it; - is standard input");
  app->add_option("--system", flags->system, "a system message");
  app->add_flag("-q,--quiet", flags->quiet, "the answer alone");
  flags->generation.AddTo(app);
  return [flags](const Session& session) -> int {
    auto text = ReadQuestion(flags->prompt, flags->document);
    if (!text.ok()) return ReportUsage(text.status());
    v1::ChatRequest request;
    if (!flags->system.empty()) {
      auto* message = request.add_messages();
      message->set_role("system");
      message->set_content(flags->system);
    }
    auto* message = request.add_messages();
    message->set_role("user");
    message->set_content(*std::move(text));
    flags->generation.Fill(&request);
    request.mutable_output()->set_report_progress(true);
    AnswerPrinter printer(session.options->json, flags->quiet);
    return printer.Finish(session.client->StreamChat(
        request, session.call(), [&](const v1::StreamChatResponse& event) {
          printer.Print(event);
        }));
  };
}

}  // namespace keyhole::cli
