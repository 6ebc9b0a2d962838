// What rank 0 tells the other ranks before each step, as bytes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/batch/model_input.h"

namespace keyhole {

// Of the format below: processes of other builds are refused by it.
inline constexpr int kStepMessageVersion = 1;

enum class MessageKind : std::uint8_t {
  kStep,  // run it
  kPing,  // rank 0 has nothing to do and lives
  kStop,  // rank 0 goes away: so may the others
};

// A message without a step.
std::string EncodeMessage(MessageKind kind);

// Writes steps. Of a page table only what the ranks have not got yet is written: it grows with the
// sequence and hardly ever changes. Tokens of the past and parameters of sampling are left out:
// only rank 0 samples. Owner: rank 0's executor. Thread: one.
class StepEncoder {
 public:
  // `freed`: pages whose memory may go, before the step.
  std::string Encode(const ModelInput& input, std::span<const PageId> freed);

 private:
  std::map<RequestId, std::vector<PageId>> sent_;  // page tables that the ranks have
};

struct StepMessage {
  MessageKind kind = MessageKind::kStep;
  ModelInput input;  // its spans are valid until the decoder's next call
  std::vector<PageId> freed;
};

// Reads what one encoder wrote, in its order. Owner: a worker. Thread: one.
class StepDecoder {
 public:
  // Errors: INTERNAL for bytes that no encoder in this state writes.
  absl::StatusOr<StepMessage> Decode(std::string_view bytes);

 private:
  struct Known {
    std::vector<PageId> pages;
    Request request;
  };
  class Reader;

  absl::Status ReadSlice(Reader& reader, SequenceSlice& slice);

  std::map<RequestId, Known> known_;
};

}  // namespace keyhole
