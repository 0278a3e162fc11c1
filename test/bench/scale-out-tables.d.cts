import type { FleetSimulation } from './fleet-simulation.cjs'
import type { Simulation } from './queueing.cjs'

export const tables: Record<'fleetTable' | 'limitTable' | 'simulatedFleetTable' | 'simulatedWaitTable' | 'waitTable', () => string>
export const cases: { waits: Omit<Simulation, 'service'>[]; fleets: FleetSimulation[] }
/** The file of the recorded simulations. */
export const record: string
export const timings: Record<'bfloat16' | 'int8', { step: number; decode: number }>
