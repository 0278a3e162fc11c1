/** Milliseconds of a processor that `work` takes: what else runs on the machine does not count, as it would by the clock. */
export function processorTime(work: () => void): number {
  const began = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(began)
  return (user + system) / 1000
}
