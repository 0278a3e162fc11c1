export interface FleetOptions {
  devices: number
  service: number
  utilisation: number
  imageBytes: number
  price: number
  eventsPerSecond?: number
  keepSeconds?: number
}
export interface Fleet {
  devices: number
  jobs: number
  wait: number
  cost: number
  redisBytes: number
  backlogBytes: number
  redisShare: number
  eventShare: number
  events: number
  traffic: number
  puts: number
  storedBytes: number
}
export interface Simulation {
  servers: number
  service: number
  utilisation: number
  arrivals: number
  seed?: number
  exponential?: boolean
}
export function erlangC(servers: number, load: number): number
export function waitExponential(servers: number, service: number, utilisation: number): number
export function waitConstant(servers: number, service: number, utilisation: number): number
export function simulate(simulation: Simulation): { mean: number; p95: number; waited: number }
export function fleet(options: FleetOptions): Fleet
export function limits(options: Omit<FleetOptions, 'devices'> & { memoryBytes: number; bytesPerSecond: number }): {
  memory: number
  thread: number
  network: number
}
