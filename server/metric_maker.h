// Makes families and their single or labelled metrics under the project's prefix.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace keyhole {

using Buckets = prometheus::Histogram::BucketBoundaries;

// What it makes lives as long as the registry. Thread: construction only.
class MetricMaker {
 public:
  explicit MetricMaker(prometheus::Registry* registry) : registry_(registry) {}

  prometheus::Family<prometheus::Counter>* Counters(std::string_view name, std::string_view help) {
    return &prometheus::BuildCounter()
                .Name(Name(name))
                .Help(std::string(help))
                .Register(*registry_);
  }
  prometheus::Family<prometheus::Gauge>* Gauges(std::string_view name, std::string_view help) {
    return &prometheus::BuildGauge().Name(Name(name)).Help(std::string(help)).Register(*registry_);
  }
  prometheus::Family<prometheus::Histogram>* Histograms(std::string_view name,
                                                        std::string_view help) {
    return &prometheus::BuildHistogram()
                .Name(Name(name))
                .Help(std::string(help))
                .Register(*registry_);
  }
  prometheus::Counter* Counter(std::string_view name, std::string_view help) {
    return &Counters(name, help)->Add({});
  }
  prometheus::Gauge* Gauge(std::string_view name, std::string_view help) {
    return &Gauges(name, help)->Add({});
  }
  prometheus::Histogram* Histogram(std::string_view name,
                                   std::string_view help,
                                   const Buckets& buckets) {
    return &Histograms(name, help)->Add({}, buckets);
  }

 private:
  static std::string Name(std::string_view name) {
    return absl::StrCat("keyhole_", std::string(name));
  }

  prometheus::Registry* registry_;
};

}  // namespace keyhole
