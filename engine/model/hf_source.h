// Weights of a Hugging Face model directory.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/model/weight_source.h"

namespace keyhole {

// Reads config.json and model.safetensors, or the shards that model.safetensors.index.json names.
// content_hash() of one weights file and config.json, or of more files, is the SHA-256 of the lines
// "<sha256>  <file name>\n" in the order config.json, then weights by name: what sha256sum prints.
// Errors: NOT_FOUND for a missing file; as ParseHfConfig, SafetensorsFile and WeightTable::Build;
// UNIMPLEMENTED for a tensor that no model of these architectures has.
absl::StatusOr<std::unique_ptr<WeightSource>> OpenHfModel(const std::string& directory,
                                                          const ModelFileOptions& options);

}  // namespace keyhole
