// Any text as a model directory's config.json or as its index of shards.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/model/hf_config.h"
#include "engine/model/hf_shards.h"
#include "engine/model/weight_table.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto index = keyhole::HfShards::ParseIndex(text); index.ok()) {
    for (const auto& [tensor, file] : *index) {
      if (file.find('/') != std::string::npos || file.front() == '.') __builtin_trap();
    }
  }
  auto config = keyhole::ParseHfConfig(text);
  if (config.ok() && keyhole::ApplyOptions({}, &*config).ok()) {
    if (keyhole::WeightShapes(*config).empty()) __builtin_trap();
  }
  return 0;
}
