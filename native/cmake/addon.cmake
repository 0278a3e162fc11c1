# The addon: native/bindings over the layers, as latent.node. Uses only the Node-API headers (npm
# packages node-api-headers and node-addon-api, or their copies under deps/), so one binary works in
# every Node and Electron, and nothing is downloaded.

function(latent_node_api_headers)
  latent_staged(node-api-headers include/node_api.h node-api-headers api)
  if(NOT api)
    latent_npm_package(node-api-headers api)
  endif()
  latent_staged(node-addon-api napi.h node-addon-api wrapper)
  if(NOT wrapper)
    latent_npm_package(node-addon-api wrapper)
  endif()
  if(NOT api OR NOT wrapper)
    message(FATAL_ERROR "The Node-API headers were not found. Run 'npm ci' first, or configure with -DLATENT_BUILD_ADDON=OFF.")
  endif()

  add_library(latent_node_api INTERFACE)
  target_include_directories(latent_node_api SYSTEM INTERFACE "${api}/include" "${wrapper}")
  # NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS: in a worker that is being terminated, nothing can be
  # thrown into JavaScript; without this definition, an error at that moment would end the whole
  # process.
  target_compile_definitions(latent_node_api INTERFACE NAPI_VERSION=8 NAPI_CPP_EXCEPTIONS NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
    NODE_GYP_MODULE_NAME=latent BUILDING_NODE_EXTENSION)
  if(APPLE)
    target_link_options(latent_node_api INTERFACE -undefined dynamic_lookup)
  elseif(WIN32)
    # Node's symbols come from the running program, whatever its file name: an import library made
    # from the list of Node-API functions, delay-loaded and resolved by win_delay_load_hook.cpp.
    set(library "${CMAKE_BINARY_DIR}/node.lib")
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "ARM64|arm64" OR CMAKE_GENERATOR_PLATFORM MATCHES "ARM64")
      set(machine arm64)
    else()
      set(machine x64)
    endif()
    add_custom_command(OUTPUT "${library}"
      COMMAND "${CMAKE_AR}" /nologo "/def:${api}/def/node_api.def" "/out:${library}" /machine:${machine}
      DEPENDS "${api}/def/node_api.def" VERBATIM)
    add_custom_target(latent_node_lib DEPENDS "${library}")
    add_dependencies(latent_node_api latent_node_lib)
    target_link_libraries(latent_node_api INTERFACE "${library}" delayimp)
    target_link_options(latent_node_api INTERFACE /DELAYLOAD:NODE.EXE)
    target_sources(latent_node_api INTERFACE "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/win_delay_load_hook.cpp")
  endif()
endfunction()

function(latent_addon)
  latent_node_api_headers()
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/native/bindings/*.cpp")
  add_library(latent_addon MODULE ${sources})
  # Objects come before archives on the link line: where an inline function exists in both, the one compiled for the
  # baseline processor is kept, so the check of the processor (core/cpu.h) runs anywhere.
  target_link_libraries(latent_addon PRIVATE latent_pipeline latent_node_api)
  latent_warnings(latent_addon)
  latent_unity(latent_addon)
  file(READ "${PROJECT_SOURCE_DIR}/package.json" package)
  string(JSON version GET "${package}" version)
  get_directory_property(ggml_version DIRECTORY "${_ggml}" DEFINITION GGML_VERSION)
  set_source_files_properties("${PROJECT_SOURCE_DIR}/native/bindings/exports.cpp" PROPERTIES
    COMPILE_DEFINITIONS "LATENT_VERSION=\"${version}\";LATENT_GGML_VERSION=\"${ggml_version}\"")
  set_target_properties(latent_addon PROPERTIES PREFIX "" OUTPUT_NAME latent SUFFIX .node
    LIBRARY_OUTPUT_DIRECTORY "${LATENT_ADDON_DIR}" RUNTIME_OUTPUT_DIRECTORY "${LATENT_ADDON_DIR}")
  foreach(config DEBUG RELEASE RELWITHDEBINFO MINSIZEREL)
    set_target_properties(latent_addon PROPERTIES LIBRARY_OUTPUT_DIRECTORY_${config} "${LATENT_ADDON_DIR}"
      RUNTIME_OUTPUT_DIRECTORY_${config} "${LATENT_ADDON_DIR}")
  endforeach()
  if(UNIX AND NOT APPLE)
    # Exports only what Node looks up, without the standard library's templates, which its headers
    # mark visible.
    set(exports "${PROJECT_SOURCE_DIR}/native/cmake/exports.map")
    target_link_options(latent_addon PRIVATE "-Wl,--version-script=${exports}" -Wl,-z,relro -Wl,-z,now)
    set_target_properties(latent_addon PROPERTIES LINK_DEPENDS "${exports}")
    if(LATENT_STATIC_RUNTIME)
      target_link_options(latent_addon PRIVATE -static-libgcc -static-libstdc++)
    endif()
  endif()
endfunction()
