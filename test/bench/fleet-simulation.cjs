/**
 * A simulation of a fleet, event by event: requests arrive at random, wait in the queues of their Redis, and take a device for the time of an image. Redis is one thread
 * per queue that all commands wait for. Checks the arithmetic of queueing.cjs for any number of devices; times in seconds.
 */
const { generator, measured } = require('./queueing.cjs')

/** What happens to a job; `event` below packs it with the queue it belongs to. */
const [arrive, visible, finish, free] = [0, 1, 2, 3]

/** Events by time: a heap in typed arrays. `tag`: what happens where; `since`: when the job arrived. */
class Events {
  #times = new Float64Array(1024)
  #tags = new Int32Array(1024)
  #since = new Float64Array(1024)
  size = 0

  #grow() {
    for (const name of ['times', 'tags', 'since']) {
      const old = { times: this.#times, tags: this.#tags, since: this.#since }[name]
      const next = new old.constructor(old.length * 2)
      next.set(old)
      if (name === 'times') this.#times = next
      else if (name === 'tags') this.#tags = next
      else this.#since = next
    }
  }

  #put(at, time, tag, since) {
    this.#times[at] = time
    this.#tags[at] = tag
    this.#since[at] = since
  }

  push(time, tag, since = 0) {
    if (this.size === this.#times.length) this.#grow()
    let at = this.size++
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (this.#times[parent] <= time) break
      this.#put(at, this.#times[parent], this.#tags[parent], this.#since[parent])
      at = parent
    }
    this.#put(at, time, tag, since)
  }

  /** Removes the first event into `into`: time, tag, since. */
  pop(into) {
    into[0] = this.#times[0]
    into[1] = this.#tags[0]
    into[2] = this.#since[0]
    const last = --this.size
    const time = this.#times[last]
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= last) break
      if (child + 1 < last && this.#times[child + 1] < this.#times[child]) child++
      if (this.#times[child] >= time) break
      this.#put(at, this.#times[child], this.#tags[child], this.#since[child])
      at = child
    }
    this.#put(at, time, this.#tags[last], this.#since[last])
  }
}

/** A queue with its own Redis and its own devices. */
class Queue {
  #waiting = []
  #head = 0
  /** Seconds of work that Redis has not done yet, at the time `#at`. */
  #work = 0
  #at = 0
  /** Seconds of work since `clear()`: of commands, and of what runs meanwhile. */
  demand = 0
  #costs
  #eventsPerSecond

  constructor(devices, costs, eventsPerSecond) {
    this.devices = devices
    this.idle = devices
    this.#costs = costs
    this.#eventsPerSecond = eventsPerSecond
  }

  /** Share of the thread that progress events and idle workers take. */
  get #background() {
    return (this.devices - this.idle) * this.#eventsPerSecond * this.#costs.eventSeconds + this.idle * this.#costs.idleSeconds
  }

  /** Lets time pass, before the numbers of devices change. */
  advance(time) {
    const passed = time - this.#at
    const background = this.#background
    this.#work = Math.max(0, this.#work - passed * (1 - background))
    this.demand += passed * background
    this.#at = time
  }

  /** A third of a job's commands. @returns when they are done */
  command(time) {
    const cost = this.#costs.jobSeconds / 3
    this.#work += cost
    this.demand += cost
    return time + this.#work
  }

  wait(since) {
    this.#waiting.push(since)
  }
  get waiting() {
    return this.#waiting.length - this.#head
  }
  next() {
    const since = this.#waiting[this.#head++]
    if (this.#head > 100_000) {
      this.#waiting.splice(0, this.#head)
      this.#head = 0
    }
    return since
  }
}

/**
 * Runs `jobs` jobs of `service` seconds on `devices` in `queues` queues, after a warm-up of at least as many jobs as devices. `utilisation`: of the devices, by arrivals. Stops
 * early and says so if Redis cannot keep up (`keepsUp` false).
 */
function simulateFleet({ devices, queues = 1, service, utilisation, jobs, eventsPerSecond = 4, costs = measured, seed = 1 }) {
  const random = generator(seed)
  const rate = (devices * utilisation) / service
  const all = Array.from({ length: queues }, (_, i) => new Queue(Math.floor((devices + i) / queues), costs, eventsPerSecond))
  const events = new Events()
  const now = new Float64Array(3)
  // In the steady state, because an empty start takes long to forget.
  for (const [i, queue] of all.entries()) {
    for (let device = 0; device < queue.devices; device++) {
      if (random() >= utilisation) continue
      queue.idle--
      events.push(random() * service, finish * queues + i, -1)
    }
  }
  const draw = () => -Math.log(1 - random()) / rate
  events.push(draw(), arrive)

  const warmUp = Math.max(devices, jobs / 10)
  let [started, finished, sum, waited, longest, from] = [0, 0, 0, 0, 0, 0]
  const writes = new Map()
  const begin = (queue, i, time, since) => {
    const starts = queue.command(time)
    if (started++ >= warmUp && since >= 0) {
      sum += starts - since
      waited++
    }
    longest = Math.max(longest, starts - time)
    events.push(starts + service, finish * queues + i)
  }
  let time = 0
  let keepsUp = true
  while (finished < warmUp + jobs && keepsUp) {
    events.pop(now)
    time = now[0]
    const [, tag, since] = now
    const kind = Math.floor(tag / queues)
    // A request goes to any of the queues.
    const i = kind === arrive ? Math.floor(random() * queues) : tag % queues
    const queue = all[i]
    queue.advance(time)
    if (kind === arrive) {
      events.push(time + draw(), arrive)
      events.push(queue.command(time), visible * queues + i, time)
    } else if (kind === visible) {
      if (queue.idle === 0) queue.wait(since)
      else {
        queue.idle--
        begin(queue, i, time, since)
      }
    } else if (kind === finish) {
      const done = queue.command(time)
      events.push(done, free * queues + i)
      if (finished++ === Math.floor(warmUp)) {
        from = time
        for (const each of all) {
          each.advance(time)
          each.demand = 0
        }
      }
      if (from > 0) writes.set(Math.floor(done), (writes.get(Math.floor(done)) ?? 0) + 1)
    } else if (queue.waiting > 0) begin(queue, i, time, queue.next())
    else queue.idle++
    // A command that takes as long as an image: the thread is behind for good.
    keepsUp = longest < service
  }
  const length = time - from
  for (const queue of all) queue.advance(time)
  const seconds = [...writes.entries()].filter(([second]) => second > from && second < time - 1).map(([, count]) => count)
  return {
    keepsUp,
    /** Mean time from the request to the beginning of its image, with that of Redis. */
    wait: sum / waited,
    /** Images per second. */
    rate: jobs / length,
    /** Work of the busiest Redis per second. */
    redisShare: Math.max(...all.map(({ demand }) => demand / length)),
    /** The longest that a command has waited. */
    longest,
    /** Writes to the store in the busiest second. */
    writes: seconds.reduce((most, count) => Math.max(most, count), 0),
  }
}

module.exports = { simulateFleet }
