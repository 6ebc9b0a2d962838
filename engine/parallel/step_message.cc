#include "engine/parallel/step_message.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <type_traits>

#include "absl/status/status.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

// Numbers as they lie in memory: ranks are processes of one program.
class Writer {
 public:
  template <typename T>
  void Put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }

  template <typename T>
  void PutAll(std::span<const T> values) {
    Put(static_cast<std::uint32_t>(values.size()));
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  }

  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// The numbers of a slice, in one piece.
struct SliceHeader {
  RequestId id = 0;
  std::int32_t q_begin = 0;
  std::int32_t q_len = 0;
  std::int32_t kv_len = 0;
  std::int32_t prompt_len = 0;
  std::int32_t prompt_logprob_first = 0;
  std::int32_t prompt_logprob_count = 0;
  std::int32_t selected_tokens = 0;
  std::uint32_t pages_kept = 0;  // of the table that the decoder has
  AttentionProfile profile = AttentionProfile::kRecall;
  std::uint8_t sample = 0;
  std::uint8_t has_request = 0;
  std::uint8_t has_selected_tokens = 0;
  std::uint8_t has_profile = 0;
  std::uint8_t force_full_attention = 0;
};

SliceHeader HeaderOf(const SequenceSlice& slice) {
  SliceHeader header;
  header.id = slice.id;
  header.q_begin = slice.q_begin;
  header.q_len = slice.q_len;
  header.kv_len = slice.kv_len;
  header.prompt_len = slice.prompt_len;
  header.prompt_logprob_first = slice.prompt_logprob_first;
  header.prompt_logprob_count = slice.prompt_logprob_count;
  header.sample = slice.sample;
  if (slice.request == nullptr) return header;
  const SelectionParams& selection = slice.request->selection;
  header.has_request = 1;
  header.has_selected_tokens = selection.selected_tokens.has_value();
  header.selected_tokens = selection.selected_tokens.value_or(0);
  header.has_profile = selection.profile.has_value();
  header.profile = selection.profile.value_or(AttentionProfile::kRecall);
  header.force_full_attention = selection.force_full_attention;
  return header;
}

absl::Status Malformed() {
  return absl::InternalError("tensor parallel: a step's message is malformed");
}

}  // namespace

std::string EncodeMessage(MessageKind kind) {
  Writer writer;
  writer.Put(kind);
  return writer.Take();
}

std::string StepEncoder::Encode(const ModelInput& input, std::span<const PageId> freed) {
  Writer writer;
  writer.Put(MessageKind::kStep);
  writer.PutAll(freed);
  writer.PutAll(std::span(input.ended));
  for (const RequestId id : input.ended) sent_.erase(id);
  writer.PutAll(std::span(input.token_ids));
  writer.PutAll(std::span(input.positions));
  writer.Put(static_cast<std::uint32_t>(input.sequences.size()));
  for (const SequenceSlice& slice : input.sequences) {
    std::vector<PageId>& sent = sent_[slice.id];
    const auto differs =
        std::mismatch(sent.begin(), sent.end(), slice.pages.begin(), slice.pages.end());
    SliceHeader header = HeaderOf(slice);
    header.pages_kept = static_cast<std::uint32_t>(differs.first - sent.begin());
    writer.Put(header);
    writer.PutAll(slice.pages.subspan(header.pages_kept));
    sent.assign(slice.pages.begin(), slice.pages.end());
  }
  return writer.Take();
}

class StepDecoder::Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  bool Get(T& value) {
    if (bytes_.size() < sizeof(T)) return false;
    std::memcpy(&value, bytes_.data(), sizeof(T));
    bytes_.remove_prefix(sizeof(T));
    return true;
  }

  template <typename T>
  bool AppendAll(std::vector<T>& values) {
    std::uint32_t n = 0;
    if (!Get(n) || bytes_.size() / sizeof(T) < n) return false;
    const std::size_t old = values.size();
    values.resize(old + n);
    std::memcpy(values.data() + old, bytes_.data(), n * sizeof(T));
    bytes_.remove_prefix(n * sizeof(T));
    return true;
  }

  bool at_end() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
};

absl::Status StepDecoder::ReadSlice(Reader& reader, SequenceSlice& slice) {
  SliceHeader header;
  if (!reader.Get(header)) return Malformed();
  Known& known = known_[header.id];
  if (header.pages_kept > known.pages.size()) return Malformed();
  known.pages.resize(header.pages_kept);
  if (!reader.AppendAll(known.pages)) return Malformed();
  slice.id = header.id;
  slice.q_begin = header.q_begin;
  slice.q_len = header.q_len;
  slice.kv_len = header.kv_len;
  slice.prompt_len = header.prompt_len;
  slice.prompt_logprob_first = header.prompt_logprob_first;
  slice.prompt_logprob_count = header.prompt_logprob_count;
  slice.sample = header.sample != 0;
  slice.pages = known.pages;
  if (header.has_request == 0) return absl::OkStatus();
  SelectionParams& selection = known.request.selection;
  selection.selected_tokens =
      header.has_selected_tokens != 0 ? std::optional(header.selected_tokens) : std::nullopt;
  selection.profile = header.has_profile != 0 ? std::optional(header.profile) : std::nullopt;
  selection.force_full_attention = header.force_full_attention != 0;
  slice.request = &known.request;
  return absl::OkStatus();
}

absl::StatusOr<StepMessage> StepDecoder::Decode(std::string_view bytes) {
  Reader reader(bytes);
  StepMessage message;
  if (!reader.Get(message.kind) || message.kind > MessageKind::kStop) return Malformed();
  if (message.kind == MessageKind::kStep) {
    ModelInput& input = message.input;
    std::uint32_t n_sequences = 0;
    if (!reader.AppendAll(message.freed) || !reader.AppendAll(input.ended) ||
        !reader.AppendAll(input.token_ids) || !reader.AppendAll(input.positions) ||
        !reader.Get(n_sequences)) {
      return Malformed();
    }
    for (const RequestId id : input.ended) known_.erase(id);
    for (std::uint32_t i = 0; i < n_sequences; ++i) {
      KEYHOLE_RETURN_IF_ERROR(ReadSlice(reader, input.sequences.emplace_back()));
    }
  }
  if (!reader.at_end()) return Malformed();
  return message;
}

}  // namespace keyhole
