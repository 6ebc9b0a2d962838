#include "client/eval/evaluation.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/eval/status.h"
#include "fmt/format.h"

namespace keyhole::eval {
namespace {

constexpr int kMaxFailuresInARow = 3;

ServerInfo Describe(const Target& target, const v1::GetModelResponse& model) {
  const v1::SelectionInfo& selection = model.selection();
  return {.name = target.name.empty() ? selection.policy() : target.name,
          .address = target.address,
          .model = model.name(),
          .revision = model.revision(),
          .version = model.server_version(),
          .policy = selection.policy(),
          .positions = selection.positions(),
          .initial_tokens = selection.initial_tokens(),
          .local_tokens = selection.local_tokens(),
          .selected_tokens = selection.selected_tokens(),
          .max_context_tokens = model.limits().max_context_tokens()};
}

// Whether a later call to the same server could go better.
bool IsFinal(const absl::Status& status) {
  return absl::IsCancelled(status) || absl::IsUnavailable(status) ||
         absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status);
}

}  // namespace

// One server's part.
class Evaluation::ServerRun {
 public:
  ServerRun(Evaluation* all, const Target& target, const Listener& listener, Results* results)
      : settings_(*all->settings_),
        all_(all),
        target_(target),
        listener_(listener),
        results_(results) {}

  absl::Status Run() {
    v1::GetModelResponse model;
    if (auto status = ToStatus(target_.client->GetModel(all_->call_, &model)); !status.ok()) {
      return GiveUp(target_.name.empty() ? target_.address : target_.name, status);
    }
    info_ = Describe(target_, model);
    results_->runs.back().servers.push_back(info_);
    ServerTokenizer tokenizer(target_.client, all_->call_);
    auto& pieces = all_->pieces_[info_.revision];
    if (pieces == nullptr) pieces = std::make_unique<Pieces>(&tokenizer);
    pieces->UseTokenizer(&tokenizer);
    Examiner examiner(target_.client,
                      all_->call_,
                      model.limits().max_prompt_logprobs(),
                      [this](int done, int total) { ShowReading(done, total); });
    examiner_ = &examiner;
    return AskAll(pieces.get());
  }

 private:
  absl::Status AskAll(Pieces* pieces) {
    const std::vector<DocumentSpec> specs = ListDocuments(settings_);
    for (std::size_t i = 0; i < specs.size(); ++i) {
      const DocumentSpec& spec = specs[i];
      if (spec.length > info_.max_context_tokens) {
        SkipLength(spec.length);
        continue;
      }
      where_ = fmt::format("{}: document {} of {}, {} tokens, seed {}",
                           info_.name,
                           i + 1,
                           specs.size(),
                           spec.length,
                           spec.seed);
      listener_.progress({.text = where_, .new_document = true});
      auto document = MakeDocument(settings_, spec, *all_->haystack_, pieces);
      if (!document.ok()) return GiveUp(info_.name, document.status());
      KEYHOLE_EVAL_RETURN(AskAbout(*document));
      listener_.document_done();
    }
    return first_failure_;
  }

  absl::Status AskAbout(const Document& document) {
    for (const std::string& profile : settings_.profiles) {
      int number = 0;
      for (const Question& question : document.questions) {
        at_ = fmt::format("{}{}, question {} of {}",
                          where_,
                          profile == "default" ? "" : ", " + profile,
                          ++number,
                          document.questions.size());
        listener_.progress({.text = at_});
        KEYHOLE_EVAL_RETURN(AskOne(document, question, profile));
      }
    }
    return absl::OkStatus();
  }

  // An error only where the server is given up.
  absl::Status AskOne(const Document& document,
                      const Question& question,
                      const std::string& profile) {
    Row row{.policy = info_.name,
            .profile = profile,
            .task = TaskName(settings_.task),
            .facts = settings_.task == Task::kNeedles ? settings_.facts : "",
            .length = document.length,
            .seed = document.seed,
            .depth = question.depth,
            .id = question.id};
    const absl::Status status = Answer(document, question, profile, &row);
    if (absl::IsCancelled(status)) return status;
    row.error = status.ok() ? "" : std::string(status.message());
    results_->Add(std::move(row));
    if (status.ok()) {
      failures_in_a_row_ = 0;
      return status;
    }
    first_failure_.Update(status);
    if (IsFinal(status) || ++failures_in_a_row_ >= kMaxFailuresInARow) {
      return GiveUp(info_.name, status);
    }
    return absl::OkStatus();
  }

  absl::Status Answer(const Document& document,
                      const Question& question,
                      const std::string& profile,
                      Row* row) {
    if (settings_.chat) return examiner_->Chat(document, question, profile, row);
    KEYHOLE_EVAL_RETURN(examiner_->Score(document, question, profile, row));
    const bool write = settings_.generate && settings_.task != Task::kPerplexity;
    return write ? examiner_->Write(document, question, profile, row) : absl::OkStatus();
  }

  absl::Status GiveUp(const std::string& name, const absl::Status& status) {
    if (!absl::IsCancelled(status)) {
      results_->runs.back().notes.push_back(
          absl::StrCat(name, ": given up: ", std::string(status.message())));
    }
    return status;
  }

  void SkipLength(int length) {
    if (length == skipped_) return;
    skipped_ = length;
    results_->runs.back().notes.push_back(fmt::format("{}: {} tokens left out: the server takes {}",
                                                      info_.name,
                                                      length,
                                                      info_.max_context_tokens));
  }

  void ShowReading(int done, int total) {
    listener_.progress(
        {.text = fmt::format("{}, read {:.0f}%", at_, 100.0 * done / std::max(1, total))});
  }

  const EvalSettings& settings_;
  Evaluation* all_;
  const Target& target_;
  const Listener& listener_;
  Results* results_;
  ServerInfo info_;
  Examiner* examiner_ = nullptr;
  std::string where_;  // the document
  std::string at_;     // the question
  int failures_in_a_row_ = 0;
  int skipped_ = 0;
  absl::Status first_failure_;
};

absl::Status Evaluation::Ask(const Target& target, const Listener& listener, Results* results) {
  return ServerRun(this, target, listener, results).Run();
}

}  // namespace keyhole::eval
