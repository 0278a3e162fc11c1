/** Milliseconds of a processor that `work` takes: what else runs on the machine does not count, as it would by the clock. */
export async function processorTime(work: () => unknown): Promise<number> {
  const began = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(began)
  return (user + system) / 1000
}
