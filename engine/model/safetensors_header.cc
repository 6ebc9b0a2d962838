#include "engine/model/safetensors_header.h"

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "engine/model/file_error.h"

namespace keyhole {
namespace {

constexpr std::size_t kMaxDims = 8;
constexpr std::size_t kMaxTensors = 1 << 20;
constexpr std::string_view kMetadata = "__metadata__";

// Follows the few places that a valid header has; any other event ends the parse.
class HeaderHandler final : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return Fail("null"); }
  bool boolean(bool) override { return Fail("a boolean"); }
  bool number_integer(number_integer_t) override { return Fail("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return Fail("a fraction"); }
  bool binary(binary_t&) override { return Fail("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShape && entry_.shape.size() < kMaxDims) {
      entry_.shape.push_back(value);
      return true;
    }
    if (place_ == Place::kOffsets && n_offsets_ < 2) {
      (n_offsets_++ == 0 ? entry_.begin : entry_.end) = value;
      return true;
    }
    return Fail("a number too many");
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) return true;
    if (place_ != Place::kTensor || field_ != "dtype") return Fail("a string");
    entry_.dtype = std::move(value);
    return true;
  }

  bool start_object(std::size_t) override {
    switch (place_) {
      case Place::kStart:
        place_ = Place::kTop;
        return true;
      case Place::kTop:
        place_ = entry_.name == kMetadata ? Place::kMetadata : Place::kTensor;
        return true;
      default:
        return Fail("an object");
    }
  }

  bool key(string_t& name) override {
    if (place_ == Place::kTop) return StartEntry(name);
    if (place_ == Place::kMetadata) return true;
    for (std::size_t i = 0; i < std::size(kFields); ++i) {
      if (name != kFields[i]) continue;
      if (seen_[i]) return Fail(fmt::format("a second {}", name));
      seen_[i] = true;
      field_ = kFields[i];
      return true;
    }
    return Fail(fmt::format("the field \"{}\"", Printable(name)));
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::kTensor || field_.empty() || field_ == "dtype") return Fail("an array");
    place_ = field_ == "shape" ? Place::kShape : Place::kOffsets;
    return true;
  }

  bool end_array() override {
    if (place_ == Place::kOffsets && n_offsets_ != 2) return Fail("too few data_offsets");
    place_ = Place::kTensor;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTop) {
      place_ = Place::kEnd;
      return true;
    }
    if (place_ == Place::kTensor) {
      if (!seen_[0] || !seen_[1] || !seen_[2]) return Fail("a field too few");
      // A number or object where a string or array belongs has been refused already.
      if (entry_.dtype.empty() || n_offsets_ != 2) return Fail("an empty field");
      if (entries_.size() >= kMaxTensors) return Fail("too many tensors");
      entries_.push_back(std::move(entry_));
    }
    place_ = Place::kTop;
    return true;
  }

  bool parse_error(std::size_t position,
                   const std::string&,
                   const nlohmann::json::exception&) override {
    return Fail(fmt::format("malformed JSON at byte {}", position));
  }

  absl::StatusOr<std::vector<SafetensorsEntry>> Finish() && {
    if (!error_.empty()) return absl::InvalidArgumentError(error_);
    return std::move(entries_);
  }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensor, kShape, kOffsets, kEnd };
  static constexpr std::string_view kFields[] = {"dtype", "shape", "data_offsets"};

  bool StartEntry(string_t& name) {
    if (!names_.insert(name).second) return Fail("a second entry of this name");
    entry_ = {};
    entry_.name = std::move(name);
    for (bool& seen : seen_) seen = false;
    field_ = {};
    n_offsets_ = 0;
    return true;
  }

  bool Fail(std::string_view found) {
    if (!error_.empty()) return false;
    error_ = fmt::format("safetensors header: unexpected {}", found);
    if (!entry_.name.empty()) {
      error_ += fmt::format(" at tensor {}", Printable(entry_.name));
    }
    return false;
  }

  Place place_ = Place::kStart;
  SafetensorsEntry entry_;
  std::string_view field_;
  bool seen_[std::size(kFields)] = {};
  int n_offsets_ = 0;
  std::set<std::string> names_;
  std::vector<SafetensorsEntry> entries_;
  std::string error_;
};

}  // namespace

absl::StatusOr<std::vector<SafetensorsEntry>> ParseSafetensorsHeader(std::string_view json) {
  HeaderHandler handler;
  // The handler keeps the reason of a failure; the result repeats that there was one.
  (void)nlohmann::json::sax_parse(json.begin(), json.end(), &handler);
  return std::move(handler).Finish();
}

}  // namespace keyhole
