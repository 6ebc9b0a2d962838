#include "engine/device/graph.h"

#include "engine/device/cuda/cuda_status.h"
#include "engine/device/device_error.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

struct DestroyGraph {
  void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
};
using OwnedGraph = std::unique_ptr<CUgraph_st, DestroyGraph>;

// Ends the capture in any case: a stream that is left in it refuses all other work.
absl::StatusOr<OwnedGraph> EndCapture(const Stream& stream) {
  cudaGraph_t graph = nullptr;
  absl::Status status =
      CudaStatus(cudaStreamEndCapture(stream.handle(), &graph), "end of a capture");
  OwnedGraph owned(graph);
  if (!status.ok()) return status;
  return owned;
}

absl::StatusOr<OwnedGraph> CaptureWork(const Stream& stream,
                                       absl::FunctionRef<absl::Status()> work) {
  KEYHOLE_RETURN_IF_ERROR(
      CudaStatus(cudaStreamBeginCapture(stream.handle(), cudaStreamCaptureModeThreadLocal),
                 "begin of a capture"));
  absl::Status status;
  try {
    status = work();
  } catch (const DeviceError& error) {
    status = error.status();
  } catch (...) {
    EndCapture(stream).status().IgnoreError();
    throw;
  }
  absl::StatusOr<OwnedGraph> graph = EndCapture(stream);
  if (!status.ok()) return status;
  return graph;
}

absl::StatusOr<cudaGraphExec_t> Instantiate(const OwnedGraph& graph) {
  cudaGraphExec_t handle = nullptr;
  absl::Status status =
      CudaStatus(cudaGraphInstantiate(&handle, graph.get(), 0), "making a graph ready");
  if (!status.ok()) return status;
  return handle;
}

}  // namespace

absl::StatusOr<Graph> Graph::Capture(const Stream& stream, absl::FunctionRef<absl::Status()> work) {
  KEYHOLE_ASSIGN_OR_RETURN(const OwnedGraph graph, CaptureWork(stream, work));
  KEYHOLE_ASSIGN_OR_RETURN(const cudaGraphExec_t handle, Instantiate(graph));
  return Graph(handle);
}

absl::Status Graph::Update(const Stream& stream, absl::FunctionRef<absl::Status()> work) {
  KEYHOLE_ASSIGN_OR_RETURN(const OwnedGraph graph, CaptureWork(stream, work));
  cudaGraphExecUpdateResultInfo result = {};
  if (cudaGraphExecUpdate(handle_.get(), graph.get(), &result) == cudaSuccess) {
    return absl::OkStatus();
  }
  // Of another form: anew.
  cudaGetLastError();
  KEYHOLE_ASSIGN_OR_RETURN(const cudaGraphExec_t handle, Instantiate(graph));
  handle_.reset(handle);
  return absl::OkStatus();
}

absl::Status Graph::Launch(const Stream& stream) const {
  return CudaStatus(cudaGraphLaunch(handle_.get(), stream.handle()), "queueing a graph");
}

void Graph::Destroy::operator()(CUgraphExec_st* handle) const { cudaGraphExecDestroy(handle); }

}  // namespace keyhole
