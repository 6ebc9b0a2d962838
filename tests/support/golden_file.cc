#include "tests/support/golden_file.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"

namespace keyhole {

absl::StatusOr<GoldenFile> GoldenFile::Open(const std::string& name) {
  std::ifstream file(GoldenPath(name), std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat(GoldenPath(name), " cannot be read"));
  std::uint64_t header_bytes = 0;
  file.read(reinterpret_cast<char*>(&header_bytes), sizeof(header_bytes));
  std::string header(header_bytes, '\0');
  file.read(header.data(), static_cast<std::streamsize>(header_bytes));
  GoldenFile golden;
  golden.content_.assign(std::istreambuf_iterator<char>(file), {});
  const nlohmann::json tensors = nlohmann::json::parse(header);
  for (const auto& [tensor, value] : tensors.items()) {
    if (tensor == "__metadata__") continue;
    Entry entry;
    entry.dtype = value.at("dtype");
    entry.shape = value.at("shape").get<std::vector<std::int64_t>>();
    entry.begin = value.at("data_offsets").at(0);
    entry.end = value.at("data_offsets").at(1);
    if (entry.begin > entry.end || entry.end > golden.content_.size()) {
      return absl::DataLossError(absl::StrCat(tensor, " lies outside of the file"));
    }
    golden.entries_.emplace(tensor, std::move(entry));
  }
  return golden;
}

template <class T>
std::span<const T> GoldenFile::Values(const std::string& tensor, std::string_view dtype) const {
  const Entry& entry = entries_.at(tensor);
  if (entry.dtype != dtype) throw std::runtime_error(tensor + " has type " + entry.dtype);
  return {reinterpret_cast<const T*>(content_.data() + entry.begin),
          (entry.end - entry.begin) / sizeof(T)};
}

std::span<const float> GoldenFile::Floats(const std::string& tensor) const {
  return Values<float>(tensor, "F32");
}

std::span<const std::int32_t> GoldenFile::Ints(const std::string& tensor) const {
  return Values<std::int32_t>(tensor, "I32");
}

std::string GoldenPath(const std::string& name) {
  return absl::StrCat(KEYHOLE_GOLDEN_DIR, "/", name);
}

}  // namespace keyhole
