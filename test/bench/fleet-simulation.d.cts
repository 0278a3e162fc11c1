export interface FleetSimulation {
  devices: number
  queues?: number
  service: number
  utilisation: number
  jobs: number
  eventsPerSecond?: number
  seed?: number
}
export interface SimulatedFleet {
  keepsUp: boolean
  wait: number
  rate: number
  redisShare: number
  longest: number
  writes: number
}
export function simulateFleet(simulation: FleetSimulation): SimulatedFleet
