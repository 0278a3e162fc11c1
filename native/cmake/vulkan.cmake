# latent-vulkan.so (.dll). glslc compiles ggml's shaders to C++ sources, either here or before: the target
# latent_vulkan_shaders collects these sources and the headers in vulkan-shaders/ of the build folder, and
# LATENT_VULKAN_SHADERS=FOLDER builds the library from such a folder, on any system and for any processor,
# without glslc, SPIRV-Headers and Vulkan-Hpp. The Vulkan loader is never linked (native/backend/vulkan_loader.cpp).
option(LATENT_VULKAN "Build the Vulkan backend, latent-vulkan.so (needs glslc, SPIRV-Headers and Vulkan-Hpp)" OFF)
set(LATENT_VULKAN_SHADERS "" CACHE PATH "Compiled shaders and headers, as the target latent_vulkan_shaders collects them; glslc is then not needed")

get_directory_property(_ggml_version DIRECTORY "${_ggml}" DEFINITION GGML_VERSION)

# Called at the end of ggml's folder of this backend, because the rules for its sources exist only there.
function(latent_vulkan_shaders)
  get_target_property(sources ggml-vulkan SOURCES)
  list(FILTER sources INCLUDE REGEX "\\.comp\\.cpp$|ggml-vulkan-shaders\\.hpp$")
  get_directory_property(definitions COMPILE_DEFINITIONS)
  list(FILTER definitions INCLUDE REGEX "_GLSLC_SUPPORT$")
  list(JOIN definitions "\n" definitions)
  set(contents "${CMAKE_CURRENT_BINARY_DIR}/contents.txt")
  file(WRITE "${contents}" "${_ggml_version}\n${definitions}\n")
  set(folder "${CMAKE_BINARY_DIR}/vulkan-shaders")
  set(headers "")
  foreach(name vulkan vk_video spirv)
    foreach(include IN LISTS Vulkan_INCLUDE_DIR _spirv_include)
      if(EXISTS "${include}/${name}")
        list(APPEND headers COMMAND "${CMAKE_COMMAND}" -E copy_directory "${include}/${name}" "${folder}/include/${name}")
        break()
      endif()
    endforeach()
  endforeach()
  add_custom_target(latent_vulkan_shaders
    COMMAND "${CMAKE_COMMAND}" -E rm -rf "${folder}"
    COMMAND "${CMAKE_COMMAND}" -E make_directory "${folder}"
    COMMAND "${CMAKE_COMMAND}" -E copy ${sources} "${contents}" "${folder}"
    ${headers}
    DEPENDS ${sources} COMMENT "Collecting ${folder}" VERBATIM)
endfunction()

# ggml's Vulkan backend from a folder of latent_vulkan_shaders.
function(latent_vulkan_from folder)
  if(NOT EXISTS "${folder}/contents.txt")
    message(FATAL_ERROR "LATENT_VULKAN_SHADERS: ${folder} has no contents.txt; it must be a folder that the target latent_vulkan_shaders has written")
  endif()
  file(STRINGS "${folder}/contents.txt" definitions)
  list(POP_FRONT definitions version)
  if(NOT version STREQUAL _ggml_version)
    message(FATAL_ERROR "LATENT_VULKAN_SHADERS: the shaders in ${folder} are those of ggml ${version}, and this is ggml ${_ggml_version}")
  endif()
  file(GLOB shaders "${folder}/*.comp.cpp")
  ggml_add_backend_library(ggml-vulkan "${_ggml}/src/ggml-vulkan/ggml-vulkan.cpp" ${shaders})
  target_compile_definitions(ggml-vulkan PRIVATE ${definitions})
  target_include_directories(ggml-vulkan PRIVATE "${folder}" "${folder}/include")
  if(MSVC)
    target_compile_options(ggml-vulkan PRIVATE /MP)
  endif()
endfunction()

function(latent_vulkan)
  if(LATENT_VULKAN_SHADERS)
    get_filename_component(folder "${LATENT_VULKAN_SHADERS}" ABSOLUTE BASE_DIR "${CMAKE_BINARY_DIR}")
    latent_vulkan_from("${folder}")
    set(include "${folder}/include")
  else()
    find_package(Vulkan QUIET)
    if(DEFINED ENV{VULKAN_SDK})
      list(APPEND CMAKE_PREFIX_PATH "$ENV{VULKAN_SDK}")
    endif()
    find_package(SPIRV-Headers CONFIG QUIET)
    if(NOT Vulkan_FOUND OR NOT Vulkan_GLSLC_EXECUTABLE OR NOT SPIRV-Headers_FOUND)
      message(FATAL_ERROR "The Vulkan backend needs the Vulkan headers and loader, glslc and SPIRV-Headers: "
        "'apt install libvulkan-dev glslc spirv-headers', or the Vulkan SDK (docs/gpu.md).")
    endif()
    get_target_property(_spirv_include SPIRV-Headers::SPIRV-Headers INTERFACE_INCLUDE_DIRECTORIES)
    add_subdirectory("${_ggml}/src/ggml-vulkan" "${CMAKE_BINARY_DIR}/ggml-vulkan" EXCLUDE_FROM_ALL)
    set_target_properties(ggml-vulkan PROPERTIES INTERFACE_LINK_LIBRARIES "$<LINK_ONLY:ggml-base>")  # without the loader
    set(include "${Vulkan_INCLUDE_DIR}")
    if(APPLE)
      get_filename_component(loader_folder "${Vulkan_LIBRARY}" DIRECTORY)
    endif()
  endif()
  # Vulkan-Hpp before 1.3.272 lacks one structure that ggml names. MSVC has no #include_next, and its SDKs are newer.
  if(NOT MSVC)
    target_include_directories(ggml-vulkan BEFORE PRIVATE "${PROJECT_SOURCE_DIR}/native/cmake/vulkan-headers")
  endif()
  latent_backend_module(vulkan "${PROJECT_SOURCE_DIR}/native/backend/vulkan.cpp" "${PROJECT_SOURCE_DIR}/native/backend/vulkan_loader.cpp")
  target_include_directories(latent_vulkan SYSTEM PRIVATE "${include}")
  target_link_libraries(latent_vulkan PRIVATE ggml-vulkan ggml-base ${CMAKE_DL_LIBS})
  if(UNIX AND NOT APPLE AND NOT LATENT_SANITIZE)
    target_link_options(latent_vulkan PRIVATE -Wl,-z,defs)  # a missing shader, or function of the loader, is an error here
  endif()
  if(loader_folder)
    # Where vulkan_loader.cpp finds the SDK's. The library that CMake found may be a framework, beside which there is no dylib.
    if(DEFINED ENV{VULKAN_SDK})
      list(APPEND loader_folder "$ENV{VULKAN_SDK}/lib")
    endif()
    set_target_properties(latent_vulkan PROPERTIES BUILD_RPATH "${loader_folder}")
  endif()
  latent_backend_output(vulkan)
endfunction()

if(LATENT_VULKAN)
  latent_vulkan()
endif()
