# latent-vulkan.so, latent-metal.dylib, latent-ggml-cuda.so (.dll): a ggml backend with its own copy of ggml's base library
# behind a C function table (native/backend), one exported function. The engine loads it at run time,
# so the addon does not depend on a driver and a build without it is complete.
option(LATENT_METAL "Build the Metal backend, latent-metal.dylib (macOS)" OFF)
option(LATENT_GGML_CUDA "Build ggml's CUDA backend, latent-ggml-cuda.so (needs the CUDA toolkit with cuBLAS)" OFF)

# ggml's functions are extern "C" and throw here (backend_module.cpp). With /EHsc, which CMake sets,
# MSVC assumes that they do not, and may drop the handlers.
function(latent_c_functions_throw target)
  if(MSVC)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:/EHs> $<$<COMPILE_LANGUAGE:CXX>:/EHc->
      $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=/EHs,/EHc->)
  endif()
endfunction()

# ggml's CMake files of a backend call this function. Here the backend is for its own library, so it is
# not linked into ggml.
function(ggml_add_backend_library backend)
  set(sources ${ARGN})
  if(backend STREQUAL "ggml-vulkan")
    list(TRANSFORM sources REPLACE "^(.*/)?ggml-vulkan\\.cpp$" "${PROJECT_SOURCE_DIR}/native/backend/ggml_vulkan.cpp")  # includes it
  endif()
  add_library(${backend} STATIC ${sources})
  if(backend STREQUAL "ggml-vulkan")
    target_include_directories(${backend} PRIVATE "${_ggml}/src/ggml-vulkan" "${PROJECT_SOURCE_DIR}/native")
  endif()
  target_link_libraries(${backend} PRIVATE ggml-base)
  target_include_directories(${backend} PRIVATE "${_ggml}/src")
  latent_c_functions_throw(${backend})
  if(MSVC)
    # ggml-vulkan.cpp, for one, has more sections than an object may have by default.
    target_compile_options(${backend} PRIVATE $<$<COMPILE_LANGUAGE:C,CXX>:/bigobj> $<$<COMPILE_LANGUAGE:C,CXX>:/utf-8>)
  else()
    target_compile_options(${backend} PRIVATE -w)
  endif()
  if(backend STREQUAL "ggml-vulkan" AND NOT LATENT_VULKAN_SHADERS)
    cmake_language(DEFER CALL latent_vulkan_shaders)
  endif()
endfunction()

if(NOT MSVC)
  target_compile_options(ggml-base PRIVATE $<$<COMPILE_LANGUAGE:C>:-fexceptions>)  # its failed assertions pass through C functions
endif()

# latent-NAME: native/backend and the backend's own sources and libraries.
function(latent_backend_module name)
  add_library(latent_${name} MODULE "${PROJECT_SOURCE_DIR}/native/backend/backend_module.cpp" ${ARGN})
  target_include_directories(latent_${name} PRIVATE "${PROJECT_SOURCE_DIR}/native")
  target_include_directories(latent_${name} SYSTEM PRIVATE "${_ggml}/include" "${_ggml}/src")
  target_link_libraries(latent_${name} PRIVATE ggml-base)
  latent_warnings(latent_${name})
  latent_c_functions_throw(latent_${name})
  set_target_properties(latent_${name} PROPERTIES PREFIX "" OUTPUT_NAME latent-${name} SUFFIX "${CMAKE_SHARED_LIBRARY_SUFFIX}")
  if(UNIX AND NOT APPLE)
    set(exports "${PROJECT_SOURCE_DIR}/native/cmake/backend-exports.map")
    target_link_options(latent_${name} PRIVATE "-Wl,--version-script=${exports}" -Wl,-z,relro -Wl,-z,now)
    set_target_properties(latent_${name} PROPERTIES LINK_DEPENDS "${exports}")
    if(LATENT_STATIC_RUNTIME)
      target_link_options(latent_${name} PRIVATE -static-libgcc -static-libstdc++)
    endif()
  endif()
endfunction()

function(latent_backend_output name)
  set_target_properties(latent_${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${LATENT_ADDON_DIR}")
  foreach(config DEBUG RELEASE RELWITHDEBINFO MINSIZEREL)
    set_target_properties(latent_${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY_${config} "${LATENT_ADDON_DIR}")
  endforeach()
endfunction()

include(native/cmake/vulkan.cmake)

if(LATENT_METAL)
  set(GGML_METAL_EMBED_LIBRARY ON)  # the shaders are compiled by the system when the backend starts
  add_subdirectory("${_ggml}/src/ggml-metal" "${CMAKE_BINARY_DIR}/ggml-metal" EXCLUDE_FROM_ALL)
  latent_backend_module(metal "${PROJECT_SOURCE_DIR}/native/backend/metal.cpp")
  target_link_libraries(latent_metal PRIVATE ggml-metal)
  latent_backend_output(metal)
endif()

# Beside our own engine (cuda.cmake): for GPUs that it does not support, and to compare with. The addon of a GPU's user is built on
# the machine that has it, so CMAKE_CUDA_ARCHITECTURES is "native" where CMake knows that.
if(LATENT_GGML_CUDA)
  include(CheckLanguage)
  find_package(CUDAToolkit QUIET)
  if(NOT CMAKE_CUDA_COMPILER AND CUDAToolkit_NVCC_EXECUTABLE)
    set(CMAKE_CUDA_COMPILER "${CUDAToolkit_NVCC_EXECUTABLE}")
  endif()
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER OR NOT TARGET CUDA::cublas OR NOT TARGET CUDA::cuda_driver)
    message(FATAL_ERROR "ggml's CUDA backend needs nvcc and cuBLAS: install the CUDA toolkit, or set CUDACXX to its nvcc (docs/gpu.md).")
  endif()
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND CMAKE_VERSION VERSION_GREATER_EQUAL 3.24)
    set(CMAKE_CUDA_ARCHITECTURES native)
  endif()
  enable_language(CUDA)
  set(GGML_STATIC OFF)  # cuBLAS as a shared library of the toolkit: the static one has hundreds of megabytes
  set(GGML_CUDA_NCCL OFF)
  add_subdirectory("${_ggml}/src/ggml-cuda" "${CMAKE_BINARY_DIR}/ggml-cuda" EXCLUDE_FROM_ALL)
  latent_backend_module(ggml-cuda "${PROJECT_SOURCE_DIR}/native/backend/ggml_cuda.cpp")
  target_link_libraries(latent_ggml-cuda PRIVATE ggml-cuda CUDA::cudart)
  # The toolkit's libraries may be in no folder of the system's; libcuda is the driver's, not the toolkit's stub.
  set_target_properties(latent_ggml-cuda PROPERTIES BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "${CUDAToolkit_LIBRARY_DIR}")
  latent_backend_output(ggml-cuda)
endif()
