#include "engine/calibration/calibration_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "engine/model/file_error.h"
#include "engine/model/safetensors_file.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

constexpr std::string_view kFormat = "keyhole-calibration";
constexpr std::string_view kVersion = "1";
constexpr std::size_t kMaxHeaderBytes = 1 << 20;
constexpr std::int64_t kMaxLayers = 10'000;
constexpr std::int64_t kMaxDim = 1 << 20;
constexpr std::string_view kPerKvHead = "per_kv_head";
constexpr std::string_view kConcatenated = "concatenated";

struct QualityField {
  std::string_view name;
  double LayerQuality::*value;
};

constexpr QualityField kQuality[] = {
    {"score_error", &LayerQuality::score_error},
    {"overlap", &LayerQuality::overlap},
    {"mass", &LayerQuality::mass},
    {"needed_mass", &LayerQuality::needed_mass},
    {"peak", &LayerQuality::peak},
};

// --- reading

using Metadata = std::map<std::string, std::string>;

// The header has been checked: an object whose "__metadata__" holds strings alone.
absl::StatusOr<Metadata> ReadMetadata(const SafetensorsFile& file) {
  std::uint64_t length = 0;
  std::memcpy(&length, file.bytes().data(), sizeof(length));
  if (length > kMaxHeaderBytes) return InvalidFile("a header of {} bytes", length);
  const auto* text = reinterpret_cast<const char*>(file.bytes().data()) + sizeof(length);
  const nlohmann::json header = nlohmann::json::parse(text, text + length, nullptr, false);
  const auto found = header.find("__metadata__");
  if (found == header.end()) return InvalidFile("it has no metadata");
  return found->get<Metadata>();
}

absl::StatusOr<std::string> Text(const Metadata& metadata, std::string_view name) {
  const auto found = metadata.find(std::string(name));
  if (found == metadata.end()) return InvalidFile("its metadata has no {}", name);
  return found->second;
}

absl::StatusOr<std::int64_t> Number(const Metadata& metadata,
                                    std::string_view name,
                                    std::int64_t least,
                                    std::int64_t most) {
  KEYHOLE_ASSIGN_OR_RETURN(const std::string text, Text(metadata, name));
  std::int64_t value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < least || value > most) {
    return InvalidFile("{} of '{}' is not in [{}, {}]", name, Printable(text), least, most);
  }
  return value;
}

absl::StatusOr<std::vector<float>> Floats(const SafetensorsFile& file,
                                          const std::string& name,
                                          const std::vector<std::int64_t>& shape) {
  const SafetensorsTensor* tensor = file.Find(name);
  if (tensor == nullptr) return InvalidFile("tensor {} is missing", name);
  if (tensor->type != WeightType::kF32 || tensor->shape != shape) {
    return InvalidFile("tensor {} is {} [{}], not F32 [{}]",
                       name,
                       tensor->dtype,
                       fmt::join(tensor->shape, ", "),
                       fmt::join(shape, ", "));
  }
  std::vector<float> values(tensor->bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size());
  for (const float value : values) {
    if (!std::isfinite(value))
      return InvalidFile("tensor {} holds a value that is no number", name);
  }
  return values;
}

std::vector<float> Part(const std::vector<float>& all, std::int64_t index, std::int64_t size) {
  return {all.begin() + index * size, all.begin() + (index + 1) * size};
}

absl::Status ReadLayers(const SafetensorsFile& file,
                        const std::string& prefix,
                        CalibratedForm& form) {
  DigestMaps& maps = form.maps;
  const auto n_layers = static_cast<std::int64_t>(maps.layers.size());
  const std::vector<std::int64_t> shape = {n_layers, maps.n_groups, maps.rank, maps.in_dim};
  KEYHOLE_ASSIGN_OR_RETURN(const auto query, Floats(file, prefix + "query", shape));
  KEYHOLE_ASSIGN_OR_RETURN(const auto key, Floats(file, prefix + "key", shape));
  KEYHOLE_ASSIGN_OR_RETURN(const auto selects, Floats(file, prefix + "selects", {n_layers}));
  const std::int64_t size = std::int64_t{1} * maps.n_groups * maps.rank * maps.in_dim;
  for (std::int64_t layer = 0; layer < n_layers; ++layer) {
    maps.layers[layer] = {.query = Part(query, layer, size),
                          .key = Part(key, layer, size),
                          .selects = selects[layer] != 0};
  }
  for (const QualityField& field : kQuality) {
    KEYHOLE_ASSIGN_OR_RETURN(const auto values,
                             Floats(file, prefix + std::string(field.name), {n_layers}));
    for (std::int64_t layer = 0; layer < n_layers; ++layer) {
      form.quality[layer].*field.value = values[layer];
    }
  }
  return absl::OkStatus();
}

// Absent unless the metadata gives its rank.
absl::StatusOr<std::optional<CalibratedForm>> ReadForm(const SafetensorsFile& file,
                                                       const Metadata& metadata,
                                                       DigestForm form) {
  const std::string prefix =
      fmt::format("{}.", form == DigestForm::kPerKvHead ? kPerKvHead : kConcatenated);
  if (!metadata.contains(prefix + "rank")) return std::nullopt;
  CalibratedForm read;
  read.maps.form = form;
  KEYHOLE_ASSIGN_OR_RETURN(const auto n_layers, Number(metadata, "n_layers", 1, kMaxLayers));
  KEYHOLE_ASSIGN_OR_RETURN(const auto distance, Number(metadata, "query_distance", 0, INT32_MAX));
  KEYHOLE_ASSIGN_OR_RETURN(const auto groups, Number(metadata, prefix + "n_groups", 1, kMaxDim));
  KEYHOLE_ASSIGN_OR_RETURN(const auto dim, Number(metadata, prefix + "in_dim", 4, kMaxDim));
  KEYHOLE_ASSIGN_OR_RETURN(const auto rank, Number(metadata, prefix + "rank", 4, dim));
  if (rank % 4 != 0) return InvalidFile("a rank of {} is no multiple of 4", rank);
  read.maps.query_distance = static_cast<std::int32_t>(distance);
  read.maps.n_groups = static_cast<std::int32_t>(groups);
  read.maps.in_dim = static_cast<std::int32_t>(dim);
  read.maps.rank = static_cast<std::int32_t>(rank);
  read.maps.layers.resize(n_layers);
  read.quality.resize(n_layers);
  KEYHOLE_RETURN_IF_ERROR(ReadLayers(file, prefix, read));
  return read;
}

absl::StatusOr<Calibration> Parse(const SafetensorsFile& file) {
  KEYHOLE_ASSIGN_OR_RETURN(const Metadata metadata, ReadMetadata(file));
  KEYHOLE_ASSIGN_OR_RETURN(const std::string format, Text(metadata, "format"));
  if (format != kFormat)
    return InvalidFile("its format is '{}', not {}", Printable(format), kFormat);
  KEYHOLE_ASSIGN_OR_RETURN(const std::string version, Text(metadata, "version"));
  if (version != kVersion) {
    return InvalidFile("its version is '{}', this program reads {}", Printable(version), kVersion);
  }
  Calibration calibration;
  KEYHOLE_ASSIGN_OR_RETURN(calibration.model_hash, Text(metadata, "model_hash"));
  if (const auto rope = metadata.find("rope"); rope != metadata.end()) {
    calibration.rope = rope->second;
  }
  KEYHOLE_ASSIGN_OR_RETURN(calibration.per_kv_head,
                           ReadForm(file, metadata, DigestForm::kPerKvHead));
  KEYHOLE_ASSIGN_OR_RETURN(calibration.concatenated,
                           ReadForm(file, metadata, DigestForm::kConcatenated));
  if (!calibration.per_kv_head && !calibration.concatenated) return InvalidFile("it has no maps");
  return calibration;
}

// --- writing

struct Content {
  nlohmann::ordered_json header;
  std::string data;

  void Add(const std::string& name,
           std::vector<std::int64_t> shape,
           const std::vector<float>& values) {
    const std::size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    header[name] = {
        {"dtype", "F32"}, {"shape", std::move(shape)}, {"data_offsets", {begin, data.size()}}};
  }
};

void AddForm(const CalibratedForm& form, Content& content) {
  const DigestMaps& maps = form.maps;
  const std::string prefix =
      fmt::format("{}.", maps.form == DigestForm::kPerKvHead ? kPerKvHead : kConcatenated);
  const auto n_layers = static_cast<std::int64_t>(maps.layers.size());
  nlohmann::ordered_json& metadata = content.header["__metadata__"];
  metadata["n_layers"] = fmt::to_string(n_layers);
  metadata["query_distance"] = fmt::to_string(maps.query_distance);
  metadata[prefix + "n_groups"] = fmt::to_string(maps.n_groups);
  metadata[prefix + "rank"] = fmt::to_string(maps.rank);
  metadata[prefix + "in_dim"] = fmt::to_string(maps.in_dim);
  std::vector<float> query;
  std::vector<float> key;
  std::vector<float> selects;
  for (const LayerDigestMaps& layer : maps.layers) {
    query.insert(query.end(), layer.query.begin(), layer.query.end());
    key.insert(key.end(), layer.key.begin(), layer.key.end());
    selects.push_back(layer.selects ? 1 : 0);
  }
  const std::vector<std::int64_t> shape = {n_layers, maps.n_groups, maps.rank, maps.in_dim};
  content.Add(prefix + "query", shape, query);
  content.Add(prefix + "key", shape, key);
  content.Add(prefix + "selects", {n_layers}, selects);
  for (const QualityField& field : kQuality) {
    std::vector<float> values;
    for (const LayerQuality& layer : form.quality) {
      values.push_back(static_cast<float>(layer.*field.value));
    }
    content.Add(prefix + std::string(field.name), {n_layers}, values);
  }
}

std::string Serialize(const Calibration& calibration) {
  Content content;
  content.header["__metadata__"] = {{"format", kFormat},
                                    {"version", kVersion},
                                    {"model_hash", calibration.model_hash},
                                    {"rope", calibration.rope}};
  if (calibration.per_kv_head) AddForm(*calibration.per_kv_head, content);
  if (calibration.concatenated) AddForm(*calibration.concatenated, content);
  std::string header = content.header.dump();
  header.append((8 - header.size() % 8) % 8, ' ');  // the format aligns its data
  const std::uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof(length));
  return file.append(header).append(content.data);
}

absl::Status SystemError(const std::string& path, std::string_view what) {
  return absl::ErrnoToStatus(errno, fmt::format("{} {}", what, path));
}

absl::Status WriteAll(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return absl::ErrnoToStatus(errno, "write");
    bytes.remove_prefix(written);
  }
  if (fchmod(file, 0644) != 0 || fsync(file) != 0) return absl::ErrnoToStatus(errno, "write");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Calibration> ReadCalibration(const std::string& path) {
  KEYHOLE_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path));
  absl::StatusOr<Calibration> calibration = Parse(file);
  if (!calibration.ok()) return InContext(path, calibration.status());
  return calibration;
}

absl::Status WriteCalibration(const Calibration& calibration, const std::string& path) {
  const std::string bytes = Serialize(calibration);
  std::string partial = path + ".XXXXXX";
  const int file = mkstemp(partial.data());
  if (file < 0) return SystemError(path, "cannot write");
  absl::Status status = WriteAll(file, bytes);
  close(file);
  if (status.ok() && rename(partial.c_str(), path.c_str()) != 0) {
    status = SystemError(path, "cannot rename to");
  }
  if (!status.ok()) unlink(partial.c_str());
  return status;
}

}  // namespace keyhole
