# Sources that come as npm packages: staged under deps/ in a published tarball, in node_modules in a clone.

# The folder of an npm package, or an empty string. Node is asked only where the package is not in the usual place (hoisting).
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
