// Weights of a GGUF file.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/model/gguf_file.h"
#include "engine/model/weight_source.h"

namespace keyhole {

// Errors: as GgufFile::Open, ReadGgufConfig and WeightTable::Build; UNIMPLEMENTED for a tensor that
// no Llama-family model of these architectures has.
absl::StatusOr<std::unique_ptr<WeightSource>> OpenGgufModel(const std::string& path,
                                                            const ModelFileOptions& options);

// The same for a file that is open already; `path` is where its tokenizer will be read from.
absl::StatusOr<std::unique_ptr<WeightSource>> MakeGgufModel(GgufFile file,
                                                            const std::string& path,
                                                            const ModelFileOptions& options);

}  // namespace keyhole
