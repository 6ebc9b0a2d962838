// The calibration text that is part of the program.
#pragma once

#include <string_view>

namespace keyhole {

// UTF-8: the files of text/ in the order of their names. Public domain, or written for this
// project.
std::string_view BundledText();

}  // namespace keyhole
