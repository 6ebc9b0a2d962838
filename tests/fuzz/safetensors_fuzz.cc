// Any bytes as a safetensors file: what is accepted must lie inside the file and fill it.
#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/model/safetensors_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto file = keyhole::SafetensorsFile::Parse(bytes);
  if (!file.ok()) return 0;
  std::size_t total = 0;
  for (const auto& tensor : file->tensors()) {
    const std::byte* end = tensor.bytes.data() + tensor.bytes.size();
    if (tensor.bytes.data() < bytes.data() || end > bytes.data() + bytes.size()) __builtin_trap();
    if (file->Find(tensor.name) != &tensor) __builtin_trap();
    total += tensor.bytes.size();
  }
  if (total > size) __builtin_trap();
  return 0;
}
