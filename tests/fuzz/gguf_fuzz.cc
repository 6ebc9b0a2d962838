// Any bytes as a GGUF model: parse, read its config and tokenizer, decode rows of every weight.
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/model/gguf_source.h"
#include "engine/model/gguf_tokenizer.h"
#include "engine/model/weight_table.h"

namespace {

void DecodeEnds(const keyhole::WeightSource& source, const std::string& name) {
  const auto view = source.Get(name);
  if (!view.ok()) __builtin_trap();  // an open source has every tensor
  std::vector<float> row(static_cast<std::size_t>(view->n_cols));
  for (const std::int64_t logical : {std::int64_t{0}, view->n_rows - 1}) {
    const std::int64_t stored = source.RowOf(name, logical);
    if (stored < 0 || (view->n_rows > 1 && stored >= view->n_rows)) __builtin_trap();
    keyhole::DequantizeRow(*view, view->n_rows > 1 ? stored : 0, row);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  auto file = keyhole::GgufFile::Parse(bytes);
  if (!file.ok()) return 0;
  if (auto tokenizer = keyhole::ReadGgufTokenizer(*file); tokenizer.ok()) {
    (void)keyhole::MakeTokenizer(*std::move(tokenizer));
  }
  const auto source = keyhole::MakeGgufModel(*std::move(file), "", {});
  if (!source.ok()) return 0;
  for (const auto& shape : keyhole::WeightShapes((*source)->config())) {
    DecodeEnds(**source, shape.FullName());
  }
  return 0;
}
