// The HTTP port where Prometheus reads /metrics.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "prometheus/collectable.h"

namespace prometheus {
class Exposer;
}

namespace keyhole {

// Thread: serves on threads of its own until destroyed.
class MetricsEndpoint {
 public:
  // `address` is host:port; port 0 takes a free one. Errors: UNAVAILABLE where the port cannot be
  // had.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> Open(
      const std::string& address, std::vector<std::shared_ptr<prometheus::Collectable>> sources);
  ~MetricsEndpoint();

  int port() const;

 private:
  MetricsEndpoint(std::unique_ptr<prometheus::Exposer> exposer,
                  std::vector<std::shared_ptr<prometheus::Collectable>> sources);

  std::vector<std::shared_ptr<prometheus::Collectable>>
      sources_;  // the exposer holds weak pointers
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace keyhole
