// Flags that generate and chat share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "keyhole/v1/generation.pb.h"

namespace keyhole::cli {

struct GenerationFlags {
  std::optional<std::int32_t> max_output_tokens;
  std::optional<float> temperature;
  std::optional<std::int32_t> top_k;
  std::optional<float> top_p;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<std::uint64_t> seed;
  std::vector<std::string> stop;
  std::optional<double> time_limit_seconds;
  std::int32_t logprobs = -1;  // alternatives; -1: no log-probabilities
  bool ignore_eos = false;
  bool full_attention = false;
  std::string profile;
  std::string client_request_id;

  void AddTo(CLI::App* app);

  // Fills the fields that GenerateRequest and ChatRequest have in common.
  template <typename Request>
  void Fill(Request* request) const {
    request->set_client_request_id(client_request_id);
    FillSampling(request->mutable_sampling());
    FillStopping(request->mutable_stopping());
    FillOutput(request->mutable_output());
    FillSelection(request->mutable_selection());
  }

 private:
  void FillSampling(v1::SamplingOptions* sampling) const;
  void FillStopping(v1::StoppingOptions* stopping) const;
  void FillOutput(v1::OutputOptions* output) const;
  void FillSelection(v1::SelectionOptions* selection) const;
};

}  // namespace keyhole::cli
