# latent-cuda.so (.dll): the CUDA engine, compiled by nvcc, cudart linked in, one exported function.
# Enabled by -DLATENT_CUDA=ON; the rest of the build does not depend on it. nvcc is called by plain
# commands, because CMake's CUDA support would need a toolkit in every configuration.
option(LATENT_CUDA "Build the CUDA engine, latent-cuda.so (needs nvcc 12.8 or newer)" OFF)
set(LATENT_CUDA_ARCHITECTURES "80;86;89;90;100;120" CACHE STRING "Compute capabilities that get machine code; the first one gets PTX too, for cards that are in none")

# Compiles sources with nvcc; `out` becomes the list of objects.
function(latent_nvcc_objects folder out)
  set(objects "")
  foreach(source IN LISTS ARGN)
    get_filename_component(name "${source}" NAME_WE)
    set(object "${CMAKE_CURRENT_BINARY_DIR}/${folder}/${name}${CMAKE_CXX_OUTPUT_EXTENSION}")
    add_custom_command(OUTPUT "${object}"
      COMMAND "${CMAKE_COMMAND}" -E make_directory "${CMAKE_CURRENT_BINARY_DIR}/${folder}"
      COMMAND "${LATENT_NVCC}" ${flags} -x cu -c "${source}" -o "${object}"
      DEPENDS "${source}" ${headers} COMMENT "nvcc ${name}.cpp" VERBATIM)
    list(APPEND objects "${object}")
  endforeach()
  set(${out} "${objects}" PARENT_SCOPE)
endfunction()

function(latent_cuda_module)
  find_program(LATENT_NVCC nvcc HINTS "$ENV{CUDA_PATH}/bin" "$ENV{CUDA_HOME}/bin" /usr/local/cuda/bin)
  if(NOT LATENT_NVCC)
    message(FATAL_ERROR "LATENT_CUDA is on, but nvcc was not found. Install the CUDA toolkit, set CUDA_PATH, or configure without LATENT_CUDA.")
  endif()
  set(code "")
  foreach(architecture IN LISTS LATENT_CUDA_ARCHITECTURES)
    list(APPEND code -gencode "arch=compute_${architecture},code=sm_${architecture}")
  endforeach()
  list(GET LATENT_CUDA_ARCHITECTURES 0 first)
  list(APPEND code -gencode "arch=compute_${first},code=compute_${first}")
  if(MSVC)
    set(host -Xcompiler=/EHsc,/utf-8,/O2,/MT)
    set(hidden "")
  else()
    set(host -Xcompiler=-fPIC,-fvisibility=hidden)
    set(hidden "-Xlinker=--version-script=${PROJECT_SOURCE_DIR}/native/cmake/cuda-exports.map")
    if(LATENT_STATIC_RUNTIME)
      list(APPEND hidden -Xcompiler=-static-libstdc++,-static-libgcc)
    endif()
  endif()
  set(tests "${PROJECT_SOURCE_DIR}/test/native/cuda")
  set(flags -std=c++17 -O3 ${code} ${host} "-I${PROJECT_SOURCE_DIR}/native" "-I${tests}" "-I${PROJECT_SOURCE_DIR}/test/native")

  file(GLOB headers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/native/cuda/*.h" "${tests}/*.h" "${tests}/bench/*.h")
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/native/cuda/*.cpp")
  latent_nvcc_objects(cuda objects ${sources})
  set(library "${LATENT_ADDON_DIR}/latent-cuda${CMAKE_SHARED_LIBRARY_SUFFIX}")
  add_custom_command(OUTPUT "${library}"
    COMMAND "${CMAKE_COMMAND}" -E make_directory "${LATENT_ADDON_DIR}"
    COMMAND "${LATENT_NVCC}" -shared -cudart static ${hidden} -o "${library}" ${objects}
    DEPENDS ${objects} COMMENT "Linking latent-cuda" VERBATIM)
  add_custom_target(latent_cuda ALL DEPENDS "${library}")

  # For a GPU: the tests of the host shim, and the benchmark of scripts/gpu-check.sh. Built only on
  # request.
  file(GLOB test_sources CONFIGURE_DEPENDS "${tests}/*.cpp")
  file(GLOB bench_sources CONFIGURE_DEPENDS "${tests}/bench/*.cpp")
  latent_nvcc_objects(cuda-test test_objects ${test_sources})
  latent_nvcc_objects(cuda-bench bench_objects ${bench_sources})
  set(bench_objects ${bench_objects} ${test_objects})
  list(FILTER bench_objects INCLUDE REGEX "cuda-bench/|stored_weights")
  foreach(program test gpu_bench)
    set(own ${bench_objects})
    if(program STREQUAL "test")
      set(program test_cuda_device)
      set(own ${test_objects})
    endif()
    set(file "${CMAKE_CURRENT_BINARY_DIR}/cuda-device/${program}${CMAKE_EXECUTABLE_SUFFIX}")
    add_custom_command(OUTPUT "${file}"
      COMMAND "${CMAKE_COMMAND}" -E make_directory "${CMAKE_CURRENT_BINARY_DIR}/cuda-device"
      COMMAND "${LATENT_NVCC}" -cudart static -o "${file}" ${objects} ${own}
      DEPENDS ${objects} ${own} COMMENT "Linking ${program}" VERBATIM)
    add_custom_target(${program} DEPENDS "${file}")
  endforeach()
  # One after the other, because generators for Make would compile what they share once for each.
  add_dependencies(test_cuda_device latent_cuda)
  add_dependencies(gpu_bench test_cuda_device)
endfunction()

if(LATENT_CUDA)
  latent_cuda_module()
endif()
