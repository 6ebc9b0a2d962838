# The files of this folder, for those who compile them. Relative to it.
set(cuda_model
  accelerated_llama.cc
  accelerator_memory.cc
  device_activations.cc
  device_llama.cc
  device_model.cc
  device_weights.cc
)
