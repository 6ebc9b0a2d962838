// Unicode normalisation form C.
#pragma once

#include <string>
#include <string_view>

namespace keyhole {

// Time O(n log n) whatever the text; memory a few times that of its longest stretch without ASCII.
// REQUIRES: `text` is valid UTF-8.
std::string ToNfc(std::string_view text);

}  // namespace keyhole
