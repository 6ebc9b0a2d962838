#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "engine/model/file_error.h"
#include "engine/model/gguf_source.h"
#include "engine/model/hf_source.h"
#include "engine/model/synthetic_source.h"
#include "engine/model/weight_source.h"

namespace keyhole {

absl::StatusOr<std::unique_ptr<WeightSource>> OpenModel(const std::string& path,
                                                        const ModelFileOptions& options) {
  if (path.starts_with(kSyntheticPrefix)) return OpenSyntheticModel(path, options);
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return OpenHfModel(path, options);
  if (path.ends_with(".safetensors")) {
    return InvalidFile("{}: give the directory that holds it and config.json", path);
  }
  auto source = OpenGgufModel(path, options);
  if (source.ok() || absl::StrContains(source.status().message(), path)) return source;
  return InContext(path, source.status());
}

}  // namespace keyhole
