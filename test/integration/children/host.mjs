/** Has a host and says its engine's process. `idle`: has nothing more to do then; `busy`: draws without end. */
import { createDiffusionHost } from '../../../dist/esm.mjs'

const host = createDiffusionHost()
await host.generate({ prompt: 'a red circle', steps: 1 })
if (process.argv[2] === 'busy') {
  const job = host.generate({ prompt: 'a red circle', steps: 1000, width: 512, height: 512 })
  for await (const event of job) if (event.type === 'progress' && event.step > 0) break
}
process.stdout.write(String(host.status.pid))
