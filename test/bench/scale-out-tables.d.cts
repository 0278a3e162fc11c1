export function waitTable(): string
export function fleetTable(): string
export function limitTable(): string
