#include "tests/integration/golden_run.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/sampling/softmax.h"
#include "engine/status_macros.h"

namespace keyhole {

absl::StatusOr<Goldens> Goldens::Open() {
  Goldens goldens;
  KEYHOLE_ASSIGN_OR_RETURN(goldens.reference, GoldenFile::Open("smollm2_135m_q4_1.safetensors"));
  KEYHOLE_ASSIGN_OR_RETURN(goldens.llama_cpp,
                           GoldenFile::Open("smollm2_135m_q4_1.llama_cpp.safetensors"));
  const GoldenFile& file = goldens.reference;
  goldens.columns = file.Ints("columns");
  for (int i = 0; file.Has(std::to_string(i) + ".prompt"); ++i) {
    const std::string prefix = std::to_string(i) + ".";
    GoldenPrompt& prompt = goldens.prompts.emplace_back();
    prompt.ids = file.Ints(prefix + "prompt");
    prompt.greedy = file.Ints(prefix + "greedy");
    prompt.column_logits = file.Floats(prefix + "column_logits");
    prompt.top_ids = file.Ints(prefix + "top_ids");
    prompt.top_logits = file.Floats(prefix + "top_logits");
    prompt.max_abs = file.Floats(prefix + "max_abs");
    prompt.llama_ids = goldens.llama_cpp.Ints(prefix + "top_ids");
    prompt.llama_log_probs = goldens.llama_cpp.Floats(prefix + "top_log_probs");
  }
  return goldens;
}

absl::Status RunGoldens(ModelRunner& runner,
                        const Goldens& goldens,
                        absl::FunctionRef<void(const GoldenStep&)> visit) {
  const std::size_t n_steps = goldens.prompts.front().greedy.size();
  std::vector<std::int32_t> sequences;
  for (std::size_t i = 0; i < goldens.prompts.size(); ++i) {
    const GoldenPrompt& prompt = goldens.prompts[i];
    sequences.push_back(runner.AddSequence(static_cast<std::int32_t>(prompt.ids.size() + n_steps)));
    KEYHOLE_ASSIGN_OR_RETURN(const std::span<const float> logits,
                             runner.Prefill(sequences.back(), prompt.ids));
    visit({i, 0, logits});
  }
  const auto vocab_size = static_cast<std::size_t>(runner.vocab_size());
  for (std::size_t step = 1; step < n_steps; ++step) {
    std::vector<RunnerSlice> slices;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      slices.push_back({sequences[i], goldens.prompts[i].greedy.subspan(step - 1, 1)});
    }
    KEYHOLE_ASSIGN_OR_RETURN(const std::span<const float> logits, runner.Step(slices));
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      visit({i, step, logits.subspan(i * vocab_size, vocab_size)});
    }
  }
  return absl::OkStatus();
}

double RelativeError(const Goldens& goldens, const GoldenStep& step) {
  const GoldenPrompt& prompt = goldens.prompts[step.prompt];
  double difference = 0;
  const auto compare = [&](TokenId token, float expected) {
    difference = std::max<double>(difference, std::abs(step.logits[token] - expected));
  };
  const std::size_t n_columns = goldens.columns.size();
  for (std::size_t i = 0; i < n_columns; ++i) {
    compare(goldens.columns[i], prompt.column_logits[step.step * n_columns + i]);
  }
  const std::size_t n_top = prompt.top_ids.size() / prompt.greedy.size();
  for (std::size_t i = step.step * n_top; i < (step.step + 1) * n_top; ++i) {
    compare(prompt.top_ids[i], prompt.top_logits[i]);
  }
  const std::string full = "full." + std::to_string(step.prompt) + "." + std::to_string(step.step);
  if (goldens.reference.Has(full)) {
    const auto row = goldens.reference.Floats(full);
    for (std::size_t i = 0; i < row.size(); ++i) compare(static_cast<TokenId>(i), row[i]);
  }
  return difference / prompt.max_abs[step.step];
}

double KlDivergence(std::span<const float> p, std::span<const float> q) {
  const double p_sum = LogSumExp(p);
  const double q_sum = LogSumExp(q);
  double kl = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double log_p = p[i] - p_sum;
    kl += std::exp(log_p) * (log_p - (q[i] - q_sum));
  }
  return kl;
}

double KlFromLlamaCpp(const Goldens& goldens, const GoldenStep& step) {
  const GoldenPrompt& prompt = goldens.prompts[step.prompt];
  const std::size_t n_top = prompt.llama_ids.size() / prompt.greedy.size();
  const double sum = LogSumExp(step.logits);
  double kl = 0;
  double p_rest = 1;
  double q_rest = 1;
  for (std::size_t i = step.step * n_top; i < (step.step + 1) * n_top; ++i) {
    const double log_p = prompt.llama_log_probs[i];
    const double log_q = step.logits[prompt.llama_ids[i]] - sum;
    kl += std::exp(log_p) * (log_p - log_q);
    p_rest -= std::exp(log_p);
    q_rest -= std::exp(log_q);
  }
  constexpr double kRounding = 1e-7;
  if (p_rest > kRounding && q_rest > kRounding) kl += p_rest * std::log(p_rest / q_rest);
  return kl;
}

TokenId BestToken(std::span<const float> logits) {
  return static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
}

}  // namespace keyhole
