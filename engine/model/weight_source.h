// Named weight tensors of a model file, readable without being copied first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/model_config.h"

namespace keyhole {

// Spelled as ggml spells them.
// NOLINTNEXTLINE(readability-identifier-naming)
enum class WeightType { kF32, kF16, kBF16, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ4_K, kQ5_K, kQ6_K };

// A row-major matrix [n_rows, n_cols] (n_rows = outputs) or a vector (n_rows = 1), in the file's
// own encoding.
struct WeightView {
  WeightType type = WeightType::kF32;
  std::int64_t n_rows = 0;
  std::int64_t n_cols = 0;
  std::span<const std::byte> bytes;  // while the source lives; row i starts at i * row_bytes()

  std::size_t row_bytes() const { return bytes.size() / static_cast<std::size_t>(n_rows); }
};

// Decodes `row` of `view` to f32. REQUIRES: out.size() == n_cols; 0 <= row < n_rows.
void DequantizeRow(const WeightView& view, std::int64_t row, std::span<float> out);

// The same of out.size() columns from `first_col` on. REQUIRES: both are whole blocks of the
// encoding (weight_type.h).
void DequantizeColumns(const WeightView& view,
                       std::int64_t row,
                       std::int64_t first_col,
                       std::span<float> out);

// Where a tokenizer comes from; read by LoadModelTokenizer (model_tokenizer.h).
struct TokenizerSource {
  enum class Kind { kGguf, kHuggingFace, kNone } kind = Kind::kNone;
  std::string path;  // the GGUF file, or the directory of tokenizer.json / tokenizer.model
};

// Names are the project's own, the same for every file format (see weight_names.h):
//   token_embedding [vocab, hidden]
//   output_norm [hidden]
//   output [vocab, hidden], absent when tied
//   layers.<i>.{attn_norm, ffn_norm} [hidden]
//   layers.<i>.{q, k, v} [heads * head_dim, hidden]
//   layers.<i>.{q_bias, k_bias, v_bias} [heads * head_dim]
//   layers.<i>.{q_norm, k_norm} [head_dim]
//   layers.<i>.o [hidden, n_heads * head_dim]
//   layers.<i>.{gate, up} [ffn, hidden]
//   layers.<i>.down [hidden, ffn]
// All of them exist and have these shapes once a source is open.
// Rows of q and k and elements of their biases are numbered in the half-split RoPE order; GGUF
// files of Llama models, which interleave pairs, store them elsewhere: RowOf tells where.
// Owner: the model while it loads. Thread: immutable, any thread.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual const ModelConfig& config() const = 0;

  // Hex SHA-256 of the file(s), computed by the first call: about a second for each gigabyte.
  // Settings that replaced the file's own are not part of it: they are in config().
  virtual const std::string& content_hash() const = 0;

  virtual bool Has(std::string_view name) const = 0;

  // Errors: NOT_FOUND.
  virtual absl::StatusOr<WeightView> Get(std::string_view name) const = 0;

  // Where logical row `row` of matrix `name`, or logical element `row` of a bias, is stored.
  virtual std::int64_t RowOf(std::string_view name, std::int64_t row) const = 0;

  virtual TokenizerSource tokenizer() const = 0;
};

struct ModelFileOptions {
  // Set by hand, they replace what the file declares. A scaling with an original_length of 0 starts
  // from the file's trained length, and trained_length becomes original_length * factor.
  std::optional<double> rope_theta;
  std::optional<RopeScaling> rope_scaling;
};

// Opens "<path>.gguf", a Hugging Face directory, or "synthetic:<shape>[,seed=N][,layers=N]".
// Errors: NOT_FOUND; INVALID_ARGUMENT for a malformed file; UNIMPLEMENTED for what is not
// supported, with the reason.
absl::StatusOr<std::unique_ptr<WeightSource>> OpenModel(const std::string& path,
                                                        const ModelFileOptions& options);

}  // namespace keyhole
