#!/bin/sh
# In the place of glslc while the Vulkan backend is built for its tests (-DVulkan_GLSLC_EXECUTABLE=...): compiles only the shaders that networks use, a tenth of
# ggml's 2,000. The others become modules without code, with which no pipeline can be created. GLSLC names the compiler.
skip='' out='' before='' dependencies=''
for last; do # the arguments of vulkan-shaders-gen: ... -o FILE ... -MF FILE
  case $before in
    -o) out=$last ;;
    -MF) dependencies=$last ;;
  esac
  before=$last
done
case ${out##*/} in
  '' | -) ;; # a question about the compiler's abilities
  *_cm1* | *_cm2* | *_id_* | *_f16acc* | *_dot2* | *iq[1-4]* | *q[2356]_k* | *q[15]_[01]* | *q4_1* | *fp4* | *_back_* | flash_attn* | fa_*) skip=1 ;;
  *_f16_f16_f16.spv | *_f16_f16_f32.spv | *_f16_f32_f16.spv | *_f32_f16_f16.spv | *_f32_f32_f16.spv) case ${out##*/} in mul_mat_vec*) ;; *) skip=1 ;; esac ;;
  matmul_* | mul_mat_vec_* | split_k_reduce* | quantize_q8_1* | dequant_* | *cpy_* | get_rows_* | im2col_f32* | conv2d_f* | *norm_f32* | soft_max_f32*) ;;
  add_* | mul_f* | scale_f32* | silu_f* | relu_f* | gelu_* | geglu_erf_* | sigmoid_f* | upscale_f32* | pad_f32* | pool2d_f32* | concat_f* | repeat_* | sqr_f32* | div_f*) ;;
  *) skip=1 ;;
esac
if [ -z "$skip" ]; then exec "${GLSLC:-glslc}" "$@"; fi
# SPIR-V's magic number, version 1.3, no generator, one id, no instructions.
printf '\003\002\043\007\000\003\001\000\000\000\000\000\001\000\000\000\000\000\000\000' >"$out"
[ -z "$dependencies" ] || echo "$out:" >"$dependencies"
