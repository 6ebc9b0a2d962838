# The files of this folder, for those who compile them. Relative to it.
set(cuda_attention
  device_attention.cc
  device_attention_plan.cc
  device_digest_maps.cc
  slice_rows.cc
  step_arguments.cc
)
