#include "client/cli/generation_flags.h"

#include <cmath>

#include "client/profile_names.h"

namespace keyhole::cli {

void GenerationFlags::AddTo(CLI::App* app) {
  app->add_option("-n,--max-output-tokens", max_output_tokens, "longest answer, in tokens");
  app->add_option("--temperature", temperature, "0 always takes the most likely token");
  app->add_option("--top-k", top_k, "keep the k most likely tokens");
  app->add_option("--top-p", top_p, "keep the most likely tokens up to this probability");
  app->add_option("--min-p", min_p, "drop tokens less likely than this share of the best");
  app->add_option("--repetition-penalty", repetition_penalty, "1 is none");
  app->add_option("--seed", seed, "the same seed gives the same answer");
  app->add_option("--stop", stop, "end before this text; may be given again");
  app->add_option("--time-limit", time_limit_seconds, "seconds; the text so far is kept");
  app->add_option(
      "--logprobs", logprobs, "log-probabilities, with so many alternatives (use with --json)");
  app->add_flag("--ignore-eos", ignore_eos, "go on after the model's end token");
  app->add_flag("--full-attention", full_attention, "attend to every token");
  app->add_option("--profile", profile, "which tokens are near (default: as the server says)")
      ->check(CLI::IsMember(ProfileNames()));
  app->add_option("--request-id", client_request_id, "for correlation with the server's log");
}

void GenerationFlags::FillSampling(v1::SamplingOptions* sampling) const {
  if (temperature) sampling->set_temperature(*temperature);
  if (top_k) sampling->set_top_k(*top_k);
  if (top_p) sampling->set_top_p(*top_p);
  if (min_p) sampling->set_min_p(*min_p);
  if (repetition_penalty) sampling->set_repetition_penalty(*repetition_penalty);
  if (seed) sampling->set_seed(*seed);
}

void GenerationFlags::FillStopping(v1::StoppingOptions* stopping) const {
  if (max_output_tokens) stopping->set_max_output_tokens(*max_output_tokens);
  for (const std::string& text : stop) stopping->add_stop(text);
  if (ignore_eos) stopping->set_ignore_eos(true);
  if (time_limit_seconds) {
    double whole = 0;
    const double fraction = std::modf(*time_limit_seconds, &whole);
    stopping->mutable_time_limit()->set_seconds(static_cast<std::int64_t>(whole));
    stopping->mutable_time_limit()->set_nanos(static_cast<std::int32_t>(fraction * 1e9));
  }
}

void GenerationFlags::FillOutput(v1::OutputOptions* output) const {
  if (logprobs < 0) return;
  output->set_return_logprobs(true);
  output->set_return_token_ids(true);
  output->set_top_logprob_count(logprobs);
}

void GenerationFlags::FillSelection(v1::SelectionOptions* selection) const {
  if (full_attention) selection->set_force_full_attention(true);
  if (!profile.empty()) selection->set_profile(FindProfile(profile));
}

}  // namespace keyhole::cli
