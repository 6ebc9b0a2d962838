// The API's attention profiles by the names that flags take: "recall", "prose", ...
#pragma once

#include <string>
#include <vector>

#include "keyhole/v1/generation.pb.h"

namespace keyhole {

// All but the server's default, which goes without a name.
std::vector<std::string> ProfileNames();

// The server's default for every other name.
v1::AttentionProfile FindProfile(const std::string& name);

}  // namespace keyhole
