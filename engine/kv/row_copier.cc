#include "engine/kv/row_copier.h"

#include "engine/device/device_copy.h"
#include "engine/status_macros.h"

namespace keyhole {

absl::Status RowByRowCopier::Copy(const Stream& stream, const RowCopies& copies) {
  const std::span<const RowMove> moves = copies.moves;
  for (std::size_t begin = 0, end = 0; begin < moves.size(); begin = end) {
    for (end = begin + 1; end < moves.size(); ++end) {
      const auto length = static_cast<std::int32_t>(end - begin);
      if (moves[end].from != moves[begin].from + length) break;
      if (moves[end].to != moves[begin].to + length) break;
    }
    KEYHOLE_RETURN_IF_ERROR(CopyAsync(stream,
                                      copies.to + moves[begin].to * copies.row_bytes,
                                      copies.from + moves[begin].from * copies.row_bytes,
                                      (end - begin) * copies.row_bytes));
  }
  return absl::OkStatus();
}

}  // namespace keyhole
