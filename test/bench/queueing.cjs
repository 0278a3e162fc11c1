/**
 * Arithmetic of a fleet (docs/scale-out.md): the delay in a queue with many servers, by formula and by simulation, and what a queue on Redis costs. Times in
 * seconds, sizes in bytes.
 */

/** The probability that an arrival waits, for Poisson arrivals and exponential service (M/M/c). `load`: arrival rate times service time, less than `servers`. */
function erlangC(servers, load) {
  let blocked = 1 // Erlang B, by its recursion
  for (let k = 1; k <= servers; k++) blocked = (load * blocked) / (k + load * blocked)
  return blocked / (1 - (load / servers) * (1 - blocked))
}

/** Mean wait of M/M/c. */
function waitExponential(servers, service, utilisation) {
  const load = servers * utilisation
  return (erlangC(servers, load) * service) / (servers - load)
}

/** Mean wait of M/D/c, for service times that are all the same, as for images of one size: Cosmetatos' approximation, exact for one server. */
function waitConstant(servers, service, utilisation) {
  const correction = ((1 - utilisation) * (servers - 1) * (Math.sqrt(4 + 5 * servers) - 2)) / (16 * utilisation * servers)
  return (waitExponential(servers, service, utilisation) / 2) * (1 + correction)
}

/** Random numbers from 0 to 1 (mulberry32). */
function generator(seed) {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Replaces the smallest number of a heap. */
function replaceFirst(heap, value) {
  let at = 0
  for (;;) {
    let child = 2 * at + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && heap[child + 1] < heap[child]) child++
    if (heap[child] >= value) break
    heap[at] = heap[child]
    at = child
  }
  heap[at] = value
}

/**
 * Simulates a first-in-first-out queue with Poisson arrivals: every arrival takes the server that is free first. Returns the mean wait, its 95th percentile and the
 * share of arrivals that waited, after a warm-up of a tenth. `exponential`: service times, else all the same.
 */
function simulate({ servers, service, utilisation, arrivals, seed = 1, exponential = false }) {
  const random = generator(seed)
  const draw = (mean) => -mean * Math.log(1 - random())
  const free = new Float64Array(servers) // the times at which servers become free
  // In the steady state; an empty start would take long to forget in a large fleet.
  for (let i = 0; i < servers; i++) free[i] = random() < utilisation ? random() * service : 0
  free.sort()
  const step = service / 2000
  const bins = new Float64Array(2_000_000) // counts of waits
  const first = Math.floor(arrivals / 10)
  let [now, at, sum, waited] = [0, 0, 0, 0]
  for (let i = 0; i < arrivals; i++) {
    now += draw(service / (servers * utilisation))
    const begins = Math.max(now, free[exponential ? 0 : at])
    if (exponential) replaceFirst(free, begins + draw(service))
    else {
      // With equal times, servers become free in the order in which they began.
      free[at] = begins + service
      if (++at === servers) at = 0
    }
    if (i < first) continue
    const wait = begins - now
    sum += wait
    if (wait > 1e-9) waited++
    bins[Math.min(bins.length - 1, Math.floor(wait / step))]++
  }
  const count = arrivals - first
  let [below, bin] = [0, 0]
  while (below + bins[bin] <= count * 0.95) below += bins[bin++]
  // Most waits of a large fleet are 0.
  const p95 = bin === 0 ? 0 : bin * step
  return { mean: sum / count, p95, waited: waited / count }
}

/** What a queue costs, measured by `node test/bench/scale-out.mjs --measure`. */
const measured = {
  /** Redis' memory for a waiting and for a finished job. */
  waitingBytes: 2400,
  finishedBytes: 6100,
  /** Redis' processor time per job, all commands and news but progress and previews included, and per progress event. */
  jobSeconds: 1.05e-3,
  eventSeconds: 15e-6,
  /** Network of Redis, both directions together, per job and per progress event. */
  jobTraffic: 9200,
  eventTraffic: 280,
  /** Redis' processor time per second for an idle worker. */
  idleSeconds: 0.27e-3,
}

/**
 * A fleet of `devices` with a utilisation, whose images take `service` seconds and have `imageBytes`. `eventsPerSecond`: of a running job. `price`: of a device per hour.
 */
function fleet({ devices, service, utilisation, imageBytes, price, eventsPerSecond = 4, keepSeconds = 86_400, costs = measured }) {
  const jobs = (devices * utilisation) / service
  const busy = devices * utilisation
  const events = busy * eventsPerSecond
  return {
    devices,
    /** Images per second. */
    jobs,
    wait: waitConstant(devices, service, utilisation),
    /** Per 1,000 images, idle time included. */
    cost: ((price / 3600) * service * 1000) / utilisation,
    /** Redis' memory for outcomes that are kept, and for an hour of arrivals without a worker. */
    redisBytes: jobs * keepSeconds * costs.finishedBytes,
    backlogBytes: jobs * 3600 * costs.waitingBytes,
    /** Share of the one thread that Redis has. */
    redisShare: jobs * costs.jobSeconds + events * costs.eventSeconds + (devices - busy) * costs.idleSeconds,
    eventShare: events * costs.eventSeconds,
    events,
    traffic: jobs * costs.jobTraffic + events * costs.eventTraffic,
    /** The object store: writes per second, and new bytes per day. */
    puts: jobs,
    storedBytes: jobs * 86_400 * imageBytes,
  }
}

/** Devices at which a limit is reached: Redis' memory (`memoryBytes`), its thread, its network (`bytesPerSecond`). */
function limits({ memoryBytes, bytesPerSecond, ...given }) {
  // All of them grow with the number of devices.
  const { redisBytes, redisShare, traffic } = fleet({ ...given, devices: 1 })
  return { memory: memoryBytes / redisBytes, thread: 1 / redisShare, network: bytesPerSecond / traffic }
}

module.exports = { erlangC, fleet, generator, limits, measured, simulate, waitConstant, waitExponential }
