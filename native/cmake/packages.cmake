# Sources from npm packages: under deps/ in the source package, in node_modules in a clone.

# The folder deps/NAME, if it contains the file MARKER; "" in a clone whose node_modules has the
# package, because deps/ may then be left over from another version.
function(latent_staged name marker package result)
  set(${result} "" PARENT_SCOPE)
  set(staged "${PROJECT_SOURCE_DIR}/deps/${name}")
  if(NOT EXISTS "${staged}/${marker}")
    return()
  endif()
  if(EXISTS "${PROJECT_SOURCE_DIR}/node_modules/${package}/package.json")
    message(WARNING "deps/${name} is not used, as node_modules/${package} is there; delete deps/")
    return()
  endif()
  set(${result} "${staged}" PARENT_SCOPE)
endfunction()

# The folder of an npm package, or an empty string. Asks Node only if the package is not in the
# usual place (hoisting).
function(latent_npm_package name result)
  set(found "${PROJECT_SOURCE_DIR}/node_modules/${name}")
  if(NOT EXISTS "${found}/package.json")
    execute_process(COMMAND node -p "require('path').dirname(require.resolve('${name}/package.json'))"
      WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}" OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(NOT EXISTS "${found}/package.json")
      set(found "")
    endif()
  endif()
  set(${result} "${found}" PARENT_SCOPE)
endfunction()
