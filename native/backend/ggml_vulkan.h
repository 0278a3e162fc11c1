#pragma once

namespace latent::backend {

/// Lets the devices that ggml has opened, or begun to open, stay as they are at the end of the process. ggml's static destructor
/// destroys them: half opened ones abort in the loader, and on Windows the driver may have been unloaded before.
void keep_ggml_devices();

}  // namespace latent::backend
