// The command line and the configuration file of keyhole-server.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/server_config.h"

namespace keyhole {

// What to do after parsing: serve with `config`, or leave with `exit_code` (help was printed, or a
// message on what is wrong).
struct ParsedFlags {
  ServerConfig config;
  bool serve = false;
  int exit_code = 0;
};

// `policies` are the names that --help tells. Exit codes: 0 after --help and --version, 2 for
// anything wrong, told in one line on standard error.
ParsedFlags ParseFlags(int argc, const char* const* argv, const std::vector<std::string>& policies);

}  // namespace keyhole
