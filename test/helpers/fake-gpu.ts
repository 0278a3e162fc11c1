/** The backend library of the native tests that plays a machine with eight GPUs (test/native/backend/fake_backend.cpp), if it is built. */
import { existsSync } from 'node:fs'
import path from 'node:path'

const project = process.env.LATENT_TEST_BUILD_PROJECT
const builds = [
  path.join(__dirname, '..', '..', 'build-native'),
  ...(project ? [path.join(project, 'node_modules', '@node-latent-diffusion', 'source', 'build-native')] : []),
]

export const fakeGpuLibrary: string | undefined = builds
  .flatMap((folder) => [path.join(folder, 'Release'), path.join(folder, 'test', 'native', 'backend')])
  .map((folder) => path.join(folder, 'latent-fake.so'))
  .find((file) => existsSync(file))
